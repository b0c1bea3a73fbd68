"""Tests for gateway.telemetry.exposition_text."""

from __future__ import annotations

import math

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from gateway.telemetry.exposition_text import render

HOSTILE = 'apisix_http_status_total{\n"\\'


class RenderTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.registry = CollectorRegistry()

    def lines(self) -> list[str]:
        return render(self.registry.collect()).decode().splitlines()

    def test_names(self) -> None:
        """Two counters have the names that are known, the others the library's; labels are not touched."""
        Counter("apisix_http_status", "Codes\n\\", ["route"], registry=self.registry).labels(HOSTILE).inc()
        Counter("gateway_requests", "Requests", registry=self.registry).inc(2.5)
        self.assertEqual(
            self.lines(),
            [
                "# HELP apisix_http_status Codes\\n\\\\",
                "# TYPE apisix_http_status counter",
                'apisix_http_status{route="apisix_http_status_total{\\n\\"\\\\"} 1',
                "# HELP gateway_requests_total Requests",
                "# TYPE gateway_requests_total counter",
                "gateway_requests_total 2.5",
            ],
        )
        (family, _) = text_string_to_metric_families("\n".join(self.lines()) + "\n")
        self.assertEqual((family.type, family.samples[0].labels), ("counter", {"route": HOSTILE}))

    def test_order(self) -> None:
        """Labels stand in their usual order, whatever order they were kept in."""
        family = CounterMetricFamily(
            "apisix_bandwidth", "Bytes", labels=["consumer", "node", "route", "service", "type"]
        )
        family.add_metric(["c", "n", "r", "s", "t"], 1)
        wanted = 'apisix_bandwidth{type="t",route="r",service="s",consumer="c",node="n"} 1\n'
        self.assertTrue(render([family]).decode().endswith(wanted))
        other = GaugeMetricFamily("g", "A gauge", labels=["name", "ip", "port"])
        other.add_metric(["b", "a", "c"], 1)
        self.assertTrue(render([other]).endswith(b'g{name="b",ip="a",port="c"} 1\n'))

    def test_histogram(self) -> None:
        """The bound of a bucket comes last and is as it was said."""
        histogram = Histogram(
            "apisix_http_latency", "Ms", ["type", "route"], buckets=(1, 2.5, 10), registry=self.registry
        )
        histogram.labels("request", "r").observe(2)
        start = 'apisix_http_latency_bucket{type="request",route="r",le='
        self.assertEqual(
            [line for line in self.lines() if "_bucket" in line],
            [f'{start}"1"}} 0', f'{start}"2.5"}} 1', f'{start}"10"}} 1', f'{start}"+Inf"}} 1'],
        )
        self.assertEqual(
            self.lines()[-2:],
            [
                'apisix_http_latency_count{type="request",route="r"} 1',
                'apisix_http_latency_sum{type="request",route="r"} 2',
            ],
        )

    def test_numbers(self) -> None:
        """Numbers read back as they are."""
        gauge = Gauge("g", "A gauge", registry=self.registry)
        for value, text in (
            (0, "0"),
            (-5.0, "-5"),
            (0.1, "0.1"),
            (1e300, "1e+300"),
            (math.inf, "+Inf"),
            (-math.inf, "-Inf"),
            (math.nan, "NaN"),
        ):
            gauge.set(value)
            self.assertEqual(self.lines()[-1], f"g {text}")
            (family,) = text_string_to_metric_families("\n".join(self.lines()) + "\n")
            self.assertEqual(str(float(family.samples[0].value)), str(float(value)))
