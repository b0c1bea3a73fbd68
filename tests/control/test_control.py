from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from gateway.control.control import Control, Written
from gateway.control.state import State
from gateway.errors import ConfigErrors, Problem, RevisionConflict, StoreUnavailable
from gateway.model.record import Change
from gateway.store.memory import MemoryStore
from tests.admin.kit import FakeClock, Publisher


def put(id: str, value: dict[str, object] | None = None) -> Change:
    return Change("g", "route", id, {"name": id} if value is None else value)


class ControlTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.store = MemoryStore()
        self.store.open()
        self.publisher = Publisher()
        self.clock = FakeClock()
        self.control = Control(self.store, self.publisher, self.clock, State(0, {}))

    def _write(self, *changes: Change, reason: str | None = None) -> Deferred[Written]:
        return Deferred.fromCoroutine(self.control.write(lambda state: changes, author="me", reason=reason))

    def test_write(self) -> None:
        """A write is stored under a new revision, served, and then answered."""
        written = self.successResultOf(self._write(put("a"), put("b"), reason="why"))
        assert written.revision is not None
        self.assertEqual(
            (written.revision.number, written.revision.author, written.revision.reason), (1, "me", "why")
        )
        self.assertEqual([r.number for r in self.publisher.published], [1])
        self.assertEqual(list(self.control.state.all("g", "route")), ["a", "b"])
        self.assertIs(written.state, self.control.state)

    def test_answered_when_served(self) -> None:
        """A write is not answered before every worker serves it."""
        self.publisher.waiting = Deferred()
        writing = self._write(put("a"))
        self.assertNoResult(writing)
        self.publisher.waiting.callback(None)
        self.successResultOf(writing)

    def test_answered_when_stored(self) -> None:
        """Who asks for it is answered once a write is stored; the next one waits until it is served."""
        waiting: Deferred[None] = Deferred()
        self.publisher.waiting = waiting
        first = Deferred.fromCoroutine(
            self.control.write(lambda state: [put("a")], author="me", served=False)
        )
        written = self.successResultOf(first)
        assert written.revision is not None
        self.assertEqual((written.revision.number, self.publisher.published), (1, []))
        second = self._write(put("b"))
        self.assertNoResult(second)
        self.publisher.waiting = None
        waiting.callback(None)
        self.successResultOf(second)
        self.assertEqual([r.number for r in self.publisher.published], [1, 2])

    def test_not_served_after_all(self) -> None:
        """A failure after such an answer is logged, and stops no other write."""
        self.publisher.waiting = Deferred()
        writing = Deferred.fromCoroutine(
            self.control.write(lambda state: [put("a")], author="me", served=False)
        )
        self.successResultOf(writing)
        waiting, self.publisher.waiting = self.publisher.waiting, None
        waiting.errback(RuntimeError("the worker is gone"))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.successResultOf(self._write(put("b")))

    def test_one_after_the_other(self) -> None:
        """Each plan sees what the write before it did."""
        waiting: Deferred[None] = Deferred()
        self.publisher.waiting = waiting
        seen: list[list[str]] = []

        def plan(state: State) -> Sequence[Change]:
            seen.append(list(state.all("g", "route")))
            return [put(f"r{len(seen)}")]

        writes = [Deferred.fromCoroutine(self.control.write(plan, author="me")) for _ in range(3)]
        self.assertEqual(seen, [[]])
        self.publisher.waiting = None
        waiting.callback(None)
        for write in writes:
            self.successResultOf(write)
        self.assertEqual(seen, [[], ["r1"], ["r1", "r2"]])

    def test_nothing_to_do(self) -> None:
        """A plan without changes makes no revision."""
        written = self.successResultOf(self._write())
        self.assertEqual((written.revision, written.state.revision, self.publisher.published), (None, 0, []))

    def test_failures_leave_no_trace(self) -> None:
        """A plan that raises, a result that cannot be served, a store that refuses: nothing changes."""

        def bad_plan(state: State) -> Sequence[Change]:
            raise LookupError("no")

        failing = Deferred.fromCoroutine(self.control.write(bad_plan, author="me"))
        self.failureResultOf(failing, LookupError)
        self.publisher.fault = ConfigErrors([Problem((), "value", "no")])
        self.failureResultOf(self._write(put("a")), ConfigErrors)
        self.publisher.fault = None
        self.store.close()
        self.assertTrue(self.control.store_reachable)
        self.failureResultOf(self._write(put("a")), StoreUnavailable)
        self.assertFalse(self.control.store_reachable)
        self.store.open()
        self.assertEqual((self.control.state.revision, self.publisher.published), (0, []))
        self.successResultOf(self._write(put("a")))
        self.assertTrue(self.control.store_reachable)

    def test_somebody_else_wrote(self) -> None:
        """A store that moved on behind this writer's back is not written over."""
        self.store.commit([put("x")], author="other", reason=None, at=1.0)
        self.failureResultOf(self._write(put("a")), RevisionConflict)
        self.assertEqual(self.control.state.revision, 0)


class StateTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.store = MemoryStore()
        self.store.open()
        self.state = State(0, {})

    def _after(self, at: float, *changes: Change) -> None:
        revision = self.successResultOf(self.store.commit(changes, author="me", reason=None, at=at))
        self.state = self.state.after(revision)

    def test_like_the_store(self) -> None:
        """A state that followed every commit is the one the store would load."""
        self._after(10.7, put("a"), put("b"), Change("h", "route", "a", {"x": 1}))
        self._after(20.2, put("a", {"name": "new"}), Change("g", "route", "b", None))
        self._after(30.0, put("c"))
        loaded = State.of(self.successResultOf(self.store.load()))
        self.assertEqual(loaded.revision, self.state.revision)
        for group in ("g", "h"):
            self.assertEqual(dict(loaded.all(group, "route")), dict(self.state.all(group, "route")))
        record = self.state.get("g", "route", "a")
        assert record is not None
        self.assertEqual((record.created_at, record.updated_at), (10, 20))
        self.assertEqual((record.created_revision, record.modified_revision), (1, 2))

    def test_states_do_not_change(self) -> None:
        """An older state still shows what it showed, and shares what did not change."""
        self._after(1.0, put("a"), Change("g", "service", "s", {}))
        older = self.state
        self._after(2.0, put("b"))
        self.assertEqual(list(older.all("g", "route")), ["a"])
        self.assertIs(older.all("g", "service"), self.state.all("g", "service"))

    def test_made_by(self) -> None:
        """A state tells the commit that made it; one that was loaded tells none."""
        self._after(1.0, put("a"))
        assert self.state.made_by is not None
        self.assertEqual(self.state.made_by.number, 1)
        self.assertIsNone(State.of(self.successResultOf(self.store.load())).made_by)

    def test_nothing_there(self) -> None:
        """What was never stored is absent."""
        self.assertIsNone(self.state.get("g", "route", "a"))
        self.assertEqual(dict(self.state.all("g", "route")), {})
