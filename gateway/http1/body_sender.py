"""A request's content on its way to the upstream: from its producer to the socket, under back-pressure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IConsumer, IPushProducer
from twisted.python.failure import Failure
from twisted.web.iweb import UNKNOWN_LENGTH
from zope.interface import implementer

if TYPE_CHECKING:
    from gateway.http1.client import HTTP1Client

_GATHER_BYTES = 65536
_JOINED_BYTES = 16384
"""Content of so many bytes is copied to be one piece with what comes before it."""


class BodyLengthError(Exception):
    """A request's producer wrote more or less than its ``length`` said."""


@implementer(IConsumer, IPushProducer)
class BodySender:
    """A request's content on its way from its producer to the socket."""

    __slots__ = (
        "_body",
        "_chunked",
        "_connection",
        "_gathered",
        "_left",
        "_registered",
        "_size",
        "_waiting",
        "over",
        "paused",
    )

    def __init__(self, connection: HTTP1Client, body: Any, head: bytes) -> None:
        length = body.length
        self._connection = connection
        self._body = body
        self._chunked = length is UNKNOWN_LENGTH
        self._left = 0 if self._chunked else length
        # What is written while the producer starts goes out in one piece with the head.
        self._gathered: list[bytes] | None = [head]
        self._size = 0
        self._registered = False
        self._waiting = False
        self.paused = False
        self.over = False

    def start(self) -> None:
        try:
            finished = self._body.startProducing(self)
        except Exception:
            self._failed(Failure())
            return
        finished.addCallbacks(self._finished, self._failed)
        if getattr(self._body, "imminent", False) and not self.over:
            # The head leaves with what comes now, or when it turns out that this is not for sending.
            self._waiting = True
        else:
            self.flush()

    def flush(self) -> None:
        """Send what was gathered: nothing more comes at once."""
        gathered, self._gathered = self._gathered, None
        if gathered is None:
            return
        self._waiting = False
        transport = self._connection.transport
        if not self.over:
            self._registered = True
            transport.registerProducer(self, True)
        if self._size <= _JOINED_BYTES:
            transport.write(b"".join(gathered))
        else:
            transport.writeSequence(gathered)

    def unregister(self) -> None:
        """The socket need not tell any more."""
        if self._registered:
            self._registered = False
            self._connection.transport.unregisterProducer()

    # -- IConsumer, for the producer of the content

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Producers of content are asked to pause and resume as they are."""

    def unregisterProducer(self) -> None:
        """The Deferred of ``startProducing`` tells the end."""

    def write(self, data: bytes) -> None:
        if self.over or not data:
            return
        if self._chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        else:
            self._left -= len(data)
            if self._left < 0:
                self._stop_producer()
                self._failed(Failure(BodyLengthError("the producer wrote more than its length")))
                return
        if self._gathered is None:
            self._connection.transport.write(data)
        else:
            self._gathered.append(data)
            self._size += len(data)
            if self._size > _GATHER_BYTES:
                self.flush()

    @property
    def outlet(self) -> Any:
        """See ``gateway.http1.conduit.Outlet``."""
        if self._chunked or self._gathered is not None or self.over:
            return None
        return self._connection.transport

    def passed(self, size: int) -> None:
        """See ``gateway.http1.conduit.Outlet``. Not more than there are to come."""
        self._left -= size

    def _finished(self, _: object) -> None:
        if self.over:
            return
        if self._left:
            self._failed(Failure(BodyLengthError("the producer wrote less than its length")))
            return
        self.over = True
        connection = self._connection
        if self._chunked:
            if self._gathered is None:
                connection.transport.write(b"0\r\n\r\n")
            else:
                self._gathered.append(b"0\r\n\r\n")
        if self._waiting:
            self.flush()
        if not self.paused:
            self.unregister()
            connection.request_sent(self)

    def _failed(self, failure: Failure) -> None:
        if not self.over:
            self.over = True
            self._gathered = None
            self._connection.request_failed(failure)

    # -- IPushProducer, for the socket

    def pauseProducing(self) -> None:
        self.paused = True
        self._connection.sending_stalled()
        if not self.over:
            self._body.pauseProducing()

    def resumeProducing(self) -> None:
        self.paused = False
        connection = self._connection
        connection.sending_resumed()
        if self.over:
            self.unregister()
            connection.request_sent(self)
        else:
            self._body.resumeProducing()

    def stopProducing(self) -> None:
        self._connection.sending_failed()
        self.stop()

    def stop(self) -> None:
        """Nobody will take more of it."""
        if not self.over:
            self.over = True
            self._gathered = None
            self._stop_producer()

    def _stop_producer(self) -> None:
        self._body.stopProducing()
