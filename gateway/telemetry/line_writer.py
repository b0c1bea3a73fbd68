"""A file of lines, written by a thread of its own: for the access log and for plugins.

Whoever hands lines over never waits for a disk or for a reader of a pipe, and never sees an error.
"""

from __future__ import annotations

import os
import select
import stat
import threading
from queue import Empty, SimpleQueue

from attrs import define

STANDARD_OUTPUT = "-"
_PERMISSIONS = 0o640


@define(eq=False)
class Lines:
    """Lines on their way to the file. Empty *data*: only the errand counts."""

    data: bytes = b""
    lines: int = 0
    reopen: bool = False
    stop: bool = False


class LineWriter:
    """
    The file, and the thread that writes to it.

    A file that was moved or removed by its name is noticed at the next batch and made anew, so
    rotation needs no signal.

    Attributes:
        waiting: Bytes handed over and not written yet. lost, written: Lines.
        error: What the last failure to write was; None if the last batch went well.
    """

    def __init__(self, path: str, *, name: str = "access-log", later: bool = False) -> None:
        """
        Args:
            path: The file, appended to; ``-`` is standard output.
            name: Of the thread. later: Whether the file is opened when there is something to write.
        Raises:
            OSError: the file cannot be opened now.
        """
        self._path = path
        self._name = name
        self._queue: SimpleQueue[Lines] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._idle = threading.Event()
        self._idle.set()
        self._jobs = 0
        self._torn = False
        self.waiting = self.lost = self.written = 0
        self.error: str | None = None
        self._fd: int | None = None if later else self._open()

    # -- the reactor's side

    def take(self, batch: Lines) -> None:
        """Queue *batch*; the thread starts with the first one, after the process went into the background."""
        with self._lock:
            self.waiting += len(batch.data)
            self._jobs += 1
            self._idle.clear()
        self._queue.put(batch)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()

    def drain(self, timeout_s: float) -> bool:
        """Wait until all is written, or *timeout_s* are over; says which."""
        return self._idle.wait(timeout_s)

    def close(self, timeout_s: float) -> bool:
        """Stop after what is queued; False if that did not end in time (the thread is left to it then)."""
        self.take(Lines(stop=True))
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
                self._write_batch(Lines(data, sum([batch.lines for batch in batches])))
            if last.reopen or last.stop:
                self._close_file()
            with self._lock:
                self.waiting -= len(data)
                self._jobs -= len(batches)
                if not self._jobs:
                    self._idle.set()

    def _next_batches(self) -> list[Lines]:
        """Wait for a batch, and take all that came with it, up to the first errand."""
        # In a busy process this thread gets its turn only now and then. Its turns must not be few and small.
        batches = [self._queue.get()]
        while not (batches[-1].reopen or batches[-1].stop):
            try:
                batches.append(self._queue.get_nowait())
            except Empty:
                break
        return batches

    def _write_batch(self, batch: Lines) -> None:
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
