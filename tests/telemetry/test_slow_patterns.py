"""Tests for gateway.telemetry.slow_patterns."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from gateway.core.regex_limits import MatchTimeout
from gateway.telemetry.slow_patterns import EVERY_S, MAX_KNOWN, SlowPatterns


class SlowPatternsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.patterns = SlowPatterns(self.clock.seconds)
        self.lines: list[str] = []

        def observe(event: dict[str, object]) -> None:
            self.lines.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)  # type: ignore[arg-type]
        self.addCleanup(globalLogPublisher.removeObserver, observe)  # type: ignore[arg-type]

    def test_once_in_a_while(self) -> None:
        """Each pattern is told of once in a while, with how often it was given up meanwhile."""
        slow = MatchTimeout("(a+)+$", "plugin uri-blocker of route/1")
        for _ in range(3):
            self.patterns.reached(slow)
        self.patterns.reached(MatchTimeout("(b+)+$", ""))
        self.assertEqual(len(self.lines), 2)
        self.assertTrue(self.lines[0].startswith("plugin uri-blocker of route/1: "), self.lines[0])
        self.assertIn("(a+)+$ took more than 50 ms", self.lines[0])
        self.assertIn("(b+)+$", self.lines[1])
        self.clock.advance(EVERY_S)
        self.patterns.reached(slow)
        self.assertIn("(2 more since the last line like this)", self.lines[-1])

    def test_bounded(self) -> None:
        """However many there are, they take little memory."""
        for number in range(MAX_KNOWN + 1):
            self.patterns.reached(MatchTimeout(str(number), ""))
        self.patterns.reached(MatchTimeout("0", ""))
        self.assertEqual(len(self.lines), MAX_KNOWN + 2)
