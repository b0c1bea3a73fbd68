"""Tests for gateway.core.explanation."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.core.explanation import in_seconds


class InSecondsTests(SynchronousTestCase):
    def test_words(self) -> None:
        """A span of time is told as exactly as people want it."""
        for seconds, words in (
            (0.0, "0 s"),
            (0.004, "0 s"),
            (0.25, "0.25 s"),
            (2.0, "2 s"),
            (31.46, "31.5 s"),
            (599.6, "600 s"),
            (1e6, "1000000 s"),
        ):
            self.assertEqual(in_seconds(seconds), words)
