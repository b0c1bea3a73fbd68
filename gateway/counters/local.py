"""Counters of this machine: exact over all worker processes, at hand without asking anybody.

They live in a ``Table`` that the workers share. A concurrency counter has one cell for each process: what a
dead process had in flight is forgotten when the first process hears of its death.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Sequence

from gateway.counters.table import ENDS, VALUES, WAYS, SharedMemory, Table
from gateway.interfaces import CountersFailed, Quota, Running, Window

_METER_WORDS = 8
_HEADER = struct.Struct("qqq32s")
_HEADER_WORDS = 8
_COUNT, _BEFORE, _SINCE = VALUES, VALUES + 1, VALUES + 2
_EXCESS, _LAST = VALUES, VALUES + 1
_BAD, _GOOD, _OPENED = VALUES, VALUES + 1, VALUES + 2
_FOR_EVER = 1e300
_NEW = memoryview(bytes(8 * (_METER_WORDS - ENDS))).cast("q")
"""What a row says of a key that was not there."""
_BREAKER_S = 86400.0
"""How long a breaker is remembered that nothing happens to."""


class LocalCounters:
    """``gateway.interfaces.CountersAtHand`` and ``Breakers`` whose methods return at once."""

    def __init__(self, memory: SharedMemory, now: Callable[[], float], *, shared: bool) -> None:
        """
        Args:
            memory: As ``make`` and ``share`` make it.
            now: A clock that all processes of the machine share, and that never goes back.
            shared: Whether other processes use the same memory.
        """
        self._memory = memory
        self._now = now
        self._words, self._floats = memory.words, memory.floats
        size, columns, _, secret = _HEADER.unpack_from(memoryview(memory.words).cast("B"))
        self._columns = columns
        rows = 2 * size
        buckets = rows // WAYS
        self._meters = Table(
            memory,
            start=_HEADER_WORDS,
            rows=rows,
            row_words=_METER_WORDS,
            secret=secret,
            lock_start=0,
            shared=shared,
        )
        self._keeps = not shared
        self._kept: dict[str, tuple[Running, int]] = {}
        self._rooms = Table(
            memory,
            start=_HEADER_WORDS + rows * _METER_WORDS,
            rows=rows,
            row_words=VALUES + columns,
            secret=secret,
            lock_start=buckets,
            shared=shared,
        )
        self._column_locks = 2 * buckets
        # A word for each column: whether somebody has counted in it since it was cleared.
        self._used = _HEADER_WORDS + rows * (_METER_WORDS + VALUES + columns)
        self._column = -1 if shared else 0
        self._owed: list[str] = []
        self._draft: LocalCounters | None = None

    @classmethod
    def make(cls, keys: int, now: Callable[[], float], *, processes: int = 0) -> LocalCounters:
        """
        New counters, all at 0.

        Args:
            keys: How many counters of each sort there is room for; rounded up.
            processes: How many are to share them; 0 for this one alone.
        """
        size = -(-max(keys, 1) // WAYS) * WAYS
        # Those that serve, those that wait to, and those that end what they have in flight.
        columns = 2 * processes + 8 if processes else 1
        words = _HEADER_WORDS + 2 * size * (_METER_WORDS + VALUES + columns) + columns
        memory = SharedMemory.make(words)
        _HEADER.pack_into(memoryview(memory.words).cast("B"), 0, size, columns, 0, os.urandom(32))
        return cls(memory, now, shared=bool(processes))

    @classmethod
    def adopt(cls, fd: int, now: Callable[[], float]) -> LocalCounters:
        """The counters that another process shares, by the descriptor inherited from it."""
        return cls(SharedMemory(fd), now, shared=True)

    @property
    def fd(self) -> int:
        """What other processes inherit."""
        return self._memory.fd

    @property
    def evictions(self) -> int:
        """Counters that were forgotten before their time because there was no room, by this process."""
        return self._meters.evictions + self._rooms.evictions

    def room(self) -> list[tuple[str, int, int]]:
        """
        How much memory there is, for those who watch it: what for, bytes in all, and bytes that are free.

        Looks at every row: for a thread.
        """
        now = self._now()
        return [("quotas", *self._meters.room(now)), ("concurrency", *self._rooms.room(now))]

    # -- quotas

    def take(self, key: str, limit: int, window_s: float, cost: int = 1, sliding: bool = False) -> Quota:
        """See ``Counters.take``."""
        now = self._now()
        place, lock = self._meters.acquire(key, now)
        self._write_down(key)
        try:
            quota = self._take(place, now, limit, window_s, cost, sliding)
        finally:
            self._meters.release(lock)
        if self._keeps and not sliding:
            self._keep(key, place)
        return quota

    @property
    def now(self) -> Callable[[], float]:
        """See ``CountersAtHand.now``."""
        return self._now

    def at_hand(self, key: str) -> Running | None:
        """See ``CountersAtHand.at_hand``."""
        kept = self._kept.get(key)
        return None if kept is None else kept[0]

    def _keep(self, key: str, place: int) -> None:
        """Have an object count in the fixed window of a row from here on."""
        kept = self._kept.get(key)
        if kept is not None:
            running = kept[0]
        else:
            running = Running(key)
            self._meters.keep(key, place, self._give_back)
            self._kept[key] = (running, place)
        running.count = self._words[place + _COUNT]
        running.ends_s = self._floats[place + ENDS]

    def _give_back(self, key: str) -> None:
        """Nobody counts in the window of *key* by its object any more."""
        self._write_down(key)
        running, _ = self._kept.pop(key)
        running.ends_s = 0.0

    def _write_down(self, key: str) -> None:
        """Have the row say what the object does that counts in its window."""
        kept = self._kept.get(key)
        if kept is not None:
            running, place = kept
            self._words[place + _COUNT] = running.count

    def _take(self, place: int, now: float, limit: int, window_s: float, cost: int, sliding: bool) -> Quota:
        if sliding:
            return self._slide(place, now, limit, window_s, cost)
        words, floats = self._words, self._floats
        ends = floats[place + ENDS]
        if now >= ends:
            # In this order: whoever dies in between leaves a window that has ended.
            words[place + _COUNT] = cost
            floats[place + ENDS] = now + window_s
            return Quota(cost <= limit, max(limit - cost, 0), window_s)
        count = words[place + _COUNT] + cost
        words[place + _COUNT] = count
        if count <= limit:
            return Quota(True, limit - count, ends - now)
        return Quota(False, 0, ends - now)

    def _slide(self, place: int, now: float, limit: int, window_s: float, cost: int) -> Quota:
        words, floats = self._words, self._floats
        since, count, before = floats[place + _SINCE], words[place + _COUNT], words[place + _BEFORE]
        passed = now - since
        if passed >= 2 * window_s or now >= floats[place + ENDS]:
            since, count, before = now, 0, 0
        elif passed >= window_s:
            since, count, before = since + window_s, 0, count
        left_s = window_s - (now - since)
        used = before * left_s / window_s + count
        admitted = used + cost <= limit
        if admitted:
            count += cost
            used += cost
        words[place + _BEFORE] = before
        words[place + _COUNT] = count
        floats[place + _SINCE] = since
        floats[place + ENDS] = since + 2 * window_s
        return Quota(admitted, max(int(limit - used), 0), left_s)

    def take_all(self, windows: Sequence[Window]) -> Sequence[Quota]:
        """See ``Counters.take_all``."""
        found = []
        for window in windows:
            quota = self.take(*window)
            found.append(quota)
            if not quota.admitted:
                break
        return found

    # -- leaky buckets

    def leak(self, key: str, rate_per_s: float, burst: float) -> float:
        """See ``Counters.leak``."""
        now = self._now()
        place, lock = self._meters.acquire(key, now)
        try:
            floats = self._floats
            excess = 0.0
            if now < floats[place + ENDS]:
                excess = floats[place + _EXCESS] - rate_per_s * (now - floats[place + _LAST]) + 1
                if excess > burst:
                    return -1.0
                excess = max(excess, 0.0)
            floats[place + _EXCESS] = excess
            floats[place + _LAST] = now
            floats[place + ENDS] = now + (excess + 1) / rate_per_s
            return excess / rate_per_s
        finally:
            self._meters.release(lock)

    # -- breakers

    def opened(self, key: str) -> tuple[int, float] | None:
        """See ``Breakers.opened``."""
        try:
            place, lock = self._meters.acquire(key, 0.0, make=False)
        except CountersFailed:
            return None
        try:
            if place < 0 or not self._floats[place + _OPENED]:
                return None
            ago_s = self._now() - self._floats[place + _OPENED]
            return self._words[place + _BAD], ago_s
        finally:
            self._meters.release(lock)

    def failed(self, key: str, every: int) -> None:
        """See ``Breakers.failed``."""
        now = self._now()
        try:
            place, lock = self._meters.acquire(key, now)
        except CountersFailed:
            return
        words, floats = self._words, self._floats
        words[place + _BAD] += 1
        words[place + _GOOD] = 0
        if words[place + _BAD] % every == 0:
            floats[place + _OPENED] = now
        floats[place + ENDS] = now + _BREAKER_S
        self._meters.release(lock)

    def succeeded(self, key: str, enough: int) -> None:
        """See ``Breakers.succeeded``."""
        try:
            place, lock = self._meters.acquire(key, 0.0, make=False)
        except CountersFailed:
            return
        words = self._words
        if place >= 0:
            words[place + _GOOD] += 1
            if words[place + _GOOD] >= enough:
                for value in (_BAD, _GOOD, _OPENED):
                    words[place + value] = 0
                self._floats[place + ENDS] = 0.0
        self._meters.release(lock)

    # -- concurrency

    def enter(self, key: str, limit: int, token: str, ttl_s: float) -> int:
        """See ``Counters.enter``; neither token nor time are needed here."""
        column = self._column
        if column < 0:
            column = self._claim()
        if self._owed:
            self._pay()
        place, lock = self._rooms.acquire(key, self._now())
        try:
            words = self._words
            cells = place + VALUES
            inside = sum(words[cells : cells + self._columns])
            if inside >= limit:
                return 0
            words[cells + column] += 1
            self._floats[place + ENDS] = _FOR_EVER
            return inside + 1
        finally:
            self._rooms.release(lock)

    def leave(self, key: str, token: str) -> None:
        """See ``Counters.leave``."""
        if self._column < 0:
            return
        try:
            place, lock = self._rooms.acquire(key, self._now())
        except CountersFailed:
            self._owed.append(key)
            return
        words = self._words
        cells = place + VALUES
        if words[cells + self._column] > 0:
            words[cells + self._column] -= 1
        if not any(words[cells : cells + self._columns]):
            self._floats[place + ENDS] = 0.0
        self._rooms.release(lock)

    def _pay(self) -> None:
        """Leave where the lock could not be had in time."""
        owed, self._owed = self._owed, []
        for key in owed:
            self.leave(key, "")

    def _claim(self) -> int:
        """Take a column of cells for this process, until it ends."""
        for column in range(self._columns):
            if self._memory.try_lock(self._column_locks + column):
                self._clear(column)
                self._words[self._used + column] = 1
                self._column = column
                return column
        raise CountersFailed("too many worker processes are ending at the same time")

    def _clear(self, column: int) -> None:
        words, floats = self._words, self._floats
        if not words[self._used + column]:
            return
        for place in self._rooms.taken(VALUES + column):
            lock = self._rooms.lock_of(place)
            self._memory.lock(lock)
            words[place + VALUES + column] = 0
            if not any(words[place + VALUES : place + VALUES + self._columns]):
                floats[place + ENDS] = 0.0
            self._memory.unlock(lock)
        words[self._used + column] = 0

    # -- what would be

    def would_take(self, windows: Sequence[Window]) -> Sequence[Quota]:
        """See ``Counters.would_take``."""
        found = []
        for window in windows:
            quota = self._drafted(window.key).take(*window)
            found.append(quota)
            if not quota.admitted:
                break
        return found

    def would_leak(self, key: str, rate_per_s: float, burst: float) -> float:
        """See ``Counters.would_leak``."""
        return self._drafted(key).leak(key, rate_per_s, burst)

    def would_enter(self, key: str, limit: int) -> int:
        """See ``Counters.would_enter``."""
        row = self._rooms.look(key)
        inside = 0 if row is None else sum(row[VALUES:])
        return inside + 1 if inside < limit else 0

    def _drafted(self, key: str) -> LocalCounters:
        """Counters that nobody shares, in which *key* stands as it does here."""
        draft = self._draft
        if draft is None:
            draft = self._draft = LocalCounters.make(1, self._now)
            draft._keeps = False
        self._write_down(key)
        row = self._meters.look(key)
        place, lock = draft._meters.acquire(key, self._now())
        end = place + _METER_WORDS
        draft._words[place + ENDS : end] = _NEW if row is None else row[ENDS:]
        draft._meters.release(lock)
        return draft

    def forget_the_dead(self) -> None:
        """
        Forget what processes had in flight that are no more. To be called by the process that hears of it.

        Raises:
            CountersFailed: a process that lives holds a counter and does not go on.
        """
        for column in range(self._columns):
            if column != self._column and self._memory.try_lock(self._column_locks + column):
                try:
                    self._clear(column)
                finally:
                    self._memory.unlock(self._column_locks + column)
