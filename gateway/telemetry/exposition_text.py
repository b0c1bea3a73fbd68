"""Metrics in the text format of Prometheus 0.0.4, spelt as users of the gateway's metrics know them.

The official library writes labels by the alphabet, ends each counter's name in ``_total`` and numbers in
``.0``. Here labels stand in their usual order, the bound of a histogram's bucket last, and whole numbers
are whole.

Source: data-plane contract §17; Prometheus, "Exposition formats", text-based format.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

BARE = frozenset(("apisix_http_status", "apisix_bandwidth"))
"""Counters whose name has no ``_total``."""
_LAST = 100
_ORDER = {
    name: place
    for place, name in enumerate(
        (
            *("type", "code", "route", "matched_uri", "matched_host", "service", "consumer", "node"),
            *("request_type", "request_llm_model", "llm_model", "response_source"),
        )
    )
}
_ESCAPED = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_HELP_ESCAPED = str.maketrans({"\\": r"\\", "\n": r"\n"})


def render(metrics: Iterable[Metric]) -> bytes:
    """The text. Label values have no lone surrogates."""
    lines: list[str] = []
    for metric in metrics:
        name = metric.name
        counter = metric.type == "counter"
        if counter and name not in BARE:
            name += "_total"
        lines.append(f"# HELP {name} {metric.documentation.translate(_HELP_ESCAPED)}\n")
        lines.append(f"# TYPE {name} {metric.type}\n")
        for sample in metric.samples:
            if sample.name.endswith("_created") and metric.type in ("counter", "histogram"):
                continue
            spelt = name if counter else sample.name
            lines.append(f"{spelt}{_labels(sample.labels)} {_number(sample.value)}\n")
    return "".join(lines).encode()


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    known = sorted(labels.items(), key=_place)
    return "{" + ",".join([f'{name}="{_value(name, value)}"' for name, value in known]) + "}"


def _place(label: tuple[str, str]) -> int:
    # Others stay as they are: sorting is stable.
    return _LAST if label[0] == "le" else _ORDER.get(label[0], 0)


def _value(name: str, value: str) -> str:
    if name == "le":
        return value.removesuffix(".0")
    return value.translate(_ESCAPED)


def _number(value: Any) -> str:
    number = float(value)
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "+Inf" if number > 0 else "-Inf"
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)
