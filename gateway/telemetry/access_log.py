"""The access log: one line a request, gathered and written in batches by a thread of its own.

The data path makes the line and appends it to a buffer; it never waits for a disk or for whoever
reads a pipe, and never sees an error. When writing cannot keep up, lines are dropped and counted.
"""

from __future__ import annotations

import os
import select
import stat
import threading
from queue import Empty, SimpleQueue
from typing import Any

from attrs import define
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from gateway.core.exchange import Exchange
from gateway.telemetry.log_format import compile_format, unknown_variables

STANDARD_OUTPUT = "-"
WAITING_BYTES = 4 * 1024 * 1024
"""How much may wait for the disk, at least; lines beyond are dropped."""
CLOSE_TIMEOUT_S = 5.0
"""How long ``close`` waits for the disk."""
BREATH_S = 0.05
"""
Batches follow each other no faster than this. Each costs the serving thread a handover to the one that
writes, which at thousands of requests a second would be a tenth of all work.
"""
_PERMISSIONS = 0o640

_log = Logger()


@define(eq=False)
class _Batch:
    """Lines on their way to the file. Empty *data*: only the errand counts."""

    data: bytes = b""
    lines: int = 0
    reopen: bool = False
    stop: bool = False


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
            waiting_bytes: How much may wait, gathered or on its way; at least twice *buffer_bytes*
                is taken.
        Raises:
            OSError: the file cannot be opened.
            ValueError: there is no such *escape*.
        """
        self._line = compile_format(format, escape=escape)
        self._flush_s = flush_s
        self._buffer_bytes = buffer_bytes
        self._clock = clock
        self._limit = max(waiting_bytes, 2 * buffer_bytes)
        self._lines: list[str] = []
        self._size = 0
        self._timer: IDelayedCall | None = None
        self._timer_at = 0.0
        self._flushed_s = -BREATH_S
        self._closed = False
        self._refused = 0
        self._told = 0
        self._broken = False
        self._writer = _Writer(path)
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
        try:
            now = self._clock.seconds()
            line = self._line(exchange, now)
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
        if self._size >= self._buffer_bytes or not self._flush_s:
            self._full(now)
        elif self._timer is None:
            self._start_timer(now + self._flush_s, now)

    def _full(self, now: float) -> None:
        """Write now, unless the last batch is but a moment old: then at the end of that moment."""
        due = self._flushed_s + BREATH_S
        if not self._flush_s or not self._buffer_bytes or not 0.0 <= now - self._flushed_s < BREATH_S:
            self.flush()
        elif self._timer is None or self._timer_at > due:
            if self._timer is not None:
                self._timer.cancel()
            self._start_timer(due, now)

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
            self._flushed_s = self._clock.seconds()
            self._writer.take(_Batch(data, count))
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
            self._writer.take(_Batch(reopen=True))

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


class _Writer:
    """
    The file, and the thread that writes to it.

    A file that was moved or removed by its name is noticed at the next batch and made anew, so
    rotation needs no signal.

    Attributes:
        waiting: Bytes handed over and not written yet. lost, written: Lines.
        error: What the last failure to write was; None if the last batch went well.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._queue: SimpleQueue[_Batch] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._idle = threading.Event()
        self._idle.set()
        self._jobs = 0
        self._torn = False
        self.waiting = self.lost = self.written = 0
        self.error: str | None = None
        self._fd: int | None = self._open()

    # -- the reactor's side

    def take(self, batch: _Batch) -> None:
        """Queue *batch*; the thread starts with the first one, after the process went into the background."""
        with self._lock:
            self.waiting += len(batch.data)
            self._jobs += 1
            self._idle.clear()
        self._queue.put(batch)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
            self._thread.start()

    def drain(self, timeout_s: float) -> bool:
        """Wait until all is written, or *timeout_s* are over; says which."""
        return self._idle.wait(timeout_s)

    def close(self, timeout_s: float) -> bool:
        """Stop after what is queued; False if that did not end in time (the thread is left to it then)."""
        self.take(_Batch(stop=True))
        assert self._thread is not None
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    # -- the thread's side

    def _run(self) -> None:
        last = None
        while last is None or not last.stop:
            batches = self._next_batches()
            last = batches[-1]
            data = b"".join([batch.data for batch in batches])
            if data:
                self._write_batch(_Batch(data, sum([batch.lines for batch in batches])))
            if last.reopen or last.stop:
                self._close_file()
            with self._lock:
                self.waiting -= len(data)
                self._jobs -= len(batches)
                if not self._jobs:
                    self._idle.set()

    def _next_batches(self) -> list[_Batch]:
        """Wait for a batch, and take all that came with it, up to the first errand."""
        # In a busy process this thread gets its turn only now and then. Its turns must not be few and small.
        batches = [self._queue.get()]
        while not (batches[-1].reopen or batches[-1].stop):
            try:
                batches.append(self._queue.get_nowait())
            except Empty:
                break
        return batches

    def _write_batch(self, batch: _Batch) -> None:
        rest = memoryview(batch.data)
        try:
            self._check_name()
            if self._fd is None:
                self._fd = self._open()
            if self._torn:
                # The last batch ended in the middle of a line.
                os.write(self._fd, b"\n")
                self._torn = False
            while rest:
                try:
                    rest = rest[os.write(self._fd, rest) :]
                except BlockingIOError:
                    # Standard output may have been made so by whoever else has it.
                    select.select((), (self._fd,), ())
        except OSError as error:
            done = len(batch.data) - len(rest)
            whole = batch.data.count(b"\n", 0, done)
            self._torn = self._torn or (done > 0 and batch.data[done - 1 : done] != b"\n")
            self.written += whole
            self.lost += batch.lines - whole
            self.error = f"{self._path}: {error.strerror or error}"
            self._close_file()
        else:
            self.written += batch.lines
            self.error = None

    def _open(self) -> int:
        if self._path == STANDARD_OUTPUT:
            return 1
        # Without O_NONBLOCK this would wait for a reader where the path is a pipe.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY
        try:
            fd = os.open(self._path, flags | os.O_EXCL, _PERMISSIONS)
        except FileExistsError:
            fd = os.open(self._path, flags, _PERMISSIONS)
        else:
            # A daemon's umask leaves nothing to the group, which log shippers read by.
            os.fchmod(fd, _PERMISSIONS)
        os.set_blocking(fd, True)
        return fd

    def _check_name(self) -> None:
        if self._fd is None or self._path == STANDARD_OUTPUT:
            return
        have = os.fstat(self._fd)
        if not stat.S_ISREG(have.st_mode):
            return
        try:
            named = os.stat(self._path)
        except FileNotFoundError:
            pass
        except OSError:
            return  # Nobody can tell; the file that is open will do.
        else:
            if (named.st_dev, named.st_ino) == (have.st_dev, have.st_ino):
                return
        try:
            fd = self._open()
        except OSError:
            if have.st_nlink:
                return  # It has another name now. Better there than nowhere.
            self._close_file()
            raise
        self._close_file()
        self._fd = fd

    def _close_file(self) -> None:
        fd, self._fd = self._fd, None
        if fd is None or self._path == STANDARD_OUTPUT:
            self._fd = fd
            return
        try:
            os.close(fd)
        except OSError as error:
            # NFS and quotas may tell only now that what was written is lost.
            self.error = f"{self._path}: {error.strerror or error}"
