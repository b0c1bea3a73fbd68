"""The state in memory follows the store without asking it again."""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from gateway.control.state import State
from gateway.model.record import Change, Revision, StoreView
from gateway.store.memory import MemoryStore


class StateTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.store = MemoryStore()
        self.successResultOf(self.store.open())

    def commit(self, *changes: Change, at: float = 1000.0) -> Revision:
        revision: Revision = self.successResultOf(
            self.store.commit(changes, author="ann", reason=None, at=at)
        )
        return revision

    def loaded(self) -> State:
        return State.of(self.successResultOf(self.store.load()))

    def contents(self, state: State) -> list[object]:
        tables = [(group, kind) for group in ("", "g") for kind in ("route", "service")]
        return [(table, list(state.all(*table).items())) for table in tables]

    def test_empty(self) -> None:
        """With nothing stored there is nothing to find, and asking is no error."""
        state = State.of(StoreView(0, ()))
        self.assertEqual(state.revision, 0)
        self.assertIsNone(state.get("g", "route", "a"))
        self.assertEqual(dict(state.all("g", "route")), {})

    def test_counts(self) -> None:
        """How many records there are of each kind in each group."""
        self.commit(
            Change("g", "route", "a", {}), Change("g", "route", "b", {}), Change("", "token", "t", {})
        )
        self.assertEqual(self.loaded().counts(), {("g", "route"): 2, ("", "token"): 1})

    def test_loaded(self) -> None:
        """Every stored record is found by group, kind and id, and only there."""
        self.commit(Change("g", "route", "a", {"n": 1}), Change("", "token", "t", {}))
        state = self.loaded()
        record = state.get("g", "route", "a")
        assert record is not None
        self.assertEqual((state.revision, dict(record.value)), (1, {"n": 1}))
        for key in (("g", "route", "b"), ("g", "service", "a"), ("", "route", "a"), ("h", "route", "a")):
            self.assertIsNone(state.get(*key))
        self.assertEqual(list(state.all("", "token")), ["t"])

    def test_order_of_creation(self) -> None:
        """Records are listed in the order they were made, even if the store tells them in another."""
        self.commit(Change("g", "route", "z", {}))
        self.commit(Change("g", "route", "a", {}))
        self.commit(Change("g", "route", "z", {"n": 2}))
        view = self.successResultOf(self.store.load())
        state = State.of(StoreView(view.revision, tuple(reversed(view.records))))
        self.assertEqual(list(state.all("g", "route")), ["z", "a"])

    def test_commit_leaves_the_old_state_alone(self) -> None:
        """Whoever holds a state keeps seeing it, whatever is committed after."""
        self.commit(Change("g", "route", "a", {"n": 1}), Change("g", "route", "b", {}))
        old = self.loaded()
        before = self.contents(old)
        new = old.after(self.commit(Change("g", "route", "a", {"n": 2}), Change("g", "route", "b", None)))
        self.assertEqual((old.revision, self.contents(old)), (1, before))
        self.assertEqual((new.revision, list(new.all("g", "route"))), (2, ["a"]))

    def test_what_did_not_change_is_shared(self) -> None:
        """A commit copies only the kinds it touches."""
        self.commit(Change("g", "route", "a", {}), Change("g", "service", "s", {}))
        old = self.loaded()
        new = old.after(self.commit(Change("g", "route", "b", {})))
        self.assertIs(new.all("g", "service"), old.all("g", "service"))
        self.assertIs(new.get("g", "route", "a"), old.get("g", "route", "a"))

    def test_knows_its_commit(self) -> None:
        """A state tells the commit that made it; a loaded one has none."""
        revision = self.commit(Change("g", "route", "a", {}))
        self.assertIsNone(self.loaded().made_by)
        self.assertIs(State.of(StoreView(0, ())).after(revision).made_by, revision)

    def test_times_and_revisions(self) -> None:
        """A replaced record keeps when it was made; one that is made again does not."""
        state = self.loaded()
        for at, value in ((1000.9, {"n": 1}), (2000.0, {"n": 2}), (3000.0, None), (4000.0, {"n": 3})):
            state = state.after(self.commit(Change("g", "route", "a", value), at=at))
            if at == 2000.0:
                record = state.get("g", "route", "a")
                assert record is not None
                self.assertEqual((record.created_at, record.updated_at), (1000, 2000))
                self.assertEqual((record.created_revision, record.modified_revision), (1, 2))
        record = state.get("g", "route", "a")
        assert record is not None
        self.assertEqual((record.created_at, record.created_revision), (4000, 4))

    def test_following_equals_loading(self) -> None:
        """Following every commit leads to the very state that loading the store does, order included."""
        for seed in range(10):
            chance = random.Random(seed)
            self.setUp()
            state = self.loaded()
            keys = [(g, k, i) for g in ("", "g") for k in ("route", "service") for i in "abcd"]
            for number in range(40):
                changes = []
                for key in chance.sample(keys, chance.randint(1, 4)):
                    gone = state.get(*key) is not None and chance.random() < 0.4
                    dialect = chance.choice(["enterprise", "apisix"])
                    changes.append(Change(*key, None if gone else {"n": number}, dialect))
                state = state.after(self.commit(*changes, at=float(number)))
                self.assertEqual(state.revision, number + 1)
                self.assertEqual(self.contents(state), self.contents(self.loaded()))
