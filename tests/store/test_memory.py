"""The store that forgets keeps every promise but one."""

from __future__ import annotations

from gateway.store.memory import MemoryStore
from tests.store import contract


class MemoryStoreTests(contract.StoreContract):
    """Its contents live as long as the object."""

    def make(self) -> MemoryStore:
        return MemoryStore()

    def again(self, store: MemoryStore) -> MemoryStore:
        return store

    async def test_answers_at_once(self) -> None:
        """Its Deferreds have fired already, so synchronous tests can use it."""
        store = MemoryStore()
        self.assertIsNone(self.successResultOf(store.open()))
        self.assertEqual(self.successResultOf(store.load()).revision, 0)
        waiting = store.commit([contract.put("a")], author="x", reason=None, at=1)
        self.assertEqual(self.successResultOf(waiting).number, 1)
