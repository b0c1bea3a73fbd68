"""A client connection of the lean HTTP/1.1 server: a thin Protocol between a socket and the runner.

There is nothing per request that could be done per connection or per configuration: no call to the
reactor, no Deferred, one write for head and first content. Timeouts are kept as deadlines, which
``gateway.proxy.lean`` compares.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from gateway.core.exchange import Connection, Reply, RequestHead
from gateway.core.fields import Pair
from gateway.core.recurring import MAX_BYTES, HeadMemory
from gateway.http1.eager import unsent
from gateway.http1.request import (
    HEAD_END,
    HEAD_TOO_LARGE,
    HEAD_TOO_SLOW,
    MAX_BLANK_LINES,
    NO_REQUEST,
    TOO_MANY_BLANK_LINES,
    Framing,
    Refused,
    line_fault,
    parse_head,
    unfinished_fault,
)
from gateway.proxy.admission import Admitted, admit_read
from gateway.proxy.half_closed import HalfClosed
from gateway.proxy.lean_stream import LeanStream
from gateway.proxy.tunnel import Tunnel

if TYPE_CHECKING:
    from gateway.proxy.lean import LeanFactory

_TURN = 16
"""So many pipelined requests are started before others have their turn."""
_NOTHING: tuple[Pair, ...] = ()
_CR = 13


@implementer(IPushProducer)
class LeanConnection(HalfClosed, Protocol):
    """One client connection. Requests on it are served one after the other."""

    factory: LeanFactory
    transport: Any

    def __init__(self) -> None:
        # What has come and was not taken yet: of _buffer, what starts at _at. Of that, _seen bytes of
        # a head without its end were looked at.
        self._buffer = b""
        self._at = 0
        self._seen = 0
        self._blank_lines = 0
        self._stream: LeanStream | None = None
        self._client: Connection | None = None
        self._reading_paused = False
        self.deadline = inf
        self._on_deadline = self._idle_too_long
        self.fresh = True
        self._closing = False
        self._going_on = False
        self._due = False
        self._writing_paused = False
        self._unsent = 0
        self._linger_left: int | None = None

    # -- from the transport

    def connectionMade(self) -> None:
        transport = self.transport
        if hasattr(transport, "setTcpNoDelay"):
            transport.setTcpNoDelay(True)
        peer, host = transport.getPeer(), transport.getHost()
        self._client = Connection(
            getattr(peer, "host", "127.0.0.1"),
            getattr(peer, "port", 0),
            getattr(host, "host", "127.0.0.1"),
            getattr(host, "port", 0),
            self.factory.tls,
            getattr(transport, "tls_session", None),
        )
        # Slow readers of what we write pause whoever feeds us.
        transport.registerProducer(self, True)
        self.factory.connections.add(self)
        self._wait_for_request()

    def dataReceived(self, data: bytes) -> None:
        stream = self._stream
        if stream is None and not (self._buffer or self._closing or self._due or self._writing_paused):
            # Nothing waits; what comes may well be a head that came before, and nothing else.
            find = self.factory.heads.get
            known = find(data) if len(data) <= MAX_BYTES else None
            if known is not None:
                self._start(*known)
                return
            if (
                0 < data.find(HEAD_END) == len(data) - 4
                and data[0] != _CR
                and len(data) <= self.factory.limits.max_header_bytes
            ):
                # It is another, and nothing else.
                self._read(data)
                return
        if stream is not None:
            if stream.tunnel is not None:
                stream.tunnel.client_data(data)
                return
            if not stream.received:
                data = stream.content(data)
                if not data:
                    return
        elif self._closing:
            self._ignore(data)
            return
        self._hold(data)
        if self._stream is None and not self._due:
            self._go_on()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.deadline = inf
        self._closing = True
        self.factory.connections.discard(self)
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.client_gone()

    # -- IPushProducer: the transport's buffer is full, or has room again

    def pauseProducing(self) -> None:
        self._writing_paused = True
        self._wait_for_reader()
        if self._stream is not None:
            self._stream.pause()

    def resumeProducing(self) -> None:
        self._writing_paused = False
        if self._stream is not None:
            self._stream.resume()
        elif not self._closing:
            self._wait_for_request()
            if not self._due:
                self._go_on_later()

    def stopProducing(self) -> None:
        """The connection is lost; ``connectionLost`` follows."""

    # -- requests, one by one

    def _hold(self, data: bytes) -> None:
        """Keep what is not for the request in flight."""
        buffer = self._buffer
        if buffer:
            self._buffer = buffer[self._at :] + data
            self._at = 0
        else:
            self._buffer = data
        if (
            self._stream is not None
            and len(self._buffer) - self._at > self.factory.limits.max_pipelined_bytes
        ):
            self.pause_reading()

    def _go_on(self) -> None:
        """Serve what is in the buffer, until it is used up, a request is in flight, or others are due."""
        self._going_on = True
        self._due = False
        turns = _TURN
        while self._stream is None and self._at < len(self._buffer) and not self._closing:
            if self._writing_paused:
                self.pause_reading()  # Whoever does not read the answers gets no more of them.
                break
            if not turns:
                self.pause_reading()
                self._go_on_later()
                break
            turns -= 1
            if not self._advance():
                break
        else:
            if self._stream is None:
                self.resume_reading()
        self._going_on = False
        if self._ended:
            self.serve_rest()

    def _go_on_later(self) -> None:
        self._due = True
        self.factory.clock.callLater(0, self._go_on)

    def _advance(self) -> bool:
        """Start the next request, if its head is complete. Returns whether to go on behind it."""
        limits = self.factory.limits
        buffer, at = self._buffer, self._at
        while buffer.startswith(b"\r\n", at):
            at += 2
            self._blank_lines += 1
            if self._blank_lines > MAX_BLANK_LINES:
                self._refuse(TOO_MANY_BLANK_LINES)
                return False
        self._at = at
        end = buffer.find(HEAD_END, at + max(0, self._seen - 3))
        if end < 0:
            self._unfinished()
            return False
        self._seen = 0
        if end + 4 == len(buffer):
            self._buffer = b""
            self._at = 0
        else:
            self._at = end + 4
        if end + 4 - at > limits.max_header_bytes:
            line = buffer[at : buffer.find(b"\r\n", at)]
            self._refuse(line_fault(line, limits.max_request_line_bytes) or HEAD_TOO_LARGE)
            return False
        text = buffer[at : end + 4]
        known = self.factory.heads.get(text) if len(text) <= MAX_BYTES else None
        if known is None:
            return self._read(text)
        self._start(*known)
        return True

    def _read(self, text: bytes) -> bool:
        """Start the request of a head that is not known. Returns False if it was refused."""
        factory = self.factory
        limits = factory.limits
        head = parse_head(text[:-2], limits.max_headers, limits.max_request_line_bytes)
        if type(head) is Refused:
            self._refuse(head)
            return False
        request, hosts, framing = head  # type: ignore[misc]  # it is a Head
        admitted = admit_read(request, hosts)
        if type(admitted) is Admitted and factory.heads.recurs(text):
            admitted = admitted._replace(memory=HeadMemory())
            factory.heads.keep(text, (framing, request, admitted))
        self._start(framing, request, admitted)
        return True

    def _unfinished(self) -> None:
        """The head has not ended: keep what there is of it, unless that can never become one."""
        limits = self.factory.limits
        unfinished = self._buffer = self._buffer[self._at :]
        self._at = 0
        if not unfinished:
            self._seen = 0  # A blank line that came in pieces.
            return
        fault = unfinished_fault(
            unfinished, self._seen, limits.max_header_bytes, limits.max_request_line_bytes
        )
        if fault is not None:
            self._refuse(fault)
            return
        if not self._seen:
            self.set_deadline(limits.header_timeout_s, self._head_too_slow)
        self._seen = len(unfinished)
        self.resume_reading()

    def _start(self, framing: Framing, request: RequestHead, admitted: Admitted | Reply) -> None:
        self.fresh = False
        self.deadline = inf
        self._blank_lines = 0
        stream = self._stream = LeanStream(self, request, framing)
        body = stream.body
        if body is not None and self._buffer:
            body.imminent = True
        assert self._client is not None
        stream.serve(self.factory.runner.handle(admitted, request, self._client, stream))
        if self._stream is stream and not stream.received:
            self.resume_reading()
            if self._buffer:
                # Its own content first; what is left is the next request's.
                data, self._buffer, self._at = self._buffer[self._at :], b"", 0
                self._buffer = stream.content(data)
        if body is not None and body.imminent:
            stream.arrived()

    def _refuse(self, refused: Refused) -> None:
        """Answer bytes that are no request, and log them like one."""
        self.deadline = inf
        self._buffer = b""
        self._at = 0
        request = RequestHead(b"-", b"-", _NOTHING)
        stream = self._stream = LeanStream(self, request, NO_REQUEST)
        self._linger_left = self.factory.limits.linger_bytes
        reply = Reply(refused.status, None, ((b"connection", b"close"),), refused.reason, refused.why)
        assert self._client is not None
        stream.serve(self.factory.runner.handle(reply, request, self._client, stream))

    def request_done(self, keep: bool) -> None:
        """The request in flight is answered and read; for its stream."""
        self._stream = None
        factory = self.factory
        if not keep or factory.draining:
            self.close()
            return
        if self._writing_paused:
            self._wait_for_reader()
        else:
            now = factory.now
            self.deadline = now() + factory.limits.idle_timeout_s
            self._on_deadline = self._idle_too_long
        if self._going_on:
            return
        if self._at < len(self._buffer):
            # Pipelined. Not from here: whoever ends the request has not returned yet.
            self._go_on_later()
        elif self._reading_paused:
            self.resume_reading()

    # -- after a 101 answer

    def switch(self, tunnel: Tunnel) -> None:
        """What the client sends is no longer HTTP; for the stream."""
        self.deadline = inf
        data, self._buffer, self._at = self._buffer[self._at :], b"", 0
        self.resume_reading()
        if data:
            tunnel.client_data(data)

    def end_writing(self) -> bool:
        """Send no more, and still read. Returns False if that cannot be: TLS has no such thing."""
        if self.factory.tls or self._closing:
            return False
        self.transport.unregisterProducer()
        self.transport.loseWriteConnection()
        return True

    # -- reading, closing, waiting

    def pause_reading(self) -> None:
        if not self._reading_paused and not self._closing:
            self._reading_paused = True
            self.transport.pauseProducing()

    def resume_reading(self) -> None:
        if self._reading_paused and not self._closing:
            self._reading_paused = False
            if not self._ended:
                self.transport.resumeProducing()

    def close(self) -> None:
        """Close once everything written is sent; a client that does not take it is cut off."""
        # Under TLS there is no such thing as half a connection.
        half = not self.factory.tls and hasattr(self.transport, "loseWriteConnection")
        lingers = self._linger_left is not None and half
        if lingers:
            # To close while the client still sends would reset the connection, and the answer be lost.
            self.resume_reading()
            self.set_deadline(self.factory.limits.linger_s, self.transport.loseConnection)
        else:
            self._wait_for_reader()
        self._closing = True
        self.transport.unregisterProducer()
        if lingers:
            self.transport.loseWriteConnection()
        else:
            self.transport.loseConnection()

    def _ignore(self, data: bytes) -> None:
        """What a client goes on to send that was refused."""
        if self._linger_left is not None:
            self._linger_left -= len(data)
            if self._linger_left < 0:
                self.abort()

    def abort(self) -> None:
        """Cut the connection."""
        self._closing = True
        self.deadline = inf
        self.transport.abortConnection()

    def drain(self) -> None:
        """
        Close after the next answer, or when nobody waits any longer (``LeanFactory.drain_rest``).

        Who is idle may have sent a request that was not read yet, or be about to: it is served, and told
        that it was the last.
        """
        if self._stream is None and not self._closing:
            self.fresh = True

    def drain_rest(self) -> None:
        """Close now if no request is in flight."""
        self.fresh = False
        if self._stream is None and not self._closing:
            self.close()

    def set_deadline(self, wait_s: float, then: Any) -> None:
        """Call *then* unless another deadline is set, or none, within *wait_s*; for the stream."""
        now = self.factory.now
        self.deadline = now() + wait_s
        self._on_deadline = then

    def past_deadline(self) -> None:
        """The time is up; for the factory."""
        self.deadline = inf
        self._on_deadline()

    def _wait_for_request(self) -> None:
        if self._writing_paused:
            self._wait_for_reader()
        else:
            self.set_deadline(self.factory.limits.idle_timeout_s, self._idle_too_long)

    def _wait_for_reader(self) -> None:
        """Cut the client off if it takes no bytes for too long."""
        self._unsent = unsent(self.transport)
        self.set_deadline(self.factory.limits.send_timeout_s, self._reader_too_slow)

    def _reader_too_slow(self) -> None:
        if unsent(self.transport) < self._unsent:
            self._wait_for_reader()  # Slow as it is, it does take bytes.
        else:
            self.abort()

    def _idle_too_long(self) -> None:
        self.close()

    def _head_too_slow(self) -> None:
        self._refuse(HEAD_TOO_SLOW)
