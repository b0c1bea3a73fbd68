"""Counters in Redis: exact over all gateways that use it, one round trip each."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from gateway.counters import scripts
from gateway.counters.connection import Refused
from gateway.interfaces import CountersFailed, Quota, Window


class Scripts(Protocol):
    """Who runs scripts: a server, or a cluster."""

    def run(self, script: str, keys: Sequence[bytes], args: Sequence[object]) -> Deferred[list[int]]:
        """As ``gateway.counters.connection.RedisServer.run``."""


class RedisCounters:
    """``gateway.interfaces.Counters`` whose methods return awaitables."""

    def __init__(self, server: Scripts, *, together: bool = True) -> None:
        """
        Args:
            together: Whether one script may use any keys. In a cluster they live on different servers.
        """
        self._server = server
        self._together = together

    def take(
        self, key: str, limit: int, window_s: float, cost: int = 1, sliding: bool = False
    ) -> Awaitable[Quota]:
        """See ``Counters.take``."""
        return self._take([Window(key, limit, window_s, cost, sliding)]).addCallback(lambda quotas: quotas[0])

    def take_all(self, windows: Sequence[Window]) -> Awaitable[Sequence[Quota]]:
        """See ``Counters.take_all``."""
        if self._together or len(windows) == 1:
            return self._take(windows)
        return Deferred.fromCoroutine(self._one_by_one(windows, scripts.TAKE))

    def would_take(self, windows: Sequence[Window]) -> Awaitable[Sequence[Quota]]:
        """See ``Counters.would_take``."""
        if self._together or len(windows) == 1:
            return self._take(windows, scripts.WOULD_TAKE)
        return Deferred.fromCoroutine(self._one_by_one(windows, scripts.WOULD_TAKE))

    async def _one_by_one(self, windows: Sequence[Window], script: str) -> Sequence[Quota]:
        found: list[Quota] = []
        for window in windows:
            found += await self._take([window], script)
            if not found[-1].admitted:
                break
        return found

    def _take(self, windows: Sequence[Window], script: str = scripts.TAKE) -> Deferred[list[Quota]]:
        args: list[object] = []
        for _, limit, window_s, cost, sliding in windows:
            args += (limit, max(round(window_s * 1000), 1), cost, int(sliding))
        return self._run(script, [window.key for window in windows], args).addCallback(_quotas)

    def leak(self, key: str, rate_per_s: float, burst: float) -> Awaitable[float]:
        """See ``Counters.leak``."""
        return self._leak(scripts.LEAK, key, rate_per_s, burst)

    def would_leak(self, key: str, rate_per_s: float, burst: float) -> Awaitable[float]:
        """See ``Counters.would_leak``."""
        return self._leak(scripts.WOULD_LEAK, key, rate_per_s, burst)

    def _leak(self, script: str, key: str, rate_per_s: float, burst: float) -> Deferred[float]:
        asked = self._run(script, [key], [repr(float(rate_per_s)), repr(float(burst))])
        return asked.addCallback(lambda answer: -1.0 if answer[0] < 0 else answer[0] / 1e6)

    def enter(self, key: str, limit: int, token: str, ttl_s: float) -> Awaitable[int]:
        """See ``Counters.enter``."""
        asked = self._run(scripts.ENTER, [key], [limit, token, max(round(ttl_s * 1000), 1)])
        return asked.addCallback(lambda answer: answer[0])

    def would_enter(self, key: str, limit: int) -> Awaitable[int]:
        """See ``Counters.would_enter``."""
        return self._run(scripts.WOULD_ENTER, [key], [limit]).addCallback(lambda answer: answer[0])

    def leave(self, key: str, token: str) -> None:
        """See ``Counters.leave``. A server that is down forgets in its own time."""
        self._run(scripts.LEAVE, [key], [token]).addErrback(lambda _: None)

    def _run(self, script: str, keys: Sequence[str], args: Sequence[object]) -> Deferred[Any]:
        wire = [key.encode("utf-8", "surrogatepass") for key in keys]
        return self._server.run(script, wire, args).addErrback(_failed)


def _quotas(answer: Sequence[int]) -> list[Quota]:
    return [Quota(bool(answer[at]), answer[at + 1], answer[at + 2] / 1000) for at in range(0, len(answer), 3)]


def _failed(failure: Failure) -> Any:
    if failure.check(Refused):
        raise CountersFailed(f"redis refused: {failure.getErrorMessage()}")
    return failure
