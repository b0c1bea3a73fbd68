"""api-breaker: after so many bad answers of an upstream, answer by ourselves for a while."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen
from zope.interface import implementer

from gateway.core import limiting
from gateway.core.exchange import Exchange, Reply
from gateway.core.explanation import Explanation, in_seconds
from gateway.core.fields import Pair
from gateway.core.variables import Template, compile_template
from gateway.factories import Factory
from gateway.interfaces import Breakers, IAccessPhase, IExplainedHooks, ILogPhase, PluginServices
from gateway.model.schema import fill

NAME = "api-breaker"


def _side(lowest: int, highest: int, status: int, name: str, description: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "http_statuses": {
                "type": "array",
                "minItems": 1,
                "uniqueItems": True,
                "items": {"type": "integer", "minimum": lowest, "maximum": highest},
                "default": [status],
            },
            name: {"type": "integer", "minimum": 1, "default": 3},
        },
        "default": {"http_statuses": [status], name: 3},
        "description": description,
    }


_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "break_response_code": {
            "type": "integer",
            "minimum": 200,
            "maximum": 599,
            "description": "Status of the answer while the breaker is open.",
        },
        "break_response_body": {"type": "string", "description": "Its content."},
        "break_response_headers": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "key": {"type": "string", "minLength": 1},
                    "value": {"type": "string", "minLength": 1},
                },
                "required": ["key", "value"],
            },
            "description": "Its fields, where there is content; values are text with variables.",
        },
        "max_breaker_sec": {
            "type": "integer",
            "minimum": 3,
            "default": 300,
            "description": "The longest time it stays open, in seconds.",
        },
        "unhealthy": _side(500, 599, 500, "failures", "Bad statuses, and how many of them open it."),
        "healthy": _side(
            200, 499, 200, "successes", "Good statuses, and how many of them forget the bad ones."
        ),
    },
    "required": ["break_response_code"],
}


def open_for_s(failures: int, every: int, most_s: float) -> float:
    """
    How long the breaker stays open.

    Args:
        failures: Bad answers so far, since the last time all was well. every: How many open it.
    Source:
        Plugin contract §3: 2 to the power of how often it has opened, 300 s at most by default.
    """
    times = max(failures // every, 1)
    return min(2.0 ** min(times, 64), most_s)


@implementer(IAccessPhase, IExplainedHooks, ILogPhase)
@frozen(eq=False)
class ApiBreaker:
    """api-breaker with one configuration."""

    status: int
    body: str | None
    fields: tuple[tuple[bytes, Template], ...]
    most_s: float
    bad: frozenset[int]
    good: frozenset[int]
    failures: int
    successes: int
    breakers: Breakers = field(repr=False)

    def access(self, exchange: Exchange) -> Reply | None:
        """See ``IAccessPhase``."""
        opened = self.breakers.opened(_key(exchange))
        if opened is None:
            return None
        failures, ago_s = opened
        if ago_s > open_for_s(failures, self.failures, self.most_s):
            return None
        if self.body is None:
            return Reply(self.status, None, reason="breaker_open")
        fields: list[Pair] = [(name, _value(template(exchange))) for name, template in self.fields]
        if not any(name == b"content-type" for name, _ in fields):
            fields.append((b"content-type", b"text/plain; charset=utf-8"))
        return Reply(self.status, self.body.encode("utf-8", "replace"), tuple(fields), "breaker_open")

    def explain(self, exchange: Exchange, phase: str) -> Explanation:
        """See ``IExplainedHooks``. Its access hook only reads."""
        reply = self.access(exchange)
        opened = self.breakers.opened(_key(exchange))
        if opened is None:
            return Explanation(reply, "the breaker is closed")
        failures, ago_s = opened
        left_s = open_for_s(failures, self.failures, self.most_s) - ago_s
        if reply is None:
            return Explanation(None, f"the breaker was open until {in_seconds(max(-left_s, 0.0))} ago")
        return Explanation(reply, f"the breaker is open for {in_seconds(max(left_s, 0.0))} more")

    def log(self, exchange: Exchange) -> None:
        """See ``ILogPhase``: what the upstream answered counts."""
        if not exchange.attempts:
            return
        status = exchange.attempts[-1].status
        if status in self.bad:
            self.breakers.failed(_key(exchange), self.failures)
        elif status in self.good:
            self.breakers.succeeded(_key(exchange), self.successes)


def _key(exchange: Exchange) -> str:
    return limiting.short(f"gateway:{NAME}:{exchange.host}{exchange.path}")


def _value(text: str) -> bytes:
    # What comes from a request must not end the line.
    return text.encode("utf-8", "surrogateescape").translate(None, b"\r\n\0").strip()


def _check(config: Mapping[str, Any]) -> None:
    for pair in config.get("break_response_headers", ()):
        limiting.field_name(pair["key"])


def _make(config: Mapping[str, Any], services: PluginServices) -> ApiBreaker:
    filled = fill(_SCHEMA, config)
    return ApiBreaker(
        status=filled["break_response_code"],
        body=filled.get("break_response_body"),
        fields=tuple(
            (limiting.field_name(pair["key"]), compile_template(pair["value"]))
            for pair in filled.get("break_response_headers", ())
        ),
        most_s=filled["max_breaker_sec"],
        bad=frozenset(filled["unhealthy"]["http_statuses"]),
        good=frozenset(filled["healthy"]["http_statuses"]),
        failures=filled["unhealthy"]["failures"],
        successes=filled["healthy"]["successes"],
        breakers=services.breakers,
    )


plugin = Factory(name=NAME, priority=1005, schema=_SCHEMA, check=_check, make=_make)
