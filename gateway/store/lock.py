"""One writer a file: a lock that the system lets go of when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
import socket
import time

from gateway.errors import StoreUnavailable

_MAX_NOTE_BYTES = 256


class FileLock:
    """
    A lock on a file of its own, held until ``release`` or the end of the process.

    The file stays: removing it would let two processes each lock a different one.
    """

    def __init__(self, path: str) -> None:
        """
        Args:
            path: The lock file, made (mode 0600) when missing. It tells people who holds it.
        """
        self.path = path
        self._fd: int | None = None

    def acquire(self) -> None:
        """
        Take the lock at once or not at all.

        Raises:
            StoreUnavailable: somebody else holds it (the text says who), or files cannot be
                locked here.
        """
        if self._fd is not None:
            return
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreUnavailable(
                f"{self.path} cannot be opened: {error.strerror}; check who owns the directory and its mode"
            ) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, _MAX_NOTE_BYTES, 0).decode("utf-8", "replace").strip() or "another process"
            os.close(fd)
            raise StoreUnavailable(
                f"another gateway uses this store ({holder}, lock file {self.path}); "
                "stop it or give this one a store of its own"
            ) from None
        except OSError as error:
            os.close(fd)
            raise StoreUnavailable(
                f"{self.path} cannot be locked: {error.strerror}; keep the store on a local disk"
            ) from error
        self._fd = fd
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        try:
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"process {os.getpid()} on {socket.gethostname()} since {since}\n".encode(), 0)
        except OSError:
            pass  # the lock holds without its note, which a full disk may refuse

    def release(self) -> None:
        """Let go. Releasing twice is harmless."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
