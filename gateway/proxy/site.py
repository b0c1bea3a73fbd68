"""The streaming HTTP/1.1 side of twisted.web: requests are served from their head on.

The names this module reads that twisted.web keeps to itself are ``HTTPChannel._command``,
``_path``, ``_version`` and ``_savedTimeOut``; ``tests/proxy/test_site.py`` pins what they do.
"""

from __future__ import annotations

import re
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.resource import IResource
from twisted.web.server import Request, Site

from gateway.proxy.limits import ProxyLimits
from gateway.proxy.request_body import RequestBody
from gateway.proxy.runner import Run

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_LAST = b"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_TIMEOUT = b"HTTP/1.1 408 Request Timeout" + _LAST
_TOO_LONG = b"HTTP/1.1 414 URI Too Long" + _LAST
_FIELD_TOO_LONG = b"HTTP/1.1 400 Bad Request" + _LAST
_NOT_ASCII = re.compile(rb"[\x80-\xff]")


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
        if self.run is not None:
            self.run.slow_body()

    def _stop_watch(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def connectionLost(self, reason: Failure) -> None:
        self._stop_watch()
        super().connectionLost(reason)


class ProxyChannel(HTTPChannel):
    """HTTP/1.1 for one client connection."""

    site: ProxySite
    transport: Any
    _head_complete = False
    _head_timer: IDelayedCall | None = None

    def connectionMade(self) -> None:
        limits = self.site.limits
        self.totalHeadersSize = self.MAX_LENGTH = limits.max_header_bytes
        self.maxHeaders = limits.max_headers
        self.site.channels.add(self)
        super().connectionMade()

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        # Most heads arrive in one piece: a timer is only needed for those that did not.
        if not self._head_complete and self._head_timer is None and not self.transport.disconnecting:
            wait = self.site.limits.header_timeout_s
            self._head_timer = self.site.clock.callLater(wait, self._head_timed_out)

    def lineReceived(self, line: bytes) -> None:
        """One line of the head. Some clients send targets that are not ASCII; twisted.web refuses those."""
        if not line.isascii() and not hasattr(self, "_path"):
            line = _NOT_ASCII.sub(lambda found: b"%%%02X" % found[0][0], line)
        super().lineReceived(line)

    def allHeadersReceived(self) -> None:
        self._head_complete = True
        self._stop_head_timer()
        super().allHeadersReceived()

    def checkPersistence(self, request: Request, version: bytes) -> bool:
        """Whether the connection may be used again: any ``close`` ends it (RFC 9112 section 9.3)."""
        lines = request.requestHeaders.getRawHeaders(b"connection", [])
        options = {option.strip().lower() for line in lines for option in line.split(b",")}
        if version == b"HTTP/1.1" and b"close" not in options:
            return True
        request.responseHeaders.setRawHeaders(b"connection", [b"close"])
        return False

    def lineLengthExceeded(self, line: bytes) -> None:
        """A line is longer than ``max_header_bytes``: say so before the connection ends."""
        self.transport.write(_TOO_LONG if not self.requests else _FIELD_TOO_LONG)
        self.loseConnection()

    def requestDone(self, request: Request) -> None:
        self._head_complete = False
        super().requestDone(request)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # Protocol has a default
        self._stop_head_timer()
        self.site.channels.discard(self)
        super().connectionLost(reason)

    def drain(self) -> None:
        """Close once the request in flight, if any, is answered."""
        if not self.requests:
            self.loseConnection()
        else:
            self.persistent = False

    def _head_timed_out(self) -> None:
        self._head_timer = None
        self.transport.write(_TIMEOUT)
        self.loseConnection()

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
