"""Queues of log entries on their way to a collector (``gateway.interfaces.Batches``).

A queue is bounded: what would wait beyond its limit is dropped and counted, and the error log says so at
most once a second.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any
from weakref import WeakSet

from attrs import frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import deferLater
from twisted.logger import Logger

from gateway.core.batching import BatchOptions
from gateway.interfaces import Deliver

TELL_EVERY_S = 1.0
_log = Logger()


@frozen
class QueueLimits:
    """
    What one queue may hold.

    Attributes:
        entries: Entries that wait or are under way, where the plugin's metadata says nothing.
        content_bytes: Bytes of them. sends: Batches under way at a time.
    """

    entries: int = 8192
    content_bytes: int = 64 << 20
    sends: int = 8


class Batch:
    """
    One queue.

    Attributes:
        pending: Entries that wait or are under way. pending_bytes: Their bytes.
        server_addr: What came with the first entry; None if there was none yet.
    """

    def __init__(
        self, owner: BatchProcessor, name: str, route: str, options: BatchOptions, deliver: Deliver
    ) -> None:
        self.name = name
        self.route = route
        self.server_addr: str | None = None
        self.pending = self.pending_bytes = 0
        self._max_pending = owner.limits.entries if options.max_pending is None else options.max_pending
        self._owner = owner
        self._clock = owner.clock
        self._options = options
        self._deliver = deliver
        self._entries: list[Any] = []
        self._ready: deque[list[Any]] = deque()
        self._first_s = self._last_s = 0.0
        self._timer: IDelayedCall | None = None
        self._sends = 0

    def add(self, entry: Any, server_addr: str = "") -> None:
        """See ``gateway.interfaces.Batch.add``."""
        if self.server_addr is None:
            self.server_addr = server_addr
        size = _size(entry)
        most = self._options.max_entry_bytes
        if most is not None and size > most:
            self._owner.drop(self, 1, f"an entry has {size} bytes, and {most} can be sent")
            return
        full = self.pending >= self._max_pending or self._owner.closed
        if full or self.pending_bytes + size > self._owner.limits.content_bytes:
            self._owner.drop(self, 1, "too many wait")
            return
        self.pending += 1
        self.pending_bytes += size
        now = self._last_s = self._clock.seconds()
        if not self._entries:
            self._first_s = now
        self._entries.append(entry)
        if len(self._entries) >= self._options.max_size:
            self.flush()
        elif self._timer is None:
            self._timer = self._clock.callLater(self._options.due_at(now, now) - now, self._look)

    def _look(self) -> None:
        """Send if it is time; later entries may have moved that."""
        self._timer = None
        if not self._entries:
            return
        left_s = self._options.due_at(self._first_s, self._last_s) - self._clock.seconds()
        if left_s <= 0:
            self.flush()
        else:
            self._timer = self._clock.callLater(left_s, self._look)

    def flush(self) -> None:
        """Send what waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._entries:
            self._ready.append(self._entries)
            self._entries = []
        self._send_ready()

    def _send_ready(self) -> None:
        while self._ready and self._sends < self._owner.limits.sends:
            self._sends += 1
            sent = Deferred.fromCoroutine(self._send(self._ready.popleft()))
            sent.addErrback(lambda failure: _log.failure("sending log entries met a bug", failure))

    async def _send(self, entries: Sequence[Any]) -> None:
        options = self._options
        try:
            for left in range(options.retries, -1, -1):
                try:
                    await self._deliver(entries)
                    return
                except Exception as error:
                    if not left or self._owner.closed:
                        self._owner.drop(self, len(entries), str(error) or repr(error))
                        return
                await deferLater(self._clock, options.retry_delay_s)
        finally:
            self.pending -= len(entries)
            self.pending_bytes -= sum(map(_size, entries))
            self._sends -= 1
            self._send_ready()
            self._owner.sent()


def _size(entry: Any) -> int:
    return len(entry) if isinstance(entry, bytes) else 0


class BatchProcessor:
    """
    Every queue of this process.

    Attributes:
        limits: Of each queue.
        closed: Whether the gateway stops: nothing is taken any more, and nothing is tried again.
        dropped: Entries lost so far, by plugin and route.
    """

    def __init__(self, clock: Any, limits: QueueLimits | None = None) -> None:
        """
        Args:
            clock: Provides ``IReactorTime``.
        """
        self.clock = clock
        self.limits = limits or QueueLimits()
        self.closed = False
        self.dropped: dict[tuple[str, str], int] = {}
        self._batches: WeakSet[Batch] = WeakSet()
        self._told_s: dict[str, float] = {}
        self._waiting: Deferred[None] | None = None

    def open(self, name: str, route: str, options: BatchOptions, deliver: Deliver) -> Batch:
        """See ``gateway.interfaces.Batches.open``. A queue with entries in it is kept by its timer."""
        batch = Batch(self, name, route, options, deliver)
        self._batches.add(batch)
        return batch

    def drop(self, batch: Batch, count: int, why: str) -> None:
        """Entries are lost."""
        key = (batch.name, batch.route)
        total = self.dropped[key] = self.dropped.get(key, 0) + count
        now = self.clock.seconds()
        if now - self._told_s.get(batch.name, -TELL_EVERY_S) >= TELL_EVERY_S:
            self._told_s[batch.name] = now
            _log.error(
                "{plugin} of {route} has lost {count} log entries: {why}",
                plugin=batch.name,
                route=batch.route,
                count=total,
                why=why,
            )

    def waiting(self) -> list[list[Any]]:
        """Name, route, address and number of entries that wait, for each queue that had any."""
        return [
            [one.name, one.route, one.server_addr, one.pending]
            for one in self._batches
            if one.server_addr is not None
        ]

    def losses(self) -> list[list[Any]]:
        """Plugin, route and number of entries lost."""
        return [[name, route, count] for (name, route), count in self.dropped.items()]

    def sent(self) -> None:
        """Entries are done with; for a queue."""
        if self._waiting is not None and not any(one.pending for one in self._batches):
            waiting, self._waiting = self._waiting, None
            waiting.callback(None)

    def close(self, limit_s: float) -> Deferred[None]:
        """
        Send what waits; nothing is tried twice.

        Returns:
            Fires when all is sent or lost, after *limit_s* at the latest.
        """
        self.closed = True
        held = list(self._batches)
        for batch in held:
            batch.flush()
        if not any(batch.pending for batch in held):
            return succeed(None)
        done = self._waiting = Deferred()

        def too_late() -> None:
            self._waiting = None
            for batch in held:
                if batch.pending:
                    self.drop(batch, batch.pending, "the gateway has stopped")
            done.callback(None)

        timer = self.clock.callLater(limit_s, too_late)

        def over(result: None) -> None:
            if timer.active():
                timer.cancel()

        return done.addCallback(over)
