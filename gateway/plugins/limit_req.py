"""limit-req: a steady rate. What comes faster waits its turn, up to a burst; what is beyond is refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

from attrs import evolve, field, frozen
from zope.interface import implementer

from gateway.core import limiting
from gateway.core.exchange import Exchange, Reply
from gateway.core.explanation import Explanation, in_seconds
from gateway.factories import Factory
from gateway.interfaces import Counters, CountersFailed, IAccessPhase, IExplainedHooks, PluginServices
from gateway.model.schema import fill

NAME = "limit-req"

_POLICY = limiting.policy_schema()
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "rate": {"type": "number", "exclusiveMinimum": 0, "description": "Requests per second."},
        "burst": {
            "type": "number",
            "minimum": 0,
            "description": "Requests that may wait for their turn at the same time.",
        },
        **limiting.key_schema(),
        "nodelay": {
            "type": "boolean",
            "default": False,
            "description": "Let requests within the burst pass at once.",
        },
        **limiting.REJECTED,
        **_POLICY["properties"],
    },
    "required": ["rate", "burst", "key"],
    "allOf": _POLICY["allOf"],
}
_FAILED = Reply.json(500, {"error_msg": "failed to limit req"}, reason="limit_unavailable")


@implementer(IAccessPhase, IExplainedHooks)
@frozen(eq=False)
class LimitReq:
    """limit-req with one configuration."""

    prefix: str
    key: limiting.KeyReader
    rate_per_s: float
    burst: float
    nodelay: bool
    refused: Reply
    allow_degradation: bool
    counters: Counters = field(repr=False)
    sleep: Callable[[float], Awaitable[None]] = field(repr=False)

    def access(self, exchange: Exchange) -> Reply | Coroutine[Any, Any, Reply | None] | None:
        """See ``IAccessPhase``."""
        try:
            wait_s = self.counters.leak(self.prefix + self.key(exchange), self.rate_per_s, self.burst)
        except CountersFailed as error:
            return self._failed(error)
        if isinstance(wait_s, Awaitable):
            return self._later(wait_s)
        if wait_s < 0:
            return self.refused
        if self.nodelay or wait_s < limiting.DELAY_AT_LEAST_S:
            return None
        return self._wait(wait_s)

    async def _later(self, waiting: Awaitable[float]) -> Reply | None:
        try:
            wait_s = await waiting
        except CountersFailed as error:
            return self._failed(error)
        if wait_s < 0:
            return self.refused
        if not self.nodelay and wait_s >= limiting.DELAY_AT_LEAST_S:
            await self.sleep(min(wait_s, limiting.DELAY_AT_MOST_S))
        return None

    async def _wait(self, wait_s: float) -> None:
        await self.sleep(min(wait_s, limiting.DELAY_AT_MOST_S))

    async def explain(self, exchange: Exchange, phase: str) -> Explanation:
        """See ``IExplainedHooks``."""
        key = self.prefix + self.key(exchange)
        try:
            wait_s = await self._would_wait(key, self.burst)
            if wait_s < 0:
                # Its turn would come when those are through that are in the bucket; some must leave before.
                turn_s = await self._would_wait(key, limiting.LARGEST)
                room_s = max(turn_s - self.burst / self.rate_per_s, 0.0)
                words = f"as many wait as burst allows; there is room again in {in_seconds(room_s)}"
                return Explanation(self.refused, words)
        except CountersFailed as error:
            return limiting.unable(self._failed(error), error)
        if wait_s < limiting.DELAY_AT_LEAST_S:
            return Explanation(None, "keeps to the rate")
        if self.nodelay:
            return Explanation(None, f"early by {in_seconds(wait_s)}, within the burst")
        return Explanation(None, f"waits {in_seconds(min(wait_s, limiting.DELAY_AT_MOST_S))} for its turn")

    async def _would_wait(self, key: str, burst: float) -> float:
        found = self.counters.would_leak(key, self.rate_per_s, burst)
        return await found if isinstance(found, Awaitable) else found

    def _failed(self, error: CountersFailed) -> Reply | None:
        return None if self.allow_degradation else evolve(_FAILED, detail=str(error))


def _make(config: Mapping[str, Any], services: PluginServices) -> LimitReq:
    filled = fill(_SCHEMA, config)
    return LimitReq(
        prefix=limiting.identity(NAME, services.origin, config),
        key=limiting.key_reader(filled["key"], filled["key_type"]),
        rate_per_s=float(min(filled["rate"], limiting.LARGEST)),
        burst=float(min(filled["burst"], limiting.LARGEST)),
        nodelay=filled["nodelay"],
        refused=limiting.refusal(filled, "limit_req_exceeded"),
        allow_degradation=filled["allow_degradation"],
        counters=services.counters(filled),
        sleep=services.sleep,
    )


plugin = Factory(name=NAME, priority=1001, schema=_SCHEMA, make=_make, secret_fields=limiting.SECRETS)
