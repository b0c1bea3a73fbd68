"""The streaming HTTP/1.1 side of twisted.web: requests are served from their head on.

What a request may look like is not twisted.web's to say, which is lenient: ``gateway.http1.request``
reads each head first, and takes content out of its chunks.

The names this module uses that twisted.web keeps to itself are ``HTTPChannel._command``, ``_path``,
``_version``, ``_savedTimeOut``, ``_transferDecoder``, ``_finishRequestBody``, ``_dataBuffer``,
``_waitingForTransport`` and ``_optimisticEagerReadSize``, and ``LineReceiver._buffer``;
``tests/proxy/test_site.py`` and ``tests/hostile/test_requests.py`` would tell if they changed.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.resource import IResource
from twisted.web.server import Request, Site

from gateway.http1.eager import unsent
from gateway.http1.request import (
    BROKEN,
    HEAD_TOO_LARGE,
    HEAD_TOO_SLOW,
    LINE_TOO_LONG,
    MAX_BLANK_LINES,
    TOO_MANY_BLANK_LINES,
    BadChunks,
    ChunkReader,
    Refused,
    is_broken,
    line_fault,
    parse_head,
)
from gateway.proxy.limits import ProxyLimits
from gateway.proxy.request_body import RequestBody
from gateway.proxy.run import Run

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_NO_LIMIT = 1 << 40
"""For limits of twisted.web's that are kept before it sees anything."""


class ProxyRequest(Request):
    """
    A request that is served as soon as its head is complete.

    ``twisted.web`` calls ``gotLength`` once the head is read and ``handleContentChunk`` for each
    piece of content; its own ``Request`` gathers those and starts when all is there.

    Attributes:
        streamed: The content; None if the request has none.
        run: The run that serves it, once the resource has started one.
    """

    defaultContentType = None
    site: Any
    channel: Any
    streamed: RequestBody | None = None
    run: Run | None = None
    _idle_timeout_s: float | None = None
    _finish_wanted = False
    _timer: IDelayedCall | None = None
    _reading_paused = False
    _started = False

    def gotLength(self, length: int | None) -> None:
        """The head is complete. *length* is None for a chunked request, 0 for one without content."""
        self.content = None
        self.site = self.channel.site
        if length == 0:
            if self.requestHeaders.hasHeader(b"content-length"):
                # An explicit "Content-Length: 0" goes on to the upstream as such.
                self.streamed = RequestBody(0, self, read_ahead=1)
                self.streamed.end()
            return
        channel = self.channel
        limits: ProxyLimits = self.site.limits
        self.method, self.uri, self.clientproto = channel._command, channel._path, channel._version
        # From here on the body timeout counts, not the idle timeout of the connection.
        self._idle_timeout_s = channel.setTimeout(None)
        expects = self.requestHeaders.getRawHeaders(b"expect", [])
        waits = any(value.lower() == b"100-continue" for value in expects) and self.clientproto == b"HTTP/1.1"
        if length is None:
            channel._transferDecoder = _Chunks(self, channel._finishRequestBody)
        # Or twisted.web would say "100 Continue" before anybody wants the content.
        self.requestHeaders.removeHeader(b"expect")
        self.streamed = RequestBody(
            length,
            self,
            read_ahead=limits.read_ahead_bytes,
            on_start=self._continue if waits else lambda: None,
        )
        self._watch_body()
        self._start()
        if length is not None and self.run is not None and self.run.over_limit(length):
            self.run.too_large()

    def handleContentChunk(self, data: bytes) -> None:
        """A piece of the content."""
        body = self.streamed
        assert body is not None
        limits: ProxyLimits = self.site.limits
        run = self.run
        # Before it goes on: what is too much never reaches an upstream.
        if run is not None and run.over_limit(body.received + len(data)):
            run.too_large()
        body.data(data)
        self._watch_body()
        if run is not None:
            run.exchange.bytes_received = body.received
        if self._finish_wanted and body.received > self._linger_from + limits.linger_bytes:
            self._give_up_reading()

    def bad_content(self) -> None:
        """The framing of the content is broken: nothing that follows can be trusted."""
        if self.run is not None:
            self.run.bad_content()
        self._give_up_reading()

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """The request is complete."""
        self._stop_watch()
        if self._idle_timeout_s is not None:
            # What the channel restores when the response is done.
            self.channel._savedTimeOut = self._idle_timeout_s
        self.method, self.uri, self.clientproto = command, path, version
        if not self._started:
            self._start()
            return
        if self.streamed is not None:
            self.streamed.end()
        if self._finish_wanted:
            self.finish()

    def _start(self) -> None:
        self._started = True
        self.path = self.uri.partition(b"?")[0]
        self.site.resource.render(self)

    def _continue(self) -> None:
        if self.channel is not None and not self.startedWriting:
            self.channel.transport.write(_CONTINUE)

    # -- the end of the answer may come before the end of the request

    _linger_from = 0

    def finish_when_read(self) -> None:
        """End the response; but first read what the client still sends, within limits."""
        body = self.streamed
        if body is None or body.complete:
            self.finish()
            return
        limits: ProxyLimits = self.site.limits
        self._finish_wanted = True
        self._linger_from = body.received
        # The response is complete for the client, though twisted.web does not know it yet.
        if not self.startedWriting:
            self.write(b"")
        if self.chunked and self.channel is not None:
            self.channel.transport.write(b"0\r\n\r\n")
            self.chunked = 0
        body.drop()
        self._stop_watch()
        self._timer = self.site.clock.callLater(limits.linger_s, self._give_up_reading)

    def _give_up_reading(self) -> None:
        self._stop_watch()
        if self.channel is not None:
            self.channel.loseConnection()

    # -- RequestBody's source

    def pause_reading(self) -> None:
        self._reading_paused = True
        self._stop_watch()
        if self.channel is not None:
            self.channel.transport.pauseProducing()

    def resume_reading(self) -> None:
        if self._reading_paused and self.channel is not None:
            self._reading_paused = False
            self.channel.transport.resumeProducing()
            self._watch_body()

    # -- the body timeout

    def _watch_body(self) -> None:
        timer = self._timer
        wait = self.site.limits.body_timeout_s
        if timer is not None and timer.active():
            timer.reset(wait)
        elif not self._finish_wanted:
            self._timer = self.site.clock.callLater(wait, self._body_timed_out)

    def _body_timed_out(self) -> None:
        if self.streamed is not None and self.streamed.waiting_for_upstream:
            self._watch_body()  # It is not the client that is slow.
        elif self.run is not None:
            self.run.slow_body()

    def _stop_watch(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def connectionLost(self, reason: Failure) -> None:
        self._stop_watch()
        super().connectionLost(reason)


class _Chunks:
    """In the place of twisted.web's decoder of chunked content, which takes more than RFC 9112 allows."""

    def __init__(self, request: ProxyRequest, finished: Any) -> None:
        limits: ProxyLimits = request.site.limits
        self._reader: ChunkReader | None = ChunkReader(limits.max_chunk_line_bytes, limits.max_header_bytes)
        self._request = request
        self._finished = finished

    def dataReceived(self, data: bytes) -> None:
        if self._reader is None:
            return
        try:
            content, rest = self._reader.feed(data)
        except BadChunks:
            self._reader = None
            self._request.bad_content()
            return
        if content:
            self._request.handleContentChunk(content)
        if self._reader.done:
            self._reader = None
            self._finished(rest)

    def noMoreData(self) -> None:
        """The connection is lost; the request hears of it itself."""


class ProxyChannel(HTTPChannel):
    """HTTP/1.1 for one client connection."""

    site: ProxySite
    transport: Any
    maxHeaders = totalHeadersSize = _NO_LIMIT
    _head_complete = False
    _head_timer: IDelayedCall | None = None
    _send_timer: IDelayedCall | None = None
    _unsent = 0
    _blank_lines = 0
    _linger_left: int | None = None

    def connectionMade(self) -> None:
        limits = self.site.limits
        self.MAX_LENGTH = limits.max_header_bytes
        self._optimisticEagerReadSize = limits.max_pipelined_bytes
        self._lines: list[bytes] = []
        self._held: list[bytes] = []
        self.site.channels.add(self)
        super().connectionMade()

    @property
    def refused(self) -> bool:
        """Whether what came was no request; nothing more is served."""
        return self._linger_left is not None

    def dataReceived(self, data: bytes) -> None:
        if self._linger_left is not None:
            self._ignore(data)
            return
        if self._held:
            self._held.append(data)
            return
        super().dataReceived(data)
        if self._head_complete or self.refused or self.transport.disconnecting:
            return
        if self.line_mode and is_broken(self._buffer, 0):
            self._refuse(BROKEN)
        elif not self._lines and len(self._buffer) > self.site.limits.max_request_line_bytes + 1:
            self._refuse(LINE_TOO_LONG)
        # Most heads arrive in one piece: a timer is only needed for those that did not.
        elif self._head_timer is None:
            wait = self.site.limits.header_timeout_s
            self._head_timer = self.site.clock.callLater(wait, self._head_timed_out)

    def lineReceived(self, line: bytes) -> None:
        """One line of the head. Once it is whole and one that may be served, twisted.web gets it."""
        lines = self._lines
        limits = self.site.limits
        if not lines and not line:
            self._blank_lines += 1
            if self._blank_lines > MAX_BLANK_LINES:
                self._refuse(TOO_MANY_BLANK_LINES)
            return
        if not lines and (fault := line_fault(line, limits.max_request_line_bytes)) is not None:
            self._refuse(fault)
            return
        if is_broken(line, 0):
            self._refuse(BROKEN)
            return
        lines.append(line)
        if sum(map(len, lines)) + 2 * len(lines) > limits.max_header_bytes:
            self._refuse(HEAD_TOO_LARGE)
            return
        if line:
            return
        self._lines = []
        self._blank_lines = 0
        head = parse_head(b"\r\n".join(lines), limits.max_headers, limits.max_request_line_bytes)
        if isinstance(head, Refused):
            self._refuse(head)
            return
        for each in lines:
            super().lineReceived(each)

    def allHeadersReceived(self) -> None:
        self._head_complete = True
        self._stop_head_timer()
        super().allHeadersReceived()

    def checkPersistence(self, request: Request, version: bytes) -> bool:
        """Whether the connection may be used again: any ``close`` ends it (RFC 9112 section 9.3)."""
        lines = request.requestHeaders.getRawHeaders(b"connection", [])
        options = {option.strip().lower() for line in lines for option in line.split(b",")}
        if b"close" not in options and (version == b"HTTP/1.1" or b"keep-alive" in options):
            if version == b"HTTP/1.0":
                request.responseHeaders.setRawHeaders(b"connection", [b"keep-alive"])
            return True
        request.responseHeaders.setRawHeaders(b"connection", [b"close"])
        return False

    def lineLengthExceeded(self, line: bytes) -> None:
        """A line is longer than ``max_header_bytes``: say so before the connection ends."""
        self._refuse(HEAD_TOO_LARGE if self._lines else LINE_TOO_LONG)

    def requestDone(self, request: Request) -> None:
        self._head_complete = False
        # What was pipelined is read on the reactor's next turn: others are to have theirs.
        pipelined, self._dataBuffer, self._buffer = [self._buffer, *self._dataBuffer], [], b""
        super().requestDone(request)
        if self.persistent and any(pipelined):
            self._held = pipelined
            self.transport.pauseProducing()
            self.site.clock.callLater(0, self._read_held)

    def _read_held(self) -> None:
        held, self._held = self._held, []
        if held and not self.transport.disconnecting:
            if not self._waitingForTransport:
                self.transport.resumeProducing()
            self.dataReceived(b"".join(held))

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # Protocol has a default
        self._stop_head_timer()
        self._stop_send_timer()
        self._held = []
        self.site.channels.discard(self)
        super().connectionLost(reason)

    # -- a client that reads slowly

    def pauseProducing(self) -> None:
        """The transport's buffer is full; told again for each write that comes all the same."""
        super().pauseProducing()
        self._unsent = unsent(self.transport)
        if self._send_timer is None:
            self._wait_for_reader()

    def resumeProducing(self) -> None:
        self._stop_send_timer()
        super().resumeProducing()

    def _wait_for_reader(self) -> None:
        self._send_timer = self.site.clock.callLater(self.site.limits.send_timeout_s, self._waited)

    def _waited(self) -> None:
        before, self._unsent = self._unsent, unsent(self.transport)
        if self._unsent < before:
            self._wait_for_reader()  # Slow as it is, it does take bytes.
        else:
            self._send_timer = None
            self.transport.abortConnection()

    def _stop_send_timer(self) -> None:
        timer, self._send_timer = self._send_timer, None
        if timer is not None and timer.active():
            timer.cancel()

    # -- refusing

    def _refuse(self, refused: Refused) -> None:
        """Answer bytes that are no request; what follows them is not looked at."""
        self._stop_head_timer()
        self._linger_left = self.site.limits.linger_bytes
        self.persistent = False
        self.setRawMode()
        request = ProxyRequest(self)
        request.site = self.site
        request.content = None
        request.method = request.uri = b"-"
        request.clientproto = b"HTTP/1.1"
        self.requests.append(request)
        self.site.resource.refuse(request, refused)

    def rawDataReceived(self, data: bytes) -> None:
        if self._linger_left is None:
            super().rawDataReceived(data)

    def loseConnection(self) -> None:
        """Close; but a client that was refused while it sends is first let read why, within limits."""
        half = not self.isSecure() and hasattr(self.transport, "loseWriteConnection")
        if self._linger_left is None or not half:
            super().loseConnection()
            return
        self.setTimeout(None)
        self.transport.unregisterProducer()
        self.transport.loseWriteConnection()
        self._head_timer = self.site.clock.callLater(self.site.limits.linger_s, self._lingered)

    def _lingered(self) -> None:
        self._head_timer = None
        self.transport.loseConnection()

    def _ignore(self, data: bytes) -> None:
        assert self._linger_left is not None
        self._linger_left -= len(data)
        if self._linger_left < 0:
            self.transport.abortConnection()

    def drain(self) -> None:
        """Close once the request in flight, if any, is answered."""
        if not self.requests:
            self.loseConnection()
        else:
            self.persistent = False

    def _head_timed_out(self) -> None:
        self._head_timer = None
        self._refuse(HEAD_TOO_SLOW)

    def _stop_head_timer(self) -> None:
        timer, self._head_timer = self._head_timer, None
        if timer is not None and timer.active():
            timer.cancel()


class ProxySite(Site):
    """
    A listener's factory: streams requests into a ``ProxyResource``.

    Attributes:
        channels: The client connections that are open.
        draining: Whether connections close after the answer in flight.
    """

    resource: Any
    noisy = False
    # Plain HTTP/1.1, without the wrapper that may turn into HTTP/2.
    protocol = ProxyChannel  # type: ignore[assignment]

    def __init__(self, resource: IResource, limits: ProxyLimits, reactor: Any) -> None:
        """
        Args:
            resource: A ``gateway.proxy.resource.ProxyResource``.
            reactor: Provides ``IReactorTime``.
        """
        self.limits = limits
        super().__init__(
            resource, requestFactory=ProxyRequest, reactor=reactor, timeout=self.limits.idle_timeout_s
        )
        self.displayTracebacks = False
        self.clock = reactor
        self.channels: set[ProxyChannel] = set()
        self.draining = False

    def buildProtocol(self, addr: Any) -> Any:
        """A channel, or None (the connection is closed) when ``max_connections`` are open."""
        if self.limits.max_connections and len(self.channels) >= self.limits.max_connections:
            return None
        return super().buildProtocol(addr)

    def acceptableProtocols(self) -> list[bytes]:
        """What is offered in TLS (ALPN): HTTP/1.1 alone, for that is what the channel speaks."""
        return [b"http/1.1"]

    def drain(self) -> None:
        """No more requests: idle connections close now, the others after their answer."""
        self.draining = True
        for channel in list(self.channels):
            channel.drain()

    def log(self, request: Any) -> None:
        """Nothing: the runner has its own log."""
