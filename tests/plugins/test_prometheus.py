"""Tests for gateway.plugins.prometheus."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from gateway.core.exchange import Exchange, Outcome
from gateway.core.merge import PluginUse
from gateway.core.metric_options import CountOptions
from gateway.plugins import prometheus
from gateway.registry import PluginRegistry
from gateway.testing.exchanges import exchange
from tests.plugins.kit import PluginTestCase


class Counting:
    def __init__(self) -> None:
        self.counted: list[CountOptions] = []

    def request(self, exchange: Exchange, options: CountOptions) -> None:
        self.counted.append(options)


@frozen
class Route:
    uses: dict[str, PluginUse]


def ended(**plugins: Any) -> Exchange:
    made = exchange()
    made.outcome = Outcome(200, "upstream", "ok")
    route: Any = Route({name: PluginUse(name, config, "route/r1") for name, config in plugins.items()})
    made.route = route
    return made


class PrometheusTests(PluginTestCase):
    factory = prometheus.plugin

    def setUp(self) -> None:
        super().setUp()
        self.metrics = Counting()

    def instance(self, config: dict[str, Any], **services: Any) -> Any:
        return self.make(config, metrics=self.metrics, **services)

    def test_interfaces(self) -> None:
        """It counts in the log phase."""
        self.provides("prometheus", 500)

    def test_options(self) -> None:
        """Names and labels are those of the settings and of the metadata."""
        metadata = {"disabled_labels": {"http_status": ["node"]}}
        self.instance({"prefer_name": True}, metadata=metadata).log(ended())
        self.assertEqual(self.metrics.counted, [CountOptions(True, {"http_status": frozenset({"node"})})])

    def test_once(self) -> None:
        """Where a global rule and the route have it, the route's copy counts, once."""
        everywhere = self.instance({"prefer_name": True}, origin="global_rule/g")
        own = self.instance({})
        sent = ended(prometheus={})
        for one in (everywhere, own, own):
            one.log(sent)
        self.assertEqual(self.metrics.counted, [CountOptions()])
        everywhere.log(ended(prometheus={"_meta": {"disable": True}}))
        everywhere.log(ended())
        unmatched = ended()
        unmatched.route = None
        everywhere.log(unmatched)
        self.assertEqual(len(self.metrics.counted), 4)

    def test_metadata(self) -> None:
        """Metadata that cannot work is refused."""
        registry = PluginRegistry([(prometheus.plugin, "tests")])
        for good in ({}, {"disabled_labels": ["node"]}, {"disabled_labels": {"apisix_bandwidth": ["node"]}}):
            self.assertEqual(registry.check_metadata("prometheus", good), [])
        for bad in ({"disabled_labels": "node"}, {"disabled_labels": {"other": ["node"]}}):
            self.assertTrue(registry.check_metadata("prometheus", bad))
        self.assertTrue(self.problems({"prefer_name": "yes"}))
