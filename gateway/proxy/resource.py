"""The reverse-proxy resource: the runner behind twisted.web.

``ProxySite`` serves HTTP/1.1 with streaming in both directions. The resource alone can be put
into any other twisted.web site; there a request's content is complete before it is proxied.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, datetimeToString
from twisted.web.iweb import IBodyProducer
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Request, Site
from zope.interface import implementer

from gateway.core.exchange import Connection, RequestHead
from gateway.core.fields import Pair
from gateway.proxy.admission import admit
from gateway.proxy.limits import ProxyLimits
from gateway.proxy.request_body import RequestBody
from gateway.proxy.runner import Run, Runner

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_TIMEOUT = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


def _version(text: bytes) -> tuple[int, int]:
    major, _, minor = text.rpartition(b"/")[2].partition(b".")
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else (1, 0)


def _pairs(request: Request) -> list[Pair]:
    return [
        (name.lower(), value) for name, values in request.requestHeaders.getAllRawHeaders() for value in values
    ]


def _connection(request: Request) -> Connection:
    peer, host = request.getClientAddress(), request.getHost()
    known = (IPv4Address, IPv6Address)
    return Connection(
        client_ip=peer.host if isinstance(peer, known) else "127.0.0.1",
        client_port=peer.port if isinstance(peer, known) else 0,
        server_ip=host.host if isinstance(host, known) else "127.0.0.1",
        server_port=host.port if isinstance(host, known) else 0,
        tls=bool(request.isSecure()),
    )


@implementer(IResource)
class ProxyResource(Resource):
    """A leaf that hands every request to the runner."""

    isLeaf = True

    def __init__(self, runner: Runner) -> None:
        super().__init__()
        self.runner = runner

    def render(self, request: Request) -> int:
        """Start serving; the answer comes when it comes."""
        downstream = WebDownstream(request, self.runner.limits)
        pairs = _pairs(request)
        version = _version(request.clientproto)
        head = RequestHead(request.method, request.uri, tuple(pairs), version)
        admitted = admit(request.method, request.uri, pairs, version)
        downstream.run = self.runner.handle(admitted, head, _connection(request), downstream)
        request.notifyFinish().addErrback(downstream.gone)
        return NOT_DONE_YET


class WebDownstream:
    """``gateway.proxy.downstream.Downstream`` over a twisted.web request."""

    def __init__(self, request: Request, limits: ProxyLimits) -> None:
        self.body: IBodyProducer | None = None
        self.run: Run | None = None
        self._request = request
        self._limits = limits
        self._gone = False
        self._patience: _Patience | None = None
        if isinstance(request, ProxyRequest):
            self.body = request.streamed
            request.downstream = self
        elif request.content is not None:
            content = request.content.read()
            if content or request.requestHeaders.hasHeader(b"content-length"):
                whole = RequestBody(len(content), _NoSource(), read_ahead=len(content) + 1)
                whole.data(content)
                whole.end()
                self.body = whole

    @property
    def site(self) -> ProxySite | None:
        """The streaming site, if the request came through one."""
        return self._request.site if isinstance(self._request, ProxyRequest) else None

    def respond(self, status: int, fields: list[Pair], length: int | None) -> None:
        if self._gone:
            return
        request = self._request
        request.setResponseCode(status)
        headers = request.responseHeaders
        close = False
        for name, value in fields:
            if name == b"connection":
                close = close or value.lower() == b"close"
            else:
                headers.addRawHeader(name, value)
        if not headers.hasHeader(b"date"):
            headers.addRawHeader(b"date", datetimeToString())
        if length is not None and status != 204:
            headers.setRawHeaders(b"content-length", [b"%d" % length])
        draining = self.site is not None and self.site.draining
        if close or draining or not self._can_keep_alive():
            _close_after(request)

    def _can_keep_alive(self) -> bool:
        body = self.body
        if not isinstance(body, RequestBody) or body.complete:
            return True
        left = body.length - body.received if isinstance(body.length, int) else self._limits.linger_bytes + 1
        return left <= self._limits.linger_bytes

    def write(self, data: bytes) -> None:
        if not self._gone:
            self._request.write(data)

    def finish(self) -> None:
        if self._gone:
            return
        if isinstance(self._request, ProxyRequest):
            self._request.finish_when_read()
        else:
            self._request.finish()

    def abort(self) -> None:
        if self._gone:
            return
        channel = self._request.channel
        if channel is None:
            return
        # With a length or chunks the client sees that something is missing, and still gets what
        # was sent; without, only a reset tells it.
        framed = self._request.chunked or self._request.responseHeaders.hasHeader(b"content-length")
        if framed and self._request.startedWriting:
            channel.loseConnection()
        else:
            channel.transport.abortConnection()

    def register(self, producer: IPushProducer) -> None:
        if not self._gone:
            self._patience = _Patience(producer, self._limits.send_timeout_s, self)
            self._request.registerProducer(self._patience, True)

    def unregister(self) -> None:
        patience, self._patience = self._patience, None
        if patience is not None:
            patience.stop_waiting()
            if not self._gone:
                self._request.unregisterProducer()

    def client_stuck(self) -> None:
        """The client took nothing for too long."""
        channel = self._request.channel
        if channel is not None:
            channel.transport.abortConnection()

    def gone(self, _reason: Failure) -> None:
        """The client's connection is lost."""
        self._gone = True
        if self.run is not None:
            self.run.client_gone()


@implementer(IPushProducer)
class _Patience:
    """A producer that passes pauses on, and gives a client that never resumes up."""

    def __init__(self, producer: IPushProducer, wait_s: float, downstream: WebDownstream) -> None:
        self._producer = producer
        self._wait_s = wait_s
        self._downstream = downstream
        self._timer: IDelayedCall | None = None

    def pauseProducing(self) -> None:
        self._producer.pauseProducing()
        site = self._downstream.site
        if self._timer is None and site is not None:
            self._timer = site.clock.callLater(self._wait_s, self._downstream.client_stuck)

    def resumeProducing(self) -> None:
        self.stop_waiting()
        self._producer.resumeProducing()

    def stopProducing(self) -> None:
        self.stop_waiting()
        self._producer.stopProducing()

    def stop_waiting(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()


class _NoSource:
    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


def _close_after(request: Request) -> None:
    request.responseHeaders.setRawHeaders(b"connection", [b"close"])
    if request.channel is not None and hasattr(request.channel, "persistent"):
        request.channel.persistent = False


class ProxyRequest(Request):
    """
    A request that is proxied as soon as its head is complete.

    ``twisted.web`` calls ``gotLength`` once the head is read and ``handleContentChunk`` for each
    piece of content; its own ``Request`` gathers those and starts when all is there. The request
    line is then only known to the channel, in attributes that are not public: this class is
    the one place that reads them, and ``tests/proxy/test_resource.py`` pins them.
    """

    defaultContentType = None
    streamed: RequestBody | None = None
    downstream: WebDownstream | None = None
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
        channel: Any = self.channel
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
        limit = limits.max_body_bytes
        self._start()
        if limit and length is not None and length > limit and self.downstream and self.downstream.run:
            self.downstream.run.too_large()

    def handleContentChunk(self, data: bytes) -> None:
        """A piece of the content."""
        body = self.streamed
        assert body is not None
        body.data(data)
        self._watch_body()
        limits: ProxyLimits = self.site.limits
        run = self.downstream.run if self.downstream is not None else None
        if run is not None:
            run.exchange.bytes_received = body.received
            if limits.max_body_bytes and body.received > limits.max_body_bytes:
                run.too_large()
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
        self._timer = self._reactor().callLater(limits.linger_s, self._give_up_reading)

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

    def _reactor(self) -> IReactorTime:
        reactor: IReactorTime = self.site.clock
        return reactor

    def _watch_body(self) -> None:
        timer = self._timer
        wait = self.site.limits.body_timeout_s
        if timer is not None and timer.active():
            timer.reset(wait)
        elif not self._finish_wanted:
            self._timer = self._reactor().callLater(wait, self._body_timed_out)

    def _body_timed_out(self) -> None:
        if self.downstream is not None and self.downstream.run is not None:
            self.downstream.run.slow_body()

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
    _head_complete = False
    _head_timer: IDelayedCall | None = None

    def connectionMade(self) -> None:
        limits = self.site.limits
        self.totalHeadersSize = limits.max_header_bytes
        self.maxHeaders = limits.max_headers
        self.site.channels.add(self)
        super().connectionMade()

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        # Most heads arrive in one piece: a timer is only needed for those that did not.
        if not self._head_complete and self._head_timer is None and not self.transport.disconnecting:
            wait = self.site.limits.header_timeout_s
            self._head_timer = self.site.clock.callLater(wait, self._head_timed_out)

    def allHeadersReceived(self) -> None:
        self._head_complete = True
        self._stop_head_timer()
        super().allHeadersReceived()

    def requestDone(self, request: Request) -> None:
        self._head_complete = False
        super().requestDone(request)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
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

    protocol = ProxyChannel

    def __init__(self, resource: ProxyResource, reactor: Any) -> None:
        self.limits = resource.runner.limits
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

    def drain(self) -> None:
        """No more requests: idle connections close now, the others after their answer."""
        self.draining = True
        for channel in list(self.channels):
            channel.drain()

    def log(self, request: Request) -> None:
        """Nothing: the runner has its own log."""
