"""How requests are counted where somebody asked for it: which names, which labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

METRICS = ("http_status", "http_latency", "bandwidth")
"""The metrics that labels can be switched off for."""


@frozen
class CountOptions:
    """
    Attributes:
        prefer_name: Whether routes and services are called by their names, where they have one.
        disabled: Labels that stay empty, by metric.
    """

    prefer_name: bool = False
    disabled: Mapping[str, frozenset[str]] = {}

    @classmethod
    def parse(cls, prefer_name: bool, disabled: Any) -> CountOptions:
        """
        Args:
            disabled: A list of labels, for all metrics; or metric (with or without its prefix) → list.
        """
        if isinstance(disabled, list):
            disabled = dict.fromkeys(METRICS, disabled)
        named = {
            metric.removeprefix("apisix_"): frozenset(labels)
            for metric, labels in (disabled or {}).items()
            if labels
        }
        return cls(prefer_name, named)
