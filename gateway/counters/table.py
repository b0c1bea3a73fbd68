"""A table in memory that several processes share: rows found by a key, a lock for each few rows.

The memory is a file without a name, mapped by the process that makes it and by every worker that inherits
it. A row is a few 64-bit words, read and written as integers or as floats. Locks are the system's record
locks on the same file: they cost two system calls, and a process that dies holds none any more.

A key may stand in one of ``WAYS`` rows, which its hash tells. Where all of them are taken, the key takes
the row whose time ends soonest: so the table never grows, and with half of its rows free, one bucket in
300 is full.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import tempfile
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gateway.interfaces import CountersFailed

WAYS = 16
"""Rows that a key may stand in."""
TAG, ENDS, VALUES = 0, 2, 3
"""Words of a row: two that say whose it is, one that says until when, and what is counted."""
LOCK_LIMIT_S = 0.5
"""How long a lock is waited for. They are held for microseconds; a process that was stopped holds on."""
_KNOWN = 10_000
"""Keys whose place a process remembers."""
_WORD = 8
_AT_ONCE = 1 << 16
"""Rows that are looked at together."""
_LOOKS = 8
"""How often a row is read for two times in a row that agree."""


class SharedMemory:
    """
    Memory that is handed on by a file descriptor.

    Attributes:
        fd: The descriptor of its file. Nobody else in this process may open that file: the system takes
            all locks away from a process that closes it once.
        words, floats: The memory, as signed 64-bit integers and as doubles.
    """

    def __init__(self, fd: int) -> None:
        """
        Args:
            fd: A file as ``make`` makes it; it belongs to this object from now on.
        """
        self.fd = fd
        self._map = mmap.mmap(fd, os.fstat(fd).st_size)
        view = memoryview(self._map)
        self.words = view.cast("q")
        self.floats = view.cast("d")
        weakref.finalize(self, os.close, fd)

    @classmethod
    def make(cls, words: int) -> SharedMemory:
        """New memory of so many words, all 0. Takes room as it is written to."""
        if hasattr(os, "memfd_create"):
            fd = os.memfd_create("gateway-counters")
        else:
            fd, name = tempfile.mkstemp()
            os.unlink(name)
        os.ftruncate(fd, words * _WORD)
        return cls(fd)

    def lock(self, place: int, limit_s: float = LOCK_LIMIT_S) -> None:
        """
        Take the lock number *place*.

        Raises:
            CountersFailed: another process has had it for *limit_s*.
        """
        try:
            fcntl.lockf(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
            return
        except OSError:
            pass
        self._wait(place, limit_s)

    def _wait(self, place: int, limit_s: float) -> None:
        deadline = time.monotonic() + limit_s
        tries = 0
        while True:
            tries += 1
            # Held for microseconds, unless the holder lost its core in between: let it have one.
            time.sleep(0 if tries < 20 else 0.0005)
            if self.try_lock(place):
                return
            if time.monotonic() > deadline:
                raise CountersFailed("another process holds a counter and does not go on")

    def try_lock(self, place: int) -> bool:
        """Take it if nobody else has it."""
        try:
            fcntl.lockf(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except OSError:
            return False
        return True

    def unlock(self, place: int) -> None:
        """Give it back."""
        fcntl.lockf(self.fd, fcntl.LOCK_UN, 1, place)


class Table:
    """
    Rows of one kind in a part of the memory.

    Attributes:
        evictions: Keys that lost their row to another before their time, seen by this process.
    """

    def __init__(
        self,
        memory: SharedMemory,
        *,
        start: int,
        rows: int,
        row_words: int,
        secret: bytes,
        lock_start: int,
        shared: bool,
    ) -> None:
        """
        Args:
            start: The first word. rows: How many; a multiple of ``WAYS``.
            secret: Of the hash: whoever chooses keys must not choose their places.
            lock_start: The number of the first lock; there is one for each ``WAYS`` rows.
            shared: Whether other processes use it too.
        """
        self.words = memory.words
        self.floats = memory.floats
        self.evictions = 0
        self._memory = memory
        self._start = start
        self._rows = rows
        self._row_words = row_words
        self._bucket_words = WAYS * row_words
        self._buckets = rows // WAYS
        self._secret = secret
        self._lock_start = lock_start
        self._shared = shared
        # Where a key stood last, its lock, and its hash: most requests are of few keys. It stays this dict.
        self.known: dict[str, tuple[int, int, int, int]] = {}
        self._kept: OrderedDict[int, tuple[Callable[[str], None], str]] = OrderedDict()

    @contextmanager
    def row(self, key: str, now: float) -> Iterator[int]:
        """
        The row of *key*, locked: the place of its first word. A key that was not there has a row of zeros.

        Raises:
            CountersFailed: the lock cannot be had.
        """
        place, lock = self.acquire(key, now)
        try:
            yield place
        finally:
            self.release(lock)

    def acquire(self, key: str, now: float, *, make: bool = True) -> tuple[int, int]:
        """
        As ``row``, without the costs of a context manager.

        Args:
            make: Whether a key that was not there gets a row.
        Returns:
            The place, -1 if there is none, and the lock to ``release``.
        """
        known = self.known.get(key)
        if known is None:
            known = self._locate(key)
        place, lock, high, low = known
        if self._shared:
            self._memory.lock(lock)
        words = self.words
        if words[place] == high and words[place + 1] == low:
            return place, lock
        try:
            place = self._find(key, now, lock, high, low, make)
        except BaseException:
            self.release(lock)
            raise
        return place, lock

    def keep(self, key: str, place: int, give_back: Callable[[str], None]) -> None:
        """
        Somebody keeps *key*'s row at *place* as objects of its own. Only where no other process uses the
        table.

        Args:
            give_back: Called with *key* when that ends, before another key takes the row: writes down what
                it has.
        """
        if len(self._kept) >= _KNOWN:
            # One goes for each that comes: all of them at once would keep requests waiting.
            _, (end, oldest) = self._kept.popitem(last=False)
            end(oldest)
        self._kept[place] = give_back, key

    def release(self, lock: int) -> None:
        """Let others have it."""
        if self._shared:
            self._memory.unlock(lock)

    def look(self, key: str) -> memoryview | None:
        """
        A copy of the row of *key*, as integers; None if it has no row.

        Takes no lock and remembers nothing, so nobody who counts notices. It may miss what is written at
        the same moment.
        """
        first, _, high, low = self._address(key)
        words, step = self.words, self._row_words
        for place in range(first, first + self._bucket_words, step):
            if words[place] != high or words[place + 1] != low:
                continue
            row = words[place : place + step].tobytes()
            for _ in range(_LOOKS):
                again = words[place : place + step].tobytes()
                if again == row:
                    break
                row = again
            copy = memoryview(row).cast("q")
            # In between it may have become another key's.
            return copy if (copy[TAG], copy[TAG + 1]) == (high, low) else None
        return None

    def _locate(self, key: str) -> tuple[int, int, int, int]:
        if len(self.known) >= _KNOWN:
            self.known.clear()
        known = self.known[key] = self._address(key)
        return known

    def _address(self, key: str) -> tuple[int, int, int, int]:
        """Where a key's rows begin, their lock, and its hash."""
        digest = hashlib.blake2b(
            key.encode("utf-8", "surrogatepass"), digest_size=16, key=self._secret
        ).digest()
        # A row of zeros is nobody's.
        high = int.from_bytes(digest[:8], "little", signed=True) or 1
        low = int.from_bytes(digest[8:], "little", signed=True)
        bucket = (high & 0x7FFFFFFFFFFFFFFF) % self._buckets
        return self._start + bucket * self._bucket_words, self._lock_start + bucket, high, low

    def _find(self, key: str, now: float, lock: int, high: int, low: int, make: bool) -> int:
        """Look for the key's row, or take one for it. The lock is held."""
        words, floats, step = self.words, self.floats, self._row_words
        first = self._start + (lock - self._lock_start) * self._bucket_words
        victim, victim_ends = first, float("inf")
        for place in range(first, first + self._bucket_words, step):
            if words[place] == high and words[place + 1] == low:
                self.known[key] = (place, lock, high, low)
                return place
            ends = floats[place + ENDS] if words[place] else float("-inf")
            if ends < victim_ends:
                victim, victim_ends = place, ends
        if not make:
            return -1
        if victim_ends > now:
            self.evictions += 1
        kept = self._kept.pop(victim, None)
        if kept is not None:
            give_back, loser = kept
            give_back(loser)
        # Whoever dies in here leaves a row of nobody: its name comes last.
        words[victim] = 0
        for place in range(victim + 1, victim + step):
            words[place] = 0
        words[victim + 1] = low
        words[victim] = high
        self.known[key] = (victim, lock, high, low)
        return victim

    def taken(self, word: int) -> list[int]:
        """The rows whose word number *word* is not 0, by the places of their first words."""
        end = self._start + self._rows * self._row_words
        column = self.words[self._start + word : end : self._row_words]
        content = column.tobytes()
        if content.count(0) == len(content):
            return []
        return [
            self._start + number * self._row_words for number, value in enumerate(column.tolist()) if value
        ]

    def room(self, now: float) -> tuple[int, int]:
        """The table's bytes, and those of rows that are nobody's or whose time has ended. Takes no lock."""
        step = self._row_words
        free = 0
        for first in range(0, self._rows, _AT_ONCE):
            start = self._start + first * step + ENDS
            rows = min(_AT_ONCE, self._rows - first)
            free += sum(map(now.__ge__, self.floats[start : start + rows * step : step].tolist()))
        return self._rows * step * _WORD, free * step * _WORD

    def lock_of(self, place: int) -> int:
        """The lock of the row at *place*."""
        return self._lock_start + (place - self._start) // self._bucket_words
