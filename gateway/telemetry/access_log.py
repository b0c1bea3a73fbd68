"""The access log: one line a request, gathered and written in batches by a thread of its own.

The data path makes the line and appends it to a buffer; it never waits for a disk or for whoever
reads a pipe, and never sees an error. When writing cannot keep up, lines are dropped and counted.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from gateway.core.exchange import Exchange
from gateway.telemetry.line_writer import Lines, LineWriter
from gateway.telemetry.log_format import compile_format, unknown_variables

WAITING_BYTES = 4 * 1024 * 1024
"""How much may wait for the disk, at least; lines beyond are dropped."""
CLOSE_TIMEOUT_S = 5.0
"""How long ``close`` waits for the disk."""
BREATH_S = 0.1
"""
Batches follow each other no faster than this. Each costs the serving thread a handover to the one that
writes, which at thousands of requests a second would be a tenth of all work.
"""

_log = Logger()


class AccessLog:
    """
    Writes a line for each finished exchange.

    All methods are for the reactor's thread. None raises, except the constructor.

    Attributes:
        dropped: Lines lost so far: writing failed, or there was no more room to wait.
        written: Lines written so far.
    """

    def __init__(
        self,
        path: str,
        format: str,
        *,
        flush_s: float,
        buffer_bytes: int,
        clock: Any,
        escape: str = "default",
        share: float = 1.0,
        random: Callable[[], float] = lambda: 0.0,
        waiting_bytes: int = WAITING_BYTES,
    ) -> None:
        """
        Args:
            path: The file, appended to; ``-`` is standard output.
            format: For ``compile_format``, as is *escape*.
            flush_s: Seconds after which a line is written at the latest; 0 writes each at once.
            buffer_bytes: When this much has gathered it is written at once, or ``BREATH_S`` after
                the last batch if that is later.
            clock: Provides ``IReactorTime``; its ``seconds`` are Unix time, as the reactor's are.
            share: Of the requests this share is written, from 0 to 1; those answered with 5xx are all
                written. random: A number from 0 to 1, 1 excluded.
            waiting_bytes: How much may wait, gathered or on its way; at least twice *buffer_bytes*
                is taken.
        Raises:
            OSError: the file cannot be opened.
            ValueError: there is no such *escape*.
        """
        self._line = compile_format(format, escape=escape)
        self._share = share
        self._random = random
        self._flush_s = flush_s
        self._buffer_bytes = buffer_bytes
        self._clock = clock
        self._seconds: Callable[[], float] = clock.seconds
        self._limit = max(waiting_bytes, 2 * buffer_bytes)
        self._lines: list[str] = []
        self._size = 0
        self._full_at: float = buffer_bytes if flush_s else 0
        self._timer: IDelayedCall | None = None
        self._timer_at = 0.0
        self._flushed_s = -BREATH_S
        self._closed = False
        self._refused = 0
        self._told = 0
        self._broken = False
        self._writer = LineWriter(path)
        for name in unknown_variables(format):
            _log.warn("access_format: ${name} is no variable; it is always absent", name=name)

    @property
    def dropped(self) -> int:
        return self._refused + self._writer.lost

    @property
    def written(self) -> int:
        return self._writer.written

    def write(self, exchange: Exchange) -> None:
        """Take note of an exchange that has ended."""
        if self._share < 1.0 and exchange.status < 500 and self._random() >= self._share:
            return
        try:
            clock, make = self._seconds, self._line
            now = clock()
            line = make(exchange, now)
        except Exception:
            self._refused += 1
            if not self._broken:  # A bug: once is enough, it would come with every request.
                self._broken = True
                _log.failure("making a line of the access log failed")
            return
        size = len(line) + 1
        if self._closed or self._size + self._writer.waiting + size > self._limit:
            self._refused += 1
            self._tell()
            return
        self._lines.append(line)
        self._size += size
        if self._size >= self._full_at:
            self._full(now)
        elif self._timer is None:
            self._start_timer(now + self._flush_s, now)

    def _full(self, now: float) -> None:
        """Write now, unless the last batch is but a moment old: then at the end of that moment."""
        due = self._flushed_s + BREATH_S
        if not self._flush_s or not self._buffer_bytes or not 0.0 <= now - self._flushed_s < BREATH_S:
            self.flush()
        else:
            if self._timer is None or self._timer_at > due:
                if self._timer is not None:
                    self._timer.cancel()
                self._start_timer(due, now)
            self._full_at = inf  # It is known; the timer does the rest.

    def _start_timer(self, at: float, now: float) -> None:
        self._timer_at = at
        self._timer = self._clock.callLater(at - now, self._late)

    def _late(self) -> None:
        self._timer = None
        self.flush()

    def flush(self) -> None:
        """Have the lines gathered so far written; does not wait for it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._lines:
            count = len(self._lines)
            self._lines.append("")
            # A format may hold text past ASCII; values do not.
            data = "\n".join(self._lines).encode("utf-8", "backslashreplace")
            self._lines = []
            self._size = 0
            self._full_at = self._buffer_bytes if self._flush_s else 0
            self._flushed_s = self._seconds()
            self._writer.take(Lines(data, count))
        self._tell()

    def _tell(self) -> None:
        """Say in the error log that lines are lost: when it begins, and each time the number has doubled."""
        lost = self.dropped
        if lost > 2 * self._told:
            self._told = lost
            _log.error(
                "the access log has lost {count} lines: {why}",
                count=lost,
                why=self._writer.error or "writing does not keep up",
            )

    def reopen(self) -> None:
        """
        Close the file and open it by its name again: it was moved away. Lines gathered so far go to
        the old one. Standard output stays as it is.
        """
        self.flush()
        if not self._closed:
            self._writer.take(Lines(reopen=True))

    def drain(self, timeout_s: float = CLOSE_TIMEOUT_S) -> bool:
        """
        Have everything written and wait for it: for tests and tools, it blocks.

        Returns:
            False if *timeout_s* was too short.
        """
        self.flush()
        return self._writer.drain(timeout_s)

    def close(self) -> None:
        """Write what there is and let the file go; blocks ``CLOSE_TIMEOUT_S`` at most. Twice is harmless."""
        if self._closed:
            return
        self.flush()
        self._closed = True
        if not self._writer.close(CLOSE_TIMEOUT_S):
            _log.error(
                "the access log's last lines could not be written within {time} s", time=CLOSE_TIMEOUT_S
            )
        self._tell()
