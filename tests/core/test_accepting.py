"""Tests for gateway.core.accepting."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.core.accepting import accepts


class AcceptsTests(SynchronousTestCase):
    def test_codings(self) -> None:
        """A coding is acceptable if it is named, or a star stands for it, with a weight above nothing."""
        for lines, wanted in (
            ((), False),
            ((b"",), False),
            ((b"gzip",), True),
            ((b"br, GZIP;q=0.5",), True),
            ((b"br", b"x-gzip"), True),
            ((b"gzip;q=0",), False),
            ((b"gzip; q=0.000, *",), False),
            ((b"*",), True),
            ((b"*;q=0",), False),
            ((b"gzip;q=x",), False),
            ((b"gzipped",), False),
        ):
            self.assertEqual(accepts(lines, b"gzip"), wanted, lines)
