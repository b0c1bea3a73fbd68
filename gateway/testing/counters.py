"""Counters for tests: as exact as the real ones, with a clock that the test turns."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define, field

from gateway.interfaces import CountersFailed, Quota, Window


@define
class FakeCounters:
    """
    ``gateway.interfaces.Counters`` and ``Breakers`` that answer at once; called, they are a ``CounterSource``
    of themselves.

    Attributes:
        now: The time, in seconds; turn it by hand.
        down: Whether every call fails.
    """

    now: float = 0.0
    down: bool = False
    _windows: dict[str, tuple[float, float, int, int]] = field(factory=dict)
    _buckets: dict[str, tuple[float, float, float]] = field(factory=dict)
    _rooms: dict[str, dict[str, float]] = field(factory=dict)
    _breakers: dict[str, tuple[int, int, float | None]] = field(factory=dict)

    def __call__(self, settings: Mapping[str, Any]) -> FakeCounters:
        """See ``CounterSource``."""
        return self

    def _check(self) -> None:
        if self.down:
            raise CountersFailed("the counters are down")

    def take(self, key: str, limit: int, window_s: float, cost: int = 1, sliding: bool = False) -> Quota:
        """See ``Counters.take``."""
        self._check()
        ends, since, count, before = self._windows.get(key, (self.now, self.now, 0, 0))
        if self.now >= ends:
            since, count, before = self.now, 0, 0
            ends = self.now + (2 * window_s if sliding else window_s)
        elif sliding and self.now - since >= window_s:
            since, count, before = since + window_s, 0, count
            ends = since + 2 * window_s
        left_s = ends - self.now - (window_s if sliding else 0)
        used = count + (before * left_s / window_s if sliding else 0)
        admitted = used + cost <= limit
        if admitted or not sliding:
            count += cost
            used += cost
        self._windows[key] = (ends, since, count, before)
        return Quota(admitted, max(int(limit - used), 0), left_s)

    def take_all(self, windows: Sequence[Window]) -> Sequence[Quota]:
        """See ``Counters.take_all``."""
        found: list[Quota] = []
        for window in windows:
            found.append(self.take(*window))
            if not found[-1].admitted:
                break
        return found

    def leak(self, key: str, rate_per_s: float, burst: float) -> float:
        """See ``Counters.leak``."""
        self._check()
        excess = 0.0
        held, at, empty_at = self._buckets.get(key, (0.0, 0.0, self.now))
        if self.now < empty_at:
            excess = max(held - rate_per_s * (self.now - at) + 1, 0.0)
            if excess > burst:
                return -1.0
        self._buckets[key] = (excess, self.now, self.now + (excess + 1) / rate_per_s)
        return excess / rate_per_s

    def enter(self, key: str, limit: int, token: str, ttl_s: float) -> int:
        """See ``Counters.enter``."""
        self._check()
        room = {one: until for one, until in self._rooms.get(key, {}).items() if until > self.now}
        if len(room) >= limit:
            return 0
        room[token] = self.now + ttl_s
        self._rooms[key] = room
        return len(room)

    def leave(self, key: str, token: str) -> None:
        """See ``Counters.leave``."""
        self._rooms.get(key, {}).pop(token, None)

    def would_take(self, windows: Sequence[Window]) -> Sequence[Quota]:
        """See ``Counters.would_take``."""
        return copy.deepcopy(self).take_all(windows)

    def would_leak(self, key: str, rate_per_s: float, burst: float) -> float:
        """See ``Counters.would_leak``."""
        return copy.deepcopy(self).leak(key, rate_per_s, burst)

    def would_enter(self, key: str, limit: int) -> int:
        """See ``Counters.would_enter``."""
        return copy.deepcopy(self).enter(key, limit, f"one more of {key}", 1.0)

    def opened(self, key: str) -> tuple[int, float] | None:
        """See ``Breakers.opened``."""
        bad, _, at = self._breakers.get(key, (0, 0, None))
        return None if at is None else (bad, self.now - at)

    def failed(self, key: str, every: int) -> None:
        """See ``Breakers.failed``."""
        bad, _, at = self._breakers.get(key, (0, 0, None))
        self._breakers[key] = (bad + 1, 0, self.now if (bad + 1) % every == 0 else at)

    def succeeded(self, key: str, enough: int) -> None:
        """See ``Breakers.succeeded``."""
        bad, good, at = self._breakers.get(key, (0, 0, None))
        if bad and good + 1 >= enough:
            del self._breakers[key]
        elif bad:
            self._breakers[key] = (bad, good + 1, at)
