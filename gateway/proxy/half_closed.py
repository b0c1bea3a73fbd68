"""A client that sends no more and may still read: what it has asked for is answered.

Without TLS the end of what a client sends looks the same whether it is still there or has left, so it gets
``half_closed_s``: an answer that has not begun by then is given up. Within TLS it says so itself
(close_notify), and is gone only when its connection is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

if TYPE_CHECKING:
    from gateway.proxy.lean_stream import LeanStream

_DONE = Failure(ConnectionDone())


@implementer(IHalfCloseableProtocol)
class HalfClosed:
    """Over ``gateway.proxy.lean_connection.LeanConnection``."""

    factory: Any
    transport: Any
    _ended = False
    _stream: LeanStream | None
    _buffer: bytes
    _at: int
    _due: bool
    _closing: bool
    _writing_paused: bool

    def client_ended(self) -> bool:
        """
        The client sends no more.

        Returns:
            Whether anything is left to be done for it; else its connection is of no use any more.
        Source:
            RFC 9112 section 9.6; RFC 8446 section 6.1.
        """
        if self._ended:
            return True
        stream = self._stream
        if stream is not None and stream.tunnel is not None:
            stream.tunnel.client_ended()
            return True
        if self._closing or (stream is not None and not stream.received):
            return False
        waiting = self._at < len(self._buffer) and (self._due or self._writing_paused)
        if stream is None and not waiting:
            return False
        self._ended = True
        self.serve_rest()
        return True

    def serve_rest(self) -> None:
        """Go on with what was asked before the end."""
        stream = self._stream
        if stream is None:
            if not (self._due or self._writing_paused or self._closing):
                self.close()
            return
        if self._at >= len(self._buffer):
            stream.last()
        if not self.factory.tls and not stream.begun:
            self.set_deadline(self.factory.limits.half_closed_s, self._nobody_waits)

    def _nobody_waits(self) -> None:
        if self._stream is not None and not self._stream.begun:
            self.abort()

    # -- IHalfCloseableProtocol, for connections without TLS

    def readConnectionLost(self) -> None:
        """The client sends no more, and may still read."""
        if not self.client_ended():
            self.transport.connectionLost(_DONE)

    def writeConnectionLost(self) -> None:
        """It has been told that we send no more."""

    # -- what LeanConnection does

    if TYPE_CHECKING:

        def close(self) -> None: ...

        def abort(self) -> None: ...

        def set_deadline(self, wait_s: float, then: Any) -> None: ...
