"""Tests for gateway.testing.counters."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase, TestCase

from gateway.interfaces import CountersFailed
from gateway.testing.counters import FakeCounters
from tests.counters.contract import BreakersContract, CountersContract


class FakeCountersTests(CountersContract, BreakersContract, TestCase):
    """The fake keeps the promises of the real ones."""

    def setUp(self) -> None:
        self.counters = FakeCounters()

    async def pass_time(self, seconds: float) -> None:
        self.counters.now += seconds


class TimeTests(SynchronousTestCase):
    def test_forgotten(self) -> None:
        """Who does not leave is forgotten after a time."""
        counters = FakeCounters()
        self.assertEqual([counters.enter("k", 1, "a", 5), counters.enter("k", 1, "b", 5)], [1, 0])
        counters.now = 5
        self.assertEqual(counters.enter("k", 1, "b", 5), 1)

    def test_down(self) -> None:
        """A test can have the counters fail."""
        counters = FakeCounters(down=True)
        self.assertRaises(CountersFailed, counters.take, "k", 1, 1)
        self.assertRaises(CountersFailed, counters.leak, "k", 1, 1)
        self.assertRaises(CountersFailed, counters.enter, "k", 1, "t", 1)
