from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from gateway.admin.keys import KeyIndex
from gateway.control.control import Control
from gateway.control.state import State
from gateway.model.record import Change
from gateway.store.memory import MemoryStore
from tests.admin.kit import FakeClock, Publisher, done, registry


def document(key: str) -> dict[str, Any]:
    return {"plugins": {"key-auth": {"key": key}}}


STEP = st.tuples(
    st.sampled_from(
        [
            ("consumer", "a"),
            ("consumer", "b"),
            ("credential", "a/1"),
            ("credential", "a/2"),
            ("credential", "b/1"),
        ]
    ),
    st.sampled_from(["k", "m", None]),
    st.booleans(),
)


class KeyIndexTests(SynchronousTestCase):
    @settings(deadline=None, max_examples=60)
    @given(st.lists(STEP, max_size=12))
    def test_follows(self, steps: list[tuple[tuple[str, str], str | None, bool]]) -> None:
        """An index that follows commits, or missed some, tells what a fresh one tells."""
        store = MemoryStore()
        store.open()
        control = Control(store, Publisher(), FakeClock(), State(0, {}))
        index = KeyIndex(registry())
        for (kind, id), key, follows in steps:
            if key is None and control.state.get("g", kind, id) is None:
                continue
            change = Change("g", kind, id, None if key is None else document(key))
            done(Deferred.fromCoroutine(control.write(lambda s, c=change: [c], author="x")))  # type: ignore[misc]
            if follows:
                self.assertEqual(
                    self._told(index, control.state), self._told(KeyIndex(registry()), control.state)
                )

    def _told(self, index: KeyIndex, state: State) -> list[set[str]]:
        index.follow(state)
        asked = [
            ("consumer", "a", "k"),
            ("credential", "a/1", "k"),
            ("credential", "c/1", "m"),
            ("consumer", "c", "k"),
        ]
        # A follower may know the owners in another order; whether there is one is what counts.
        return [
            {plugin for plugin, _, _ in index.others(state, "g", *ask[:2], document(ask[2]))} for ask in asked
        ]

    def test_one_reading(self) -> None:
        """A group's credentials are read once; later commits cost what they change, not what is there."""
        reads: list[str] = []

        class Counting(State):
            def all(self, group: str, kind: str) -> Any:
                reads.append(kind)
                return super().all(group, kind)

        store = MemoryStore()
        store.open()
        control = Control(store, Publisher(), FakeClock(), State(0, {}))
        index = KeyIndex(registry())
        for number in range(5):
            change = Change("g", "credential", f"a/{number}", document(f"k{number}"))
            done(Deferred.fromCoroutine(control.write(lambda s, c=change: [c], author="x")))  # type: ignore[misc]
            state = Counting(control.state.revision, control.state._records, control.state.made_by)
            index.follow(state)
            self.assertEqual([], list(index.others(state, "g", "credential", "a/9", document("new"))))
        self.assertEqual(reads, ["consumer", "credential"])
