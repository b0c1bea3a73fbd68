"""Content from one socket to another without a way through this process (``splice(2)``).

To read a large content and write it again copies it twice. Where nobody looks at it, the system can hand it
on by itself, through a pipe. What goes in is at once taken out again: one pipe serves all connections.
"""

from __future__ import annotations

import errno
import fcntl
import os
from typing import Any, Protocol

from twisted.internet import main

from gateway.http1.eager import LATER, EagerMixin

WORTH_BYTES = 128 << 10
"""For less that is to come it is not worth it."""
_AT_ONCE = 512 << 10
"""
What the pipe shall hold; the system may allow less. What the other side does not take of it waits in memory,
so slow readers would hold more of a larger one, which gains little.
"""
_F_SETPIPE_SZ = 1031
_CANNOT = (errno.EINVAL, errno.ENOSYS, errno.EPERM)


class Inlet(Protocol):
    """Who reads content from a transport."""

    def pours(self) -> tuple[Any, int] | None:
        """
        Where content may go that comes now, unseen, and how many bytes of it at most.

        Returns:
            The ``outlet`` of an ``Outlet``, and a number above 0; None if content has to be read.
        """

    def poured(self, size: int) -> None:
        """So many bytes went there; what it could not take yet waits in its buffer."""


class Outlet(Protocol):
    """Who writes content to a transport."""

    @property
    def outlet(self) -> Any:
        """The transport, if content may be sent on it as it is, past this object; else None."""

    def passed(self, size: int) -> None:
        """So many bytes were sent so."""


class _Pipe:
    """
    This process's pipe, made when it is needed first.

    Attributes:
        ends: The descriptors to read from and to write to. None: there is none yet, or there can be none.
    """

    def __init__(self) -> None:
        self.ends: tuple[int, int] | None = None
        self._tried = False

    def ready(self) -> bool:
        """Whether it is there."""
        if not self._tried:
            self._tried = True
            if hasattr(os, "splice"):
                try:
                    self.ends = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
                except OSError:
                    self._tried = False  # Too many files are open: another time.
                else:
                    try:
                        fcntl.fcntl(self.ends[1], _F_SETPIPE_SZ, _AT_ONCE)
                    except OSError:
                        pass  # It is smaller, then.
        return self.ends is not None

    def forget(self) -> None:
        """The system cannot do it with these sockets, or the pipe is in doubt."""
        ends, self.ends = self.ends, None
        if ends is not None:
            os.close(ends[0])
            os.close(ends[1])


_pipe = _Pipe()


class Conduit:
    """In place of what a transport does when there is something to read, until ``stop``."""

    __slots__ = ("_inlet", "_source")

    def __init__(self, source: Any, inlet: Inlet) -> None:
        self._source = source
        self._inlet = inlet
        source.doRead = self.read
        source.expect_little()

    @classmethod
    def lay(cls, source: Any, inlet: Inlet) -> Conduit | None:
        """
        Begin, if that can be: both ends are sockets of our own kind, without TLS.

        Args:
            source: The transport that *inlet* reads from.
        """
        if not isinstance(source, EagerMixin):
            return None
        found = inlet.pours()
        if found is None or not isinstance(found[0], EagerMixin) or not _pipe.ready():
            return None
        return cls(source, inlet)

    def stop(self) -> None:
        """What comes from now on is read as ever."""
        vars(self._source).pop("doRead", None)

    def read(self) -> Any:
        """As ``IReadDescriptor.doRead``."""
        source = self._source
        found = self._inlet.pours()
        ends = _pipe.ends
        if found is None or ends is None or not found[0].takes_at_once():
            return EagerMixin.doRead(source)
        target, limit = found
        flags = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK
        try:
            size = os.splice(source.fileno(), ends[1], min(limit, _AT_ONCE), flags=flags)
        except OSError as error:
            if error.errno in LATER:
                # Nothing is there; or urgent data (TCP's) is, which only reading gets past.
                return EagerMixin.doRead(source)
            self.stop()
            if error.errno not in _CANNOT:
                # It is broken. That is told once only: to read now would look like an end in order.
                return main.CONNECTION_LOST
            _pipe.forget()
            return EagerMixin.doRead(source)
        if not size:
            return EagerMixin.doRead(source)  # It has ended.
        left = size
        try:
            while left:
                left -= os.splice(ends[0], target.fileno(), left, flags=flags)
        except OSError:
            pass  # Full, or broken: its own way of writing tells which.
        if left:
            rest = os.read(ends[0], left)
            target.write(rest)
            if len(rest) != left:
                _pipe.forget()
                return main.CONNECTION_LOST  # It cannot be; but content with a gap would be worse.
        self._inlet.poured(size)
        return None
