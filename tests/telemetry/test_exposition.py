"""Tests for gateway.telemetry.exposition."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from gateway.telemetry.exposition import Exposition, Source


def gauge(value: float) -> list[Metric]:
    return [GaugeMetricFamily("g", "A gauge", value=value)]


class ExpositionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = 0.0
        self.threads: list[tuple[Callable[[], bytes], Deferred[bytes]]] = []

    async def gather(self) -> list[Source]:
        value = self.now
        return [lambda: gauge(value), lambda: []]

    def in_thread(self, work: Callable[[], bytes]) -> Deferred[bytes]:
        done: Deferred[bytes] = Deferred()
        self.threads.append((work, done))
        return done

    def finish(self) -> None:
        work, done = self.threads.pop(0)
        done.callback(work())

    def test_shared(self) -> None:
        """One scrape is rendered at a time; who asks meanwhile gets the next, never an older one."""
        exposition = Exposition(self.gather, self.in_thread)
        first = exposition.text()
        self.now = 1.0
        later = [exposition.text(), exposition.text()]
        self.assertEqual(len(self.threads), 1)
        self.finish()
        self.assertIn(b"\ng 0\n", self.successResultOf(first))
        self.assertEqual(len(self.threads), 1)
        self.finish()
        for one in later:
            self.assertIn(b"\ng 1\n", self.successResultOf(one))
        self.assertEqual(self.threads, [])

    def test_failure(self) -> None:
        """A scrape that fails is told, and the next one works."""
        exposition = Exposition(self.gather, self.in_thread)
        failing = exposition.text()
        self.threads.pop(0)[1].errback(OSError("no such directory"))
        self.failureResultOf(failing, OSError)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        working = exposition.text()
        self.finish()
        self.assertIn(b"g 0", self.successResultOf(working))

    def test_no_thread(self) -> None:
        """It works where there are no threads."""
        exposition = Exposition(self.gather, lambda work: succeed(work()))
        self.assertIn(b"g 0", self.successResultOf(exposition.text()))
