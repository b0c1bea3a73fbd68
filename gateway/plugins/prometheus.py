"""prometheus: requests are counted for Prometheus to scrape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen
from zope.interface import implementer

from gateway.core.exchange import Exchange
from gateway.core.metric_options import METRICS, CountOptions
from gateway.factories import Factory
from gateway.interfaces import ILogPhase, PluginServices, RequestMetrics

NAME = "prometheus"
COUNTED = "prometheus_counted"
"""In ``Exchange.context``: that the request was counted."""

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "prefer_name": {
            "type": "boolean",
            "default": False,
            "description": "Labels hold names of routes and services instead of ids.",
        }
    },
}
_LABELS: dict[str, Any] = {"type": "array", "items": {"type": "string"}, "uniqueItems": True}
METADATA_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "disabled_labels": {
            "description": "Labels that stay empty: a list for all metrics, or metric to list.",
            "anyOf": [
                _LABELS,
                {
                    "type": "object",
                    "patternProperties": {f"^(apisix_)?({'|'.join(METRICS)})$": _LABELS},
                    "additionalProperties": False,
                },
            ],
        }
    },
}


@implementer(ILogPhase)
@frozen(eq=False)
class Prometheus:
    """
    prometheus with one configuration.

    Attributes:
        everywhere: Whether it stands in a global rule: a route's own copy goes before.
    """

    options: CountOptions
    metrics: RequestMetrics
    everywhere: bool

    def log(self, exchange: Exchange) -> None:
        """See ``ILogPhase``."""
        if self.everywhere and exchange.route is not None:
            own = exchange.route.uses.get(NAME)
            if own is not None and not own.disabled:
                return
        if COUNTED not in exchange.context:
            exchange.context[COUNTED] = True
            self.metrics.request(exchange, self.options)


def _make(config: Mapping[str, Any], services: PluginServices) -> Prometheus:
    options = CountOptions.parse(config.get("prefer_name", False), services.metadata.get("disabled_labels"))
    return Prometheus(options, services.metrics, services.origin.startswith("global_rule/"))


plugin = Factory(name=NAME, priority=500, schema=SCHEMA, metadata_schema=METADATA_SCHEMA, make=_make)
