"""
The client's end of one HTTP/1.1 connection: a thin Protocol around the codec.

It carries one request at a time. ``ConnectionOwner`` hears of the connection's life,
``ResponseTaker`` of one response. Content flows both ways under back-pressure: the request's
producer is paused while the socket takes no more, the socket while the response's taker does.

One timer per connection watches whatever is being waited for. It is not moved for each event:
the deadline is noted, and looked at when the timer fires.
"""

from __future__ import annotations

from math import inf
from typing import Any, Protocol

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IHandshakeListener,
    IPushProducer,
)
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import alsoProvides, implementer

from gateway.core import reasons
from gateway.http1.body_sender import BodySender
from gateway.http1.conduit import WORTH_BYTES, Conduit
from gateway.http1.eager import unsent
from gateway.http1.response import BadResponse, ResponseHead, ResponseReader

CLOSING_S = 5.0
"""How long a peer may take over closing its side before the connection is cut."""
_IDLE = "idle"
_CLOSING = "closing"


class ContentTaker(Protocol):
    """Who takes a response's content."""

    def response_content(self, data: bytes) -> None:
        """The next piece; not empty."""

    def response_ended(self) -> None:
        """All of it has been delivered."""

    def response_failed(self, kind: str, detail: str, cause: Failure | None) -> None:
        """
        It will not be completed; the connection is gone.

        Args:
            kind: A reason code. cause: The failure behind it, if there is one.
        """


class ResponseTaker(Protocol):
    """Who waits for a response."""

    def response_started(
        self, head: ResponseHead, content: bytes, connection: HTTP1Client | None
    ) -> ContentTaker:
        """
        The final response's head is there.

        Args:
            content: What of the content was read together with it; may be empty.
            connection: What pauses and resumes the rest; None if *content* is all, and then the
                taker returned is told nothing more.
        """

    def response_failed(self, kind: str, detail: str, cause: Failure | None) -> None:
        """There will be no response: as ``ContentTaker.response_failed``."""


class ConnectionOwner(Protocol):
    """Who decides on a connection between requests."""

    def connection_ready(self, connection: HTTP1Client) -> None:
        """It is established, TLS included."""

    def connection_free(self, connection: HTTP1Client) -> None:
        """A response is complete, and the connection can carry another request."""

    def connection_closed(self, connection: HTTP1Client, reason: Failure) -> None:
        """It is gone; nothing more comes from it."""


@implementer(IHandshakeListener)
class HTTP1Client(TwistedProtocol):
    """
    A connection to an upstream.

    Attributes:
        owner: Told of the connection's life; may be changed between requests.
        requests: How many requests it has carried.
        alive: Whether it can carry one: established, and neither closed nor closing.
    """

    transport: Any = None

    def __init__(self, clock: Any, owner: ConnectionOwner, *, tls: bool, reader: ResponseReader) -> None:
        """
        Args:
            clock: Provides ``IReactorTime``.
            tls: Whether a TLS handshake has to end before it is ready.
        """
        self.owner = owner
        self.requests = 0
        self.alive = False
        self._clock = clock
        self._now = clock.seconds
        self._tls = tls
        self._reader = reader
        self._taker: Any = None
        self._head_given = False
        self._sender: BodySender | None = None
        self._paused = False
        self._closing = False
        self._switched = False
        self._send_s = self._read_s = 0.0
        self._timer: Any = None
        self._timer_at = 0.0
        self._deadline = inf
        self._awaited = _IDLE
        self._unsent_before = 0
        self._conduit: Conduit | None = None

    # -- the connection

    def connectionMade(self) -> None:
        transport = self.transport
        if hasattr(transport, "setTcpNoDelay"):
            transport.setTcpNoDelay(True)
        if not self._tls:
            self.alive = True
            self.owner.connection_ready(self)

    def handshakeCompleted(self) -> None:
        if self._tls and not self._closing and not self.alive:
            self.alive = True
            self.owner.connection_ready(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.alive = False
        self._closing = True
        self._stop_conduit()
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        self._deadline = inf
        taker, self._taker = self._taker, None
        complete = self._reader.close(reason.check(ConnectionDone) is not None)
        self._stop_sending()
        self.owner.connection_closed(self, reason)
        if taker is not None:
            if complete and self._head_given:
                taker.response_ended()
            else:
                taker.response_failed(reasons.UPSTREAM_CLOSED, reason.getErrorMessage(), reason)

    def close(self) -> None:
        """Close in order, and cut the connection if the peer takes too long over it."""
        if not self._closing:
            self.alive = False
            self._closing = True
            self._wait(CLOSING_S, _CLOSING)
            if self._switched:
                # A source that is paused would keep it from closing.
                self.transport.unregisterProducer()
            self.transport.loseConnection()

    def abort(self) -> None:
        """Cut the connection. A response under way fails, later."""
        self.alive = False
        self._closing = True
        self._deadline = inf
        self._stop_sending()
        self.transport.abortConnection()

    def drop(self) -> None:
        """Cut the connection; whoever waits for a response no longer cares."""
        self._taker = None
        self.abort()

    # -- requests

    @property
    def response_begun(self) -> bool:
        """Whether any byte of the response has arrived."""
        return self._reader.started

    def send(
        self,
        taker: ResponseTaker,
        method: bytes,
        head: bytes,
        body: Any,
        send_s: float,
        read_s: float,
        *,
        switching: bool = False,
    ) -> None:
        """
        Send a request. The connection must be ``alive`` and free.

        Args:
            taker: Told of the response.
            head: The serialised head, with framing that fits *body*.
            body: The content: a provider of ``IBodyProducer``, or None.
            send_s: Longest time without progress while the socket is full.
            read_s: Longest time without a byte of the response once the request is sent.
            switching: Whether it asks for another protocol, so that 101 is an answer to it.
        """
        self.requests += 1
        self._taker = taker
        self._head_given = False
        self._send_s = send_s
        self._read_s = read_s
        self._unsent_before = 0
        self._reader.expect(method)
        if switching:
            self._reader.expect_switch()
        if body is None:
            self._wait(read_s, reasons.UPSTREAM_READ_TIMEOUT)
            self.transport.write(head)
        else:
            self._deadline = inf
            self._sender = BodySender(self, body, head)
            self._sender.start()

    def request_sent(self, sender: BodySender) -> None:
        """All of the request has left."""
        if self._sender is sender:
            self._sender = None
            if self._unsent_before:
                self._unsent_before = unsent(self.transport)
            if not self._paused and self._taker is not None:
                self._wait(self._read_s, reasons.UPSTREAM_READ_TIMEOUT)

    def request_failed(self, failure: Failure) -> None:
        """The content could not be produced."""
        self._fail(reasons.INTERNAL_ERROR, failure.getErrorMessage(), failure)

    def sending_stalled(self) -> None:
        """The socket takes no more for now."""
        self._unsent_before = unsent(self.transport)
        self._wait(self._send_s, reasons.UPSTREAM_SEND_TIMEOUT)

    def sending_resumed(self) -> None:
        """The socket has taken everything."""
        if self._awaited == reasons.UPSTREAM_SEND_TIMEOUT:
            self._deadline = inf

    def sending_failed(self) -> None:
        """
        The socket takes no more, ever; it is still open.

        Twisted gives a connection up at the first write that fails. An upstream that refuses a
        large upload answers and closes, so its answer may be there, unread.
        """
        read = getattr(self.transport, "doRead", None)
        if read is not None and not self._closing and not self._paused:
            read()

    def _stop_sending(self) -> None:
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.stop()
            sender.unregister()

    # -- responses

    def dataReceived(self, data: bytes) -> None:
        taker = self._taker
        if taker is None:
            # Nothing was asked, so whatever this is, it is not the answer to the next request.
            if not self._closing:
                self.abort()
            return
        reader = self._reader
        try:
            content = reader.feed(data)
        except BadResponse as error:
            self._fail(reasons.UPSTREAM_BAD_RESPONSE, str(error), None)
            return
        if reader.complete:
            # Free first: the next request may be sent while this response is being delivered.
            head = reader.head
            if self._head_given:
                head = None
                self._stop_conduit()
            self._taker = None
            if self._paused or self._sender is not None or self._closing or not reader.reusable:
                self._free()
            else:
                self._deadline = inf
                self.owner.connection_free(self)
            if head is not None:
                taker.response_started(head, content, None)
                return
            if content:
                taker.response_content(content)
            taker.response_ended()
            return
        if self._sender is None and not self._paused:
            self._unsent_before = 0
            self._wait(self._read_s, reasons.UPSTREAM_READ_TIMEOUT)
        if not self._head_given:
            head = reader.head
            if head is None:
                return
            self._head_given = True
            taker = taker.response_started(head, content, self)
            if self._taker is not None:
                # Unless whoever heard of it has dropped it at once.
                self._taker = taker
                self._lay_conduit()
        elif content and not self._closing:
            taker.response_content(content)

    # -- content that goes to the client without a way through this process (gateway.http1.conduit.Inlet)

    def _lay_conduit(self) -> None:
        if self._conduit is None and self._reader.to_come >= WORTH_BYTES:
            self._conduit = Conduit.lay(self.transport, self)

    def _stop_conduit(self) -> None:
        conduit, self._conduit = self._conduit, None
        if conduit is not None:
            conduit.stop()

    def pours(self) -> tuple[Any, int] | None:
        """See ``Inlet``."""
        left = self._reader.to_come
        if not left or self._paused or self._closing:
            return None
        outlet = getattr(self._taker, "outlet", None)
        return None if outlet is None else (outlet, left)

    def poured(self, size: int) -> None:
        """See ``Inlet``."""
        taker, reader = self._taker, self._reader
        reader.passed(size)
        if taker is not None:
            taker.passed(size)
        if reader.complete:
            self._stop_conduit()
            # As if it had been read together with the end: nobody's answer.
            reader.surplus = self.transport.has_more()
            self._taker = None
            self._free()
            if taker is not None:
                taker.response_ended()
        elif self._sender is None and not self._paused:
            self._unsent_before = 0
            self._wait(self._read_s, reasons.UPSTREAM_READ_TIMEOUT)

    def _free(self) -> None:
        if self._paused:
            self._paused = False
            self.transport.resumeProducing()
        if self._sender is not None:
            # The answer came before the end of the question: nobody wants the rest.
            self.abort()
        elif self._closing:
            pass
        elif self._reader.reusable:
            self._deadline = inf
            self.owner.connection_free(self)
        else:
            self.close()

    def _fail(self, kind: str, detail: str, cause: Failure | None) -> None:
        taker, self._taker = self._taker, None
        self.abort()
        if taker is not None:
            taker.response_failed(kind, detail, cause)

    def idle(self, seconds: float) -> None:
        """Close unless there is a request within *seconds*."""
        # As _wait, which this is called more often than.
        self._awaited = _IDLE
        now = self._now
        deadline = self._deadline = now() + seconds
        if self._timer is None or self._timer_at > deadline:
            self._wait(seconds, _IDLE)

    # -- back-pressure of the response's taker

    def hold(self) -> None:
        """Nobody takes the content yet: stop reading; ``resume`` within the read timeout, or it fails."""
        self.pause()
        if self._sender is None:
            self._wait(self._read_s, reasons.UPSTREAM_READ_TIMEOUT)

    def pause(self) -> None:
        """Stop reading. No limit on the peer's time runs meanwhile."""
        if self._taker is not None and not self._closing:
            if not self._paused:
                self._paused = True
                self.transport.pauseProducing()
            if self._sender is None:
                self._deadline = inf

    def resume(self) -> None:
        """Read on."""
        if self._paused and not self._closing:
            self._paused = False
            if self._sender is None:
                self._wait(self._read_s, reasons.UPSTREAM_READ_TIMEOUT)
            if self._head_given:
                self._lay_conduit()
            self.transport.resumeProducing()

    # -- after a 101 answer (gateway.proxy.tunnel.TunnelFlow)

    def switch(self, idle_s: float, source: IPushProducer) -> None:
        """Bytes pass from here on. *source* is paused while the peer takes none; see ``TunnelFlow``."""
        self._read_s = idle_s
        # Now, and not before: a response that ends with the connection must be told from one that is cut.
        alsoProvides(self, IHalfCloseableProtocol)
        self._switched = True
        self.transport.registerProducer(source, True)
        self._wait(idle_s, reasons.UPSTREAM_READ_TIMEOUT)

    def send_bytes(self, data: bytes) -> None:
        """Send bytes of the protocol that was changed to."""
        if not self._closing:
            self.transport.write(data)
            if not self._paused:
                self._wait(self._read_s, reasons.UPSTREAM_READ_TIMEOUT)

    def end_sending(self) -> bool:
        """Send no more, and still read. Returns False if that cannot be: TLS has no such thing."""
        if self._tls or self._closing:
            return False
        self.transport.unregisterProducer()
        self.transport.loseWriteConnection()
        return True

    def readConnectionLost(self) -> None:
        """The peer sends no more, and still reads (``IHalfCloseableProtocol``)."""
        if self._taker is not None:
            self._taker.upstream_ended()

    def writeConnectionLost(self) -> None:
        """It has been told that we send no more (``IHalfCloseableProtocol``)."""

    # -- time

    def _wait(self, seconds: float, kind: str) -> None:
        """Note what is waited for, and until when."""
        self._awaited = kind
        now = self._now
        deadline = self._deadline = now() + seconds
        if self._timer is None:
            self._start_timer(seconds, deadline)
        elif self._timer_at > deadline:
            self._timer.cancel()
            self._start_timer(seconds, deadline)

    def _start_timer(self, seconds: float, deadline: float) -> None:
        self._timer_at = deadline
        self._timer = self._clock.callLater(max(0.0, seconds), self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer = None
        if self._deadline == inf:
            return
        left = self._deadline - self._now()
        if left > 0:
            self._start_timer(left, self._deadline)
            return
        kind = self._awaited
        if kind == _IDLE:
            self.close()
        elif kind == _CLOSING:
            self.transport.abortConnection()
        elif (left_to_send := unsent(self.transport)) < self._unsent_before:
            # Slow as it is, the peer does take bytes.
            self._unsent_before = left_to_send
            self._wait(self._send_s, kind)
        elif kind == reasons.UPSTREAM_SEND_TIMEOUT:
            self._fail(kind, f"the upstream took no bytes for {self._send_s:g} s", None)
        elif self._paused:
            self._fail(kind, f"nobody took the content for {self._read_s:g} s", None)
        else:
            self._fail(kind, f"the upstream sent no bytes for {self._read_s:g} s", None)
