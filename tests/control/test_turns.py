"""Long work in turns with others."""

from __future__ import annotations

from twisted.internet.defer import Deferred, DeferredLock, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gateway.control.turns import LEAST_S, held, in_turns
from gateway.core.steps import Steps


class TurnTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.turns: list[float] = []
        self.began = 0.0

    def work(self, steps: int, step_s: float) -> Steps[str]:
        """So many steps of so many seconds."""
        for _ in range(steps):
            self.clock.advance(step_s)
            yield
        return "made"

    def pause(self, others_s: float) -> Deferred[None]:
        """Others take this long."""
        self.turns.append(round(self.clock.seconds() - self.began, 6))
        self.clock.advance(others_s)
        self.began = self.clock.seconds()
        return succeed(None)

    def run_turns(self, others_s: float) -> str:
        steps = self.work(100, 0.001)
        return self.successResultOf(  # type: ignore[no-any-return]
            Deferred.fromCoroutine(in_turns(steps, lambda: self.pause(others_s), self.clock.seconds))
        )

    def test_nobody_else(self) -> None:
        """Turns are short when nobody else has much to do."""
        self.assertEqual(self.run_turns(0.0), "made")
        self.assertTrue(all(LEAST_S <= turn < 2 * LEAST_S for turn in self.turns), self.turns)

    def test_others_have_much_to_do(self) -> None:
        """A turn is as long as that of the others was: the work takes twice its time, not for ever."""
        self.assertEqual(self.run_turns(0.05), "made")
        self.assertTrue(all(turn >= 0.05 for turn in self.turns[1:]), self.turns)
        self.assertLessEqual(len(self.turns), 3)

    def test_small_work(self) -> None:
        """What fits into one turn makes nobody wait."""
        steps = self.work(3, 0.001)
        made = Deferred.fromCoroutine(in_turns(steps, lambda: self.pause(0.0), self.clock.seconds))
        self.assertEqual((self.successResultOf(made), self.turns), ("made", []))

    def test_lock(self) -> None:
        """A lock is let go, whatever happens while it is held."""
        lock = DeferredLock()

        async def fails() -> None:
            async with held(lock):
                raise ValueError("x")

        self.failureResultOf(Deferred.fromCoroutine(fails()), ValueError)
        self.assertFalse(lock.locked)
