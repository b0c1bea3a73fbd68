"""Quotas that are counted in this process and added to those on a server every now and then.

What limit-count does with ``sync_interval``: a request costs no round trip, and gateways learn of each
other's counts late. A key's first request asks the server, and so does the first one after a pause of an
interval; until then the process counts on from what the server last told. What it has counted is sent
together, once an interval.

So a limit may be passed by what the other processes admit within an interval. A server that is down is
noticed when a key is asked for anew; until then counting goes on, and what could not be sent is sent later.
Sliding windows and everything that is no quota go to the server at once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from gateway.interfaces import Counters, CountersFailed, Quota, Window

_log = Logger()


@define(eq=False)
class _Held:
    """
    A fixed window as this process knows it.

    Attributes:
        limit: The one that was asked for last. known: The count on the server when it last told.
        ours: What was counted here since then. sending: What of that is on its way.
        told_s: When the server told. ends_s: When the window ends.
    """

    limit: int
    window_s: float
    known: int
    told_s: float
    ends_s: float
    ours: int = 0
    sending: int = 0


class SyncedCounters:
    """``gateway.interfaces.Counters`` over others that take a round trip."""

    def __init__(self, behind: Counters, reactor: Any, *, interval_s: float, max_keys: int) -> None:
        """
        Args:
            behind: Those on the server. reactor: Provides ``IReactorTime``.
            interval_s: Seconds between two times that what was counted here is sent.
            max_keys: Windows that are held; those beyond go to the server at once.
        """
        self._behind = behind
        self._reactor = reactor
        self._interval_s = interval_s
        self._max_keys = max_keys
        self._held: dict[str, _Held] = {}
        self._timer: IDelayedCall | None = None

    def take(
        self, key: str, limit: int, window_s: float, cost: int = 1, sliding: bool = False
    ) -> Quota | Awaitable[Quota]:
        """See ``Counters.take``."""
        held = self._held.get(key)
        now = self._reactor.seconds()
        if sliding or held is None or not self._fresh(held, window_s, now):
            asked = self._behind.take(key, limit, window_s, cost, sliding)
            if sliding:
                return asked
            if isinstance(asked, Awaitable):
                return Deferred.fromCoroutine(self._learn(asked, key, limit, window_s))
            self._told(key, limit, window_s, asked)
            return asked
        held.limit = limit
        held.ours += cost
        used = held.known + held.sending + held.ours
        return Quota(used <= limit, max(limit - used, 0), held.ends_s - now)

    def _fresh(self, held: _Held, window_s: float, now: float) -> bool:
        """Whether it can be counted on from what is held."""
        if now >= held.ends_s or held.window_s != window_s:
            return False
        return bool(held.ours or held.sending) or now - held.told_s < self._interval_s

    async def _learn(self, asked: Awaitable[Quota], key: str, limit: int, window_s: float) -> Quota:
        quota = await asked
        self._told(key, limit, window_s, quota)
        return quota

    def _told(self, key: str, limit: int, window_s: float, quota: Quota) -> None:
        """The server has answered for a request that it counted."""
        now = self._reactor.seconds()
        count = limit - quota.remaining if quota.admitted else limit
        held = self._held.get(key)
        if held is not None and self._fresh(held, window_s, now):
            # Several were under way at the same time; the highest count is the latest.
            held.known, held.told_s = max(held.known, count), now
            return
        if held is None and len(self._held) >= self._max_keys:
            return
        self._held[key] = _Held(limit, window_s, count, now, now + quota.reset_s)
        if self._timer is None:
            self._timer = self._reactor.callLater(self._interval_s, self._send)

    def _send(self) -> None:
        """Send what was counted here, and forget what nobody asks for."""
        self._timer = None
        now = self._reactor.seconds()
        for key, held in list(self._held.items()):
            if not self._fresh(held, held.window_s, now):
                del self._held[key]
            elif held.ours and not held.sending:
                held.sending, held.ours = held.ours, 0
                work = Deferred.fromCoroutine(self._add(key, held))
                work.addErrback(lambda failure: _log.failure("adding to a counter met a bug", failure))
        if self._held:
            self._timer = self._reactor.callLater(self._interval_s, self._send)

    async def _add(self, key: str, held: _Held) -> None:
        sent = held.sending
        try:
            asked = self._behind.take(key, held.limit, held.window_s, sent)
            quota = await asked if isinstance(asked, Awaitable) else asked
        except CountersFailed:
            # The server says so in the log. It is sent again, as long as the window goes on.
            held.ours += sent
        else:
            now = self._reactor.seconds()
            held.known = (
                held.limit - quota.remaining if quota.remaining else max(held.known + sent, held.limit)
            )
            held.told_s, held.ends_s = now, now + quota.reset_s
        held.sending = 0

    def take_all(self, windows: Sequence[Window]) -> Sequence[Quota] | Awaitable[Sequence[Quota]]:
        """See ``Counters.take_all``."""
        found: list[Quota] = []
        for place, window in enumerate(windows):
            quota = self.take(*window)
            if isinstance(quota, Awaitable):
                return Deferred.fromCoroutine(self._rest(found, quota, windows[place + 1 :]))
            found.append(quota)
            if not quota.admitted:
                break
        return found

    async def _rest(
        self, found: list[Quota], waiting: Awaitable[Quota], windows: Sequence[Window]
    ) -> Sequence[Quota]:
        found.append(await waiting)
        for window in windows:
            if not found[-1].admitted:
                break
            quota = self.take(*window)
            found.append(await quota if isinstance(quota, Awaitable) else quota)
        return found

    def leak(self, key: str, rate_per_s: float, burst: float) -> float | Awaitable[float]:
        """See ``Counters.leak``."""
        return self._behind.leak(key, rate_per_s, burst)

    def enter(self, key: str, limit: int, token: str, ttl_s: float) -> int | Awaitable[int]:
        """See ``Counters.enter``."""
        return self._behind.enter(key, limit, token, ttl_s)

    def leave(self, key: str, token: str) -> None:
        """See ``Counters.leave``."""
        self._behind.leave(key, token)

    def would_take(self, windows: Sequence[Window]) -> Sequence[Quota] | Awaitable[Sequence[Quota]]:
        """See ``Counters.would_take``. What other processes have counted and not sent is not known here."""
        found: list[Quota] = []
        for place, window in enumerate(windows):
            quota = self._held_quota(window)
            if quota is None:
                return Deferred.fromCoroutine(self._would_rest(found, windows[place:]))
            found.append(quota)
            if not quota.admitted:
                break
        return found

    def _held_quota(self, window: Window) -> Quota | None:
        """What ``take`` would say from what is held; None if it would ask the server."""
        key, limit, window_s, cost, sliding = window
        held, now = self._held.get(key), self._reactor.seconds()
        if sliding or held is None or not self._fresh(held, window_s, now):
            return None
        used = held.known + held.sending + held.ours + cost
        return Quota(used <= limit, max(limit - used, 0), held.ends_s - now)

    async def _would_rest(self, found: list[Quota], windows: Sequence[Window]) -> Sequence[Quota]:
        for window in windows:
            quota = self._held_quota(window)
            if quota is None:
                asked = self._behind.would_take([window])
                quota = (await asked if isinstance(asked, Awaitable) else asked)[0]
            found.append(quota)
            if not quota.admitted:
                break
        return found

    def would_leak(self, key: str, rate_per_s: float, burst: float) -> float | Awaitable[float]:
        """See ``Counters.would_leak``."""
        return self._behind.would_leak(key, rate_per_s, burst)

    def would_enter(self, key: str, limit: int) -> int | Awaitable[int]:
        """See ``Counters.would_enter``."""
        return self._behind.would_enter(key, limit)

    def close(self) -> None:
        """Send nothing any more."""
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
