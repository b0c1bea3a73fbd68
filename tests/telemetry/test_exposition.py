"""Tests for gateway.telemetry.exposition."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from gateway.telemetry.exposition import Exposition, Source, render


def gauge(value: float) -> list[Metric]:
    return [GaugeMetricFamily("g", "A gauge", value=value)]


class RenderTests(SynchronousTestCase):
    def test_names(self) -> None:
        """Counters have the names that are known, not the library's; labels are not touched."""
        registry = CollectorRegistry()
        counter = Counter("apisix_http_status", "Codes", ["route"], registry=registry)
        counter.labels('apisix_http_status_total{\n"').inc()
        text = render(registry.collect())
        lines = [line for line in text.split(b"\n") if b"_created" not in line]
        self.assertEqual(
            lines[:2], [b"# HELP apisix_http_status Codes", b"# TYPE apisix_http_status counter"]
        )
        self.assertTrue(lines[2].startswith(b'apisix_http_status{route="apisix_http_status_total{'), lines[2])
        (family, *_) = text_string_to_metric_families(text.decode())
        self.assertEqual(family.type, "counter")


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
        self.assertIn(b"\ng 0.0\n", self.successResultOf(first))
        self.assertEqual(len(self.threads), 1)
        self.finish()
        for one in later:
            self.assertIn(b"\ng 1.0\n", self.successResultOf(one))
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
        self.assertIn(b"g 0.0", self.successResultOf(working))

    def test_no_thread(self) -> None:
        """It works where there are no threads."""
        exposition = Exposition(self.gather, lambda work: succeed(work()))
        self.assertIn(b"g 0.0", self.successResultOf(exposition.text()))
