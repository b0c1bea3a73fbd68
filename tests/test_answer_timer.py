from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gateway.answer_timer import LAST_LOOK_S, AnswerTimer


class AnswerTimerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.overdue: list[float] = []
        self.timer = AnswerTimer(self.clock, 2.0, lambda: self.overdue.append(self.clock.seconds()))

    def test_overdue(self) -> None:
        """It is told once, after a last look, however long the process was held up before."""
        self.clock.advance(100.0)
        self.assertEqual(self.overdue, [])
        self.clock.advance(LAST_LOOK_S)
        self.assertEqual(self.overdue, [100.0 + LAST_LOOK_S])
        self.timer.stop()
        self.assertEqual((len(self.overdue), self.clock.getDelayedCalls()), (1, []))

    def test_answered(self) -> None:
        """An answer in time, and one that the last look finds, leave nothing behind."""
        self.timer.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        late = AnswerTimer(self.clock, 2.0, lambda: self.overdue.append(0.0))
        self.clock.advance(2.0)
        late.stop()
        late.stop()
        self.assertEqual((self.overdue, self.clock.getDelayedCalls()), ([], []))
