"""One request and its answer on a connection of the lean server: framing in both directions."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IPushProducer

from gateway.core.exchange import RequestHead
from gateway.core.fields import Pair
from gateway.http1.body_sender import BodySender
from gateway.http1.conduit import WORTH_BYTES, Conduit
from gateway.http1.field_lines import OWN_OF_ANSWERS, write_lines
from gateway.http1.request import BadChunks, ChunkReader, Framing
from gateway.proxy.known_answer import KnownAnswer, status_line
from gateway.proxy.limits import ProxyLimits
from gateway.proxy.request_body import RequestBody
from gateway.proxy.run import Run
from gateway.proxy.tunnel import Tunnel

if TYPE_CHECKING:
    from gateway.proxy.lean_connection import LeanConnection

_JOINED_BYTES = 16384
"""Content up to this size is joined with the head; more is not copied for that."""
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class LeanStream:
    """One request and its answer on a connection: ``gateway.proxy.downstream.Downstream``."""

    __slots__ = (
        "_allowed",
        "_chunked",
        "_chunks",
        "_conduit",
        "_connection",
        "_finished",
        "_framed",
        "_gone",
        "_keep",
        "_left",
        "_limits",
        "_linger_from",
        "_out",
        "_paused",
        "_producer",
        "_request",
        "_run",
        "_sender",
        "body",
        "received",
        "tunnel",
    )

    def __init__(self, connection: LeanConnection, request: RequestHead, framing: Framing) -> None:
        self._run: Run | None = None
        self._out: list[bytes] | None = None
        self._chunked = False
        self._framed = True
        self._gone = False
        self._finished = False
        self._producer: IPushProducer | None = None
        self._paused = False
        self._chunks: ChunkReader | None = None
        self._linger_from = 0
        self._allowed = False
        self._conduit: Conduit | None = None
        self._sender: Any = None
        self.body: RequestBody | None = None
        self.tunnel: Tunnel | None = None
        self._connection = connection
        self._limits: ProxyLimits = connection.factory.limits
        self._request = request
        length, has_length, self._keep, expects = framing
        self._left = length
        self.received = length == 0
        if length != 0 or has_length:
            if length is None:
                self._chunks = ChunkReader(self._limits.max_chunk_line_bytes, self._limits.max_header_bytes)
            ask = self._continue if expects else _no_need
            self.body = RequestBody(
                length, connection, read_ahead=self._limits.read_ahead_bytes, on_start=ask
            )
            if self.received:
                self.body.end()

    def serve(self, run: Run) -> None:
        """The runner has taken it."""
        if self.received and self._finished:
            return  # Neither needs the other any more; they must not hold on to each other.
        self._run = run
        if self.received or self._finished or self._gone:
            return
        self._wait_for_content()
        if self._left is not None and run.over_limit(self._left):
            run.too_large()

    # -- content from the client

    def content(self, data: bytes) -> bytes:
        """Take content; returns what is behind its end."""
        body = self.body
        assert body is not None
        run = self._run
        rest = b""
        straight = body.straight
        if straight is not None and self._allowed and len(data) <= (left := self._left or 0):
            body.received += len(data)
            left -= len(data)
            self._left = left
            straight.write(data)
            ended = not left
        else:
            if self._chunks is not None:
                try:
                    data, rest = self._chunks.feed(data)
                except BadChunks:
                    self._keep = False
                    if run is not None:
                        run.bad_content()
                    self._give_up()
                    return b""
                ended = self._chunks.done
            else:
                assert self._left is not None
                data, rest = data[: self._left], data[self._left :]
                self._left -= len(data)
                ended = not self._left
            # Before it goes on: what is too much never reaches an upstream.
            if run is not None and run.over_limit(body.received + len(data)):
                run.too_large()
            if data:
                body.data(data)
            if body.straight is not None and run is not None and body.expected is not None:
                self._allowed = not run.over_limit(body.expected)
                if not body.imminent:
                    self._lay_conduit()
        self._took(body, ended)
        return rest

    def _took(self, body: RequestBody, ended: bool) -> None:
        """Go on after a piece of content."""
        run = self._run
        if run is not None:
            run.exchange.bytes_received = body.received
        if ended:
            self.received = True
            self._connection.deadline = inf
            self._stop_conduit()
            body.end()
            if self._finished:
                self._run = None
                self._connection.request_done(self._keep)
        elif self._finished:
            if body.received - self._linger_from > self._limits.linger_bytes:
                self._give_up()
        else:
            self._connection.set_deadline(self._limits.body_timeout_s, self._content_too_slow)

    def arrived(self) -> None:
        """What came together with the head was taken."""
        body = self.body
        assert body is not None
        body.arrived()
        self._lay_conduit()

    # -- content that goes to the upstream without a way through this process (gateway.http1.conduit.Inlet)

    def _lay_conduit(self) -> None:
        if self._conduit is None and self._allowed and (self._left or 0) >= WORTH_BYTES and not self._gone:
            self._conduit = Conduit.lay(self._connection.transport, self)

    def _stop_conduit(self) -> None:
        conduit, self._conduit = self._conduit, None
        if conduit is not None:
            conduit.stop()

    def pours(self) -> tuple[Any, int] | None:
        body = self.body
        sender = self._sender = None if body is None else body.straight
        transport = getattr(sender, "outlet", None)
        return (transport, self._left) if transport is not None and self._left else None

    def poured(self, size: int) -> None:
        body, sender = self.body, self._sender
        assert body is not None
        assert isinstance(sender, BodySender)
        sender.passed(size)
        body.received += size
        self._left = left = (self._left or 0) - size
        self._took(body, not left)

    def _continue(self) -> None:
        if self._out is None and not self._gone and not self._finished:
            self._connection.transport.write(_CONTINUE)

    def _wait_for_content(self) -> None:
        self._connection.set_deadline(self._limits.body_timeout_s, self._content_too_slow)

    def _content_too_slow(self) -> None:
        body, run = self.body, self._run
        if body is not None and body.waiting_for_upstream:
            self._wait_for_content()  # It is not the client that is slow.
        elif run is not None:
            run.slow_body()

    # -- Downstream

    def respond(
        self, status: int, fields: list[Pair], length: int | None, known: KnownAnswer | None = None
    ) -> None:
        if self._gone:
            return
        version = self._request.version
        draining = self._connection.factory.draining
        start = status_line(status)
        dated = False
        if known is not None:
            dated = known.dated
            start += known.lines
            fields = fields[known.count :]
        own = False
        for name, value in fields:
            if name in OWN_OF_ANSWERS:
                if name == b"date":
                    dated = True
                    continue
                own = True
                if name == b"connection" and value.lower() == b"close":
                    self._keep = False
        if own:
            fields = [pair for pair in fields if pair[0] not in OWN_OF_ANSWERS or pair[0] == b"date"]
        out = [start, write_lines(fields)]
        if not dated:
            out.append(self._connection.factory.date())
        if status == 101:
            self._keep = self._framed = False
            out.append(b"Connection: upgrade\r\n\r\n")
            self._out = out
            return
        if status == 204:
            pass
        elif length is not None:
            out.append(b"Content-Length: %d\r\n" % length)
        elif status != 304 and self._request.method != b"HEAD":
            if version == (1, 1):
                self._chunked = True
                out.append(b"Transfer-Encoding: chunked\r\n")
            else:
                self._framed = False
                self._keep = False
        if draining or not (self.received or self._can_keep_alive()):
            self._keep = False
        if not self._keep:
            out.append(b"Connection: close\r\n")
        elif version == (1, 0):
            out.append(b"Connection: keep-alive\r\n")
        out.append(b"\r\n")
        self._out = out

    def pass_on(self, known: KnownAnswer, added: bytes, content: bytes) -> bool:
        connection = self._connection
        if (
            not self._keep
            or not self.received
            or self._gone
            or self._request.version != (1, 1)
            or connection.factory.draining
        ):
            return False
        out: tuple[bytes, ...]
        if known.dated:
            out = (known.start, added, known.end, content)
        else:
            out = (known.start, added, connection.factory.date(), known.end, content)
        self._finished = True
        if len(content) > _JOINED_BYTES:
            connection.transport.writeSequence(out)
        else:
            connection.transport.write(b"".join(out))
        self._run = None
        connection.request_done(True)
        return True

    def _can_keep_alive(self) -> bool:
        body = self.body
        if body is None:
            return True
        # How much a chunked request still has to come nobody knows.
        return body.expected is not None and body.expected - body.received <= self._limits.linger_bytes

    def write(self, data: bytes) -> None:
        if self._gone:
            return
        if self._chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        out = self._out
        if out:
            self._out = []
            out.append(data)
            if len(data) > _JOINED_BYTES:
                self._connection.transport.writeSequence(out)
                return
            data = b"".join(out)
        self._connection.transport.write(data)

    def flush(self) -> None:
        if self._out and not self._gone:
            data = b"".join(self._out)
            self._out = []
            self._connection.transport.write(data)

    @property
    def outlet(self) -> Any:
        if self._out != [] or self._chunked or self._gone or self._finished:
            return None
        return self._connection.transport

    @property
    def begun(self) -> bool:
        """Whether it is being answered."""
        return self._out is not None

    def last(self) -> None:
        """No request follows on the connection."""
        self._keep = False

    def finish(self) -> None:
        if self._gone or self._finished:
            return
        self._finished = True
        out, self._out = self._out or [], []
        if self._chunked:
            out.append(b"0\r\n\r\n")
        if out:
            self._connection.transport.write(b"".join(out))
        if self.received:
            self._run = None
            self._connection.request_done(self._keep)
            return
        # The answer came before the end of the request: hear the client out, within limits.
        body = self.body
        assert body is not None
        self._linger_from = body.received
        body.drop()
        self._connection.set_deadline(self._limits.linger_s, self._give_up)

    def abort(self) -> None:
        if self._gone:
            return
        self._gone = True
        if self._out == [] and self._framed:
            # With a length or chunks the client sees that something is missing.
            self._connection.close()
        else:
            self._connection.abort()

    def register(self, producer: IPushProducer) -> None:
        self._producer = producer
        if self._paused:
            producer.pauseProducing()

    def unregister(self) -> None:
        self._producer = None
        if self._paused:
            self._connection.deadline = inf

    # -- after a 101 answer (gateway.proxy.tunnel.TunnelClient)

    def switch(self, tunnel: Tunnel) -> None:
        if self._gone:
            return
        self.flush()
        self.tunnel = tunnel
        self._connection.switch(tunnel)

    def pause_client(self) -> None:
        self._connection.pause_reading()

    def resume_client(self) -> None:
        self._connection.resume_reading()

    def end_writing(self) -> bool:
        return self._connection.end_writing()

    # -- from the connection

    def pause(self) -> None:
        """The client reads slowly."""
        self._paused = True
        if self._producer is not None:
            self._producer.pauseProducing()

    def resume(self) -> None:
        """It has caught up."""
        self._paused = False
        if self._finished:
            self._connection.set_deadline(self._limits.linger_s, self._give_up)
        elif not self.received:
            self._wait_for_content()
        else:
            self._connection.deadline = inf
        if self._producer is not None:
            self._producer.resumeProducing()

    def client_gone(self) -> None:
        """The connection is lost."""
        self._gone = True
        self._stop_conduit()
        if self._run is not None:
            self._run.client_gone()

    def _give_up(self) -> None:
        """Stop hearing the client out."""
        if not self._gone:
            self._gone = True
            self._connection.close()


def _no_need() -> None:
    pass
