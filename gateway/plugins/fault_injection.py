"""fault-injection: delays requests, or answers them itself, to see how clients and operators take it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from attrs import evolve, frozen
from zope.interface import implementer

from gateway.core.chain import Predicate
from gateway.core.exchange import Exchange, Reply
from gateway.core.explanation import Explanation, in_seconds
from gateway.core.expressions import compile_expression
from gateway.core.rewriting import map_schema, plain_fields, resolved, utf8
from gateway.core.variables import Template, compile_template
from gateway.factories import Factory
from gateway.interfaces import IExplainedHooks, IRewritePhase, PluginServices

NAME = "fault-injection"
REASON = "fault_injected"

_PERCENTAGE: dict[str, Any] = {
    "type": "integer",
    "minimum": 0,
    "maximum": 100,
    "description": "Of the requests this many in a hundred; not set: all.",
}
_VARS: dict[str, Any] = {
    "type": "array",
    "maxItems": 20,
    "items": {"type": "array"},
    "description": "Expressions; only requests that one of them holds for.",
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "minProperties": 1,
    "properties": {
        "abort": {
            "type": "object",
            "description": "Answer the request.",
            "properties": {
                "http_status": {
                    "type": "integer",
                    "minimum": 200,
                    "maximum": 599,
                    "description": "The status.",
                },
                "body": {"type": "string", "description": "The content, with variables."},
                "headers": map_schema("Fields of the answer, with variables."),
                "percentage": _PERCENTAGE,
                "vars": _VARS,
            },
            "required": ["http_status"],
        },
        "delay": {
            "type": "object",
            "description": "Hold the request up.",
            "properties": {
                "duration": {"type": "number", "minimum": 0, "description": "Seconds."},
                "percentage": _PERCENTAGE,
                "vars": _VARS,
            },
            "required": ["duration"],
        },
    },
    "anyOf": [{"required": ["abort"]}, {"required": ["delay"]}],
}


def _condition(part: Mapping[str, Any]) -> tuple[Predicate, ...] | None:
    return tuple([compile_expression(raw) for raw in part.get("vars", ())]) or None


@frozen(eq=False)
class Share:
    """
    Which requests a fault is for.

    Attributes:
        percentage: Of those that the expressions hold for; None: all.
        vars: Expressions, one of which must hold; None: any request.
    """

    percentage: int | None
    vars: tuple[Predicate, ...] | None
    random: Callable[[], float]

    @classmethod
    def parse(cls, part: Mapping[str, Any], random: Callable[[], float]) -> Share:
        return cls(part.get("percentage"), _condition(part), random)

    def takes(self, exchange: Exchange) -> bool:
        """Whether *exchange* gets the fault."""
        if self.vars is not None and not any(holds(exchange) for holds in self.vars):
            return False
        return self.percentage is None or self.random() * 100 < self.percentage

    def chance(self, exchange: Exchange) -> int:
        """How many requests in a hundred get it that are like *exchange*."""
        if not evolve(self, percentage=None).takes(exchange):
            return 0
        return 100 if self.percentage is None else self.percentage


@frozen(eq=False)
class Abort:
    """The answer that is given."""

    share: Share
    status: int
    body: Template | None
    fields: tuple[tuple[bytes, Template], ...]

    def reply(self, exchange: Exchange) -> Reply | None:
        """The answer for *exchange*, if it gets one."""
        if not self.share.takes(exchange):
            return None
        fields = resolved(self.fields, exchange)
        if self.body is None:
            return Reply(self.status, None, fields, REASON)
        if not any(name == b"content-type" for name, _ in fields):
            fields = ((b"content-type", b"text/plain; charset=utf-8"), *fields)
        return Reply(self.status, utf8(self.body(exchange)), fields, REASON)


@implementer(IRewritePhase, IExplainedHooks)
@frozen(eq=False)
class FaultInjection:
    """
    fault-injection with one configuration.

    Attributes:
        delay: For whom, and how many seconds.
    """

    delay: tuple[Share, float] | None
    abort: Abort | None
    services: PluginServices

    def rewrite(self, exchange: Exchange) -> Reply | Coroutine[Any, Any, Reply | None] | None:
        """See ``IRewritePhase``."""
        if self.delay is not None and self.delay[0].takes(exchange):
            return self._late(exchange, self.delay[1])
        return None if self.abort is None else self.abort.reply(exchange)

    async def _late(self, exchange: Exchange, seconds: float) -> Reply | None:
        await self.services.sleep(seconds)
        return None if self.abort is None else self.abort.reply(exchange)

    def explain(self, exchange: Exchange, phase: str) -> Explanation:
        """See ``IExplainedHooks``."""
        words = []
        if self.delay is not None:
            share, seconds = self.delay
            words.append(_chance(f"waits {in_seconds(seconds)}", share.chance(exchange)))
        reply: Reply | None = None
        sure = True
        if self.abort is not None:
            chance = self.abort.share.chance(exchange)
            words.append(_chance(f"answers {self.abort.status}", chance))
            sure = chance in (0, 100)
            if chance:
                reply = evolve(self.abort, share=Share(None, None, self.services.random)).reply(exchange)
        return Explanation(reply, "; ".join(filter(None, words)) or "no fault is for this request", sure)


def _chance(what: str, chance: int) -> str:
    if not chance:
        return ""
    return what if chance == 100 else f"{what} for {chance} % of such requests"


def _check(config: Mapping[str, Any]) -> None:
    for part in ("abort", "delay"):
        _condition(config.get(part, {}))
    plain_fields(config.get("abort", {}).get("headers", {}))


def _make(config: Mapping[str, Any], services: PluginServices) -> FaultInjection:
    delay, abort = None, None
    if "delay" in config:
        delay = (Share.parse(config["delay"], services.random), float(config["delay"]["duration"]))
    if "abort" in config:
        part = config["abort"]
        abort = Abort(
            Share.parse(part, services.random),
            part["http_status"],
            compile_template(part["body"]) if "body" in part else None,
            plain_fields(part.get("headers", {})),
        )
    return FaultInjection(delay, abort, services)


plugin = Factory(name=NAME, priority=11000, schema=SCHEMA, check=_check, make=_make)
