"""Tests for gateway.telemetry.metrics; what several processes count is tested end to end."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from attrs import frozen
from prometheus_client.metrics_core import Metric
from twisted.trial.unittest import SynchronousTestCase

from gateway.core.exchange import Attempt, Exchange, Outcome
from gateway.core.metric_options import CountOptions
from gateway.telemetry.metrics import Metrics, absorb, collect_files, files_of
from gateway.testing.exchanges import consumer, exchange
from tests.limits import LIMIT_S

ROOT = Path(__file__).parents[2]


class Now:
    """Two seconds after every request began."""

    def time(self) -> float:
        return 1_700_000_002.0

    def monotonic(self) -> float:
        return 10.5


@frozen
class Route:
    id: str = "r1"
    name: str | None = "cart"
    service_id: str | None = "s1"
    service_name: str | None = "shop"


@frozen
class Match:
    pattern: str = "/cart/*"
    host: str = "shop.example"


def ended(
    status: int = 200, by: str = "upstream", *, route: Any = Route(), node: str | None = "10.0.0.1:80"
) -> Exchange:
    made = exchange("GET", "/cart/1", [("Host", "shop.example")])
    match: Any = Match()
    made.outcome, made.route, made.match = Outcome(status, by, "ok"), route, None if route is None else match
    made.status, made.bytes_sent, made.bytes_received = status, 100, 50
    if node is not None:
        made.attempts.append(Attempt(node, status, 0.5, "ok"))
    made.from_upstream, made.answered_at = by == "upstream", 10.0
    return made


def value(metrics: list[Metric], name: str, /, **labels: str) -> float:
    samples = [sample for metric in metrics for sample in metric.samples]
    return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())


class MetricsTests(SynchronousTestCase):
    def counted(
        self, *requests: Exchange, options: CountOptions | None = None, max_series: int = 100
    ) -> list[Metric]:
        self.metrics = Metrics(Now(), max_series=max_series)
        for one in requests:
            self.metrics.request(one, options or CountOptions())
        return list(self.metrics.registry.collect())

    def test_status(self) -> None:
        """A request is counted by what it was, who sent it, where it went and who answered."""
        known = ended()
        known.consumer = consumer("jack")
        found = self.counted(
            ended(), ended(), known, ended(502, "balancer"), ended(401, "plugin:x", node=None)
        )
        one = {"route": "r1", "service": "s1", "matched_uri": "/cart/*", "matched_host": "shop.example"}
        name = "apisix_http_status_total"
        self.assertEqual(value(found, name, code="200", consumer="", response_source="upstream", **one), 2)
        self.assertEqual(value(found, name, consumer="jack", node="10.0.0.1", **one), 1)
        self.assertEqual(value(found, name, code="502", response_source="nginx", **one), 1)
        self.assertEqual(value(found, name, code="401", response_source="apisix", node="", **one), 1)
        self.assertEqual(value(found, "gateway_requests_total", decided_by="plugin:x", reason="ok"), 1)

    def test_unmatched(self) -> None:
        """A request without a route is counted without one."""
        found = self.counted(ended(404, "router", route=None, node=None))
        self.assertEqual(value(found, "apisix_http_status_total", route="", matched_uri="", code="404"), 1)

    def test_latency(self) -> None:
        """The upstream's part lasts until its content ends; what is left is the gateway's own."""
        found = self.counted(ended())
        for kind, wanted_ms in (("request", 2000), ("upstream", 1000), ("apisix", 1000)):
            self.assertAlmostEqual(value(found, "apisix_http_latency_sum", type=kind), wanted_ms)
        self.assertEqual(value(found, "apisix_http_latency_bucket", type="request", le="1000.0"), 0)
        self.assertEqual(value(found, "apisix_http_latency_bucket", type="request", le="2000.0"), 1)
        found = self.counted(ended(401, "plugin:x", node=None))
        kinds = {sample.labels.get("type") for metric in found for sample in metric.samples}
        self.assertNotIn("upstream", kinds)
        self.assertIn("request", kinds)

    def test_bandwidth(self) -> None:
        """Heads and content are counted, both ways."""
        found = self.counted(ended())
        head = len(b"GET /cart/1 HTTP/1.1\r\nhost: shop.example\r\n\r\n")
        self.assertEqual(value(found, "apisix_bandwidth_total", type="ingress"), head + 50)
        self.assertEqual(value(found, "apisix_bandwidth_total", type="egress"), 119)

    def test_names(self) -> None:
        """On request labels hold names, where there are some."""
        found = self.counted(ended(), ended(route=Route(name=None)), options=CountOptions(prefer_name=True))
        for route in ("cart", "r1"):
            self.assertEqual(value(found, "apisix_http_status_total", route=route, service="shop"), 1)

    def test_disabled(self) -> None:
        """Labels that are switched off stay empty."""
        options = CountOptions.parse(False, ["node", "matched_uri", "code", "unknown"])
        found = self.counted(ended(), ended(500), options=options)
        self.assertEqual(value(found, "apisix_http_status_total", node="", matched_uri="", code=""), 2)
        self.assertEqual(
            value(found, "apisix_bandwidth_total", node="", type="egress"),
            value(found, "apisix_bandwidth_total", type="egress"),
        )

    def test_bounded(self) -> None:
        """Past the limit all is counted together, and sums stay true."""
        many = [ended(route=Route(id=f"r{number}")) for number in range(50)]
        found = self.counted(*many, max_series=10)
        self.assertEqual(value(found, "apisix_http_status_total"), 50)
        self.assertEqual(value(found, "apisix_http_status_total", route="overflow", code="200"), 40)
        self.assertEqual(value(found, "apisix_http_latency_count", type="request", route="overflow"), 40)
        self.assertEqual(self.metrics.folded, 80)

    def test_odd_names(self) -> None:
        """Names that are no text at all are counted all the same."""
        found = self.counted(ended(route=Route(id="\udcff")))
        self.assertEqual(value(found, "apisix_http_status_total", route="?"), 1)

    def test_applied(self) -> None:
        """Changes of the configuration are timed."""
        metrics = Metrics(Now(), max_series=10)
        metrics.applied(0.004)
        found = list(metrics.registry.collect())
        self.assertEqual(value(found, "gateway_config_apply_seconds_bucket", le="0.005"), 1)


COUNTER = """
import sys
from gateway.telemetry.metrics import Metrics
class Clock:
    time = monotonic = staticmethod(lambda: 0.0)
metrics = Metrics(Clock(), max_series=10, directory=sys.argv[1])
metrics.applied(0.5)
"""


class FileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = str(Path(self.mktemp()).absolute())

    def counted(self) -> int:
        """Have a process count one change; its id."""
        child = subprocess.Popen([sys.executable, "-c", COUNTER, self.directory], cwd=ROOT)
        self.assertEqual(child.wait(LIMIT_S), 0)
        return child.pid

    def sum(self, what: str) -> float:
        """``count`` or ``sum`` of what all have counted."""
        return value(list(collect_files(self.directory)), f"gateway_config_apply_seconds_{what}")

    def test_absorb(self) -> None:
        """What ended processes have counted is added up in files of its own."""
        pids = [self.counted(), self.counted()]
        for pid in pids:
            self.assertEqual(self.sum("count"), 2)
            absorb(self.directory, pid)
            self.assertEqual(files_of(self.directory, pid), [])
        self.assertEqual((self.sum("count"), self.sum("sum")), (2, 1.0))

    def test_empty(self) -> None:
        """A file that was made a moment ago, or by a process that was killed then, has no counts."""
        self.counted()
        empty = Path(self.directory, "histogram_1.db")
        empty.touch()
        self.assertEqual(self.sum("count"), 1)
        absorb(self.directory, 1)
        self.assertFalse(empty.exists())
        self.assertEqual(self.sum("count"), 1)

    def test_not_twice(self) -> None:
        """Who reads while the counts of a process are added up sees each of them once."""
        pid = self.counted()
        seen: list[float] = []
        reader = threading.Thread(target=lambda: seen.append(self.sum("count")))
        unlink = os.unlink

        def read_first(path: str) -> None:
            reader.start()
            reader.join(0.2)  # It would be through by then, if it had not to wait.
            unlink(path)

        self.patch(os, "unlink", read_first)
        absorb(self.directory, pid)
        reader.join(LIMIT_S)
        self.assertEqual(seen, [1])
