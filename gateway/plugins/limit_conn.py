"""limit-conn: so many requests at the same time. Some more wait a little; what is beyond is refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any

from attrs import define, evolve, field, frozen
from zope.interface import implementer

from gateway.core import limiting
from gateway.core.exchange import Exchange, Reply
from gateway.core.explanation import Explanation, in_seconds
from gateway.factories import Factory
from gateway.interfaces import (
    Clock,
    Counters,
    CountersFailed,
    IAccessPhase,
    IExplainedHooks,
    ILogPhase,
    PluginServices,
)
from gateway.model.schema import fill

NAME = "limit-conn"

_POLICY = limiting.policy_schema(key_ttl=True)
_CONN = {"oneOf": [{"type": "integer", "exclusiveMinimum": 0}, {"type": "string", "minLength": 1}]}
_BURST = {"oneOf": [{"type": "integer", "minimum": 0}, {"type": "string", "minLength": 1}]}
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "conn": {
            **_CONN,
            "description": "Requests at the same time: a number, or text with variables.",
        },
        "burst": {**_BURST, "description": "Requests beyond those that are let in after a delay."},
        "default_conn_delay": {
            "type": "number",
            "exclusiveMinimum": 0,
            "description": "Seconds of delay to start with, for each conn requests beyond the first.",
        },
        "only_use_default_delay": {
            "type": "boolean",
            "default": False,
            "description": "Keep to default_conn_delay, instead of following how long requests take.",
        },
        **limiting.key_schema(),
        "rules": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "properties": {
                    "conn": _CONN,
                    "burst": _BURST,
                    "key": {"type": "string", "minLength": 1, "description": "Text with variables."},
                },
                "required": ["conn", "burst", "key"],
            },
            "description": "Several limits, each of its own key, instead of conn, burst and key.",
        },
        **limiting.REJECTED,
        **_POLICY["properties"],
    },
    "oneOf": [
        {"required": ["conn", "burst", "default_conn_delay", "key"]},
        {"required": ["default_conn_delay", "rules"]},
    ],
    "allOf": _POLICY["allOf"],
}
_FAILED = Reply.json(500, {"error_msg": "failed to limit conn"}, reason="limit_unavailable")
_BROKEN = Reply(500, None, reason="limit_unresolved")

Number = int | Callable[[Exchange], int | None]


@frozen(eq=False)
class Rule:
    """
    One limit.

    Attributes:
        prefix: What its counters' keys start with. key: Tells the rest; None if it is not for this request.
        conn, burst: Numbers, or what reads them from a request.
    """

    prefix: str
    key: Callable[[Exchange], str | None]
    conn: Number
    burst: Number


@define(eq=False)
class Stay:
    """
    What one request holds.

    Attributes:
        keys: Of the counters it is in. began_s: When it was let in. delay_s: How long it waited then.
    """

    keys: list[str]
    began_s: float
    delay_s: float = 0.0


@implementer(IAccessPhase, IExplainedHooks, ILogPhase)
@define(eq=False)
class LimitConn:
    """
    limit-conn with one configuration.

    Attributes:
        unit_s: The delay for each ``conn`` requests beyond the first; follows how long requests take.
    """

    rules: Sequence[Rule]
    unit_s: float
    adapts: bool
    refused: Reply
    allow_degradation: bool
    ttl_s: float
    counters: Counters = field(repr=False)
    sleep: Callable[[float], Awaitable[None]] = field(repr=False)
    clock: Clock = field(repr=False)
    memory: str

    def access(self, exchange: Exchange) -> Reply | Coroutine[Any, Any, Reply | None] | None:
        """See ``IAccessPhase``."""
        if limiting.SKIPPED in exchange.context and NAME in exchange.context[limiting.SKIPPED]:
            return None
        limits = self._limits(exchange)
        if not limits:
            return None if self.allow_degradation else _BROKEN
        stay = Stay([], self.clock.monotonic())
        exchange.context[self.memory] = stay
        for place, (key, conn, burst) in enumerate(limits):
            try:
                inside = self.counters.enter(key, conn + burst, exchange.id, self.ttl_s)
            except CountersFailed as error:
                return self._failed(error)
            if isinstance(inside, Awaitable):
                return self._later(exchange, stay, limits[place:], inside)
            if not inside:
                return self.refused
            stay.keys.append(key)
            self._delay(stay, inside, conn)
        return None if stay.delay_s < limiting.DELAY_AT_LEAST_S else self._wait(stay)

    def _limits(self, exchange: Exchange) -> list[tuple[str, int, int]]:
        """Key, conn and burst of every rule for this request; none if a number cannot be told."""
        limits = []
        for rule in self.rules:
            key = rule.key(exchange)
            if key is None:
                continue
            conn, burst = rule.conn, rule.burst
            if callable(conn):
                conn = conn(exchange) or 0
            if callable(burst):
                told = burst(exchange)
                if told is None:
                    return []
                burst = told
            if not conn:
                return []
            limits.append((rule.prefix + key, conn, burst))
        return limits

    async def _later(
        self,
        exchange: Exchange,
        stay: Stay,
        limits: Sequence[tuple[str, int, int]],
        waiting: Awaitable[int],
    ) -> Reply | None:
        for place, (key, conn, burst) in enumerate(limits):
            # Before it is known: a request that ends while it waits for the answer leaves, too.
            stay.keys.append(key)
            try:
                if place:
                    answer = self.counters.enter(key, conn + burst, exchange.id, self.ttl_s)
                    inside = await answer if isinstance(answer, Awaitable) else answer
                else:
                    inside = await waiting
            except CountersFailed as error:
                return self._failed(error)
            if not inside:
                stay.keys.pop()
                return self.refused
            self._delay(stay, inside, conn)
        if stay.delay_s >= limiting.DELAY_AT_LEAST_S:
            await self._wait(stay)
        return None

    def _delay(self, stay: Stay, inside: int, conn: int) -> None:
        if inside > conn:
            delay_s = self.unit_s * ((inside - 1) // conn)
            stay.delay_s = min(max(stay.delay_s, delay_s), limiting.DELAY_AT_MOST_S)

    async def _wait(self, stay: Stay) -> None:
        await self.sleep(stay.delay_s)

    async def explain(self, exchange: Exchange, phase: str) -> Explanation:
        """See ``IExplainedHooks``. How long it would wait follows what this process has served."""
        if NAME in exchange.context.get(limiting.SKIPPED, ()):
            return limiting.LEFT_TO_WORKFLOW
        limits = self._limits(exchange)
        if not limits:
            error = ValueError("conn or burst is no number for this request, or no rule applies to it")
            return limiting.unable(None if self.allow_degradation else _BROKEN, error)
        stay, words = Stay([], 0.0), []
        for key, conn, burst in limits:
            places = conn + burst
            try:
                found = self.counters.would_enter(key, places)
                inside = await found if isinstance(found, Awaitable) else found
            except CountersFailed as failure:
                return limiting.unable(self._failed(failure), failure)
            if not inside:
                words.append(f"all {places} places are taken until a request ends")
                return Explanation(self.refused, "; ".join(words))
            words.append(f"{inside - 1} of {places} places are taken")
            self._delay(stay, inside, conn)
        if stay.delay_s >= limiting.DELAY_AT_LEAST_S:
            words.append(f"waits about {in_seconds(stay.delay_s)}")
        return Explanation(None, "; ".join(words))

    def _failed(self, error: CountersFailed) -> Reply | None:
        return None if self.allow_degradation else evolve(_FAILED, detail=str(error))

    def log(self, exchange: Exchange) -> None:
        """See ``ILogPhase``. Whatever way the request ended, it is in no more."""
        stay: Stay | None = exchange.context.pop(self.memory, None)
        if stay is None or not stay.keys:
            return
        for key in stay.keys:
            self.counters.leave(key, exchange.id)
        if self.adapts and exchange.attempts:
            took_s = self.clock.monotonic() - stay.began_s - stay.delay_s
            self.unit_s = (self.unit_s + max(took_s, 0.0)) / 2


def _rules(config: Mapping[str, Any], prefix: str) -> list[Rule]:
    if "rules" not in config:
        key = limiting.key_reader(config["key"], config["key_type"])
        return [
            Rule(
                prefix,
                key,
                limiting.number_reader(config["conn"]),
                limiting.number_reader(config["burst"], least=0),
            )
        ]
    return [
        Rule(
            f"{prefix}{place}:",
            limiting.rule_key_reader(rule["key"]),
            limiting.number_reader(rule["conn"]),
            limiting.number_reader(rule["burst"], least=0),
        )
        for place, rule in enumerate(config["rules"], 1)
    ]


def _check(config: Mapping[str, Any]) -> None:
    seen = set()
    for rule in config.get("rules", ()):
        if rule["key"] in seen:
            raise ValueError(f"duplicate key '{rule['key']}' in rules")
        seen.add(rule["key"])


def _make(config: Mapping[str, Any], services: PluginServices) -> LimitConn:
    filled = fill(_SCHEMA, config)
    return LimitConn(
        rules=_rules(filled, limiting.identity(NAME, services.origin, config)),
        unit_s=float(min(filled["default_conn_delay"], limiting.DELAY_AT_MOST_S)),
        adapts=not filled["only_use_default_delay"],
        refused=limiting.refusal(filled, "limit_conn_exceeded"),
        allow_degradation=filled["allow_degradation"],
        ttl_s=min(filled["key_ttl"], 10**9),
        counters=services.counters(filled),
        sleep=services.sleep,
        clock=services.clock,
        memory=f"{NAME} {services.origin}",
    )


plugin = Factory(
    name=NAME, priority=1003, schema=_SCHEMA, check=_check, make=_make, secret_fields=limiting.SECRETS
)
