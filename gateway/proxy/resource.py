"""The reverse-proxy resource: the runner behind twisted.web.

Under ``gateway.proxy.site.ProxySite`` content streams in both directions. The resource can also be
put into any other twisted.web site; there a request's content is complete before it is proxied.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from twisted.web.http import datetimeToString
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Request
from zope.interface import implementer

from gateway.core.exchange import Connection, Reply, RequestHead
from gateway.core.fields import Pair
from gateway.http1.request import Refused
from gateway.proxy.admission import admit
from gateway.proxy.known_answer import STATUS_PHRASES, KnownAnswer
from gateway.proxy.limits import ProxyLimits
from gateway.proxy.request_body import RequestBody
from gateway.proxy.run import Run
from gateway.proxy.runner import Runner
from gateway.proxy.site import ProxyRequest, ProxySite


def _version(text: bytes) -> tuple[int, int]:
    major, _, minor = text.rpartition(b"/")[2].partition(b".")
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else (1, 0)


def _pairs(request: Request) -> list[Pair]:
    return [
        (name.lower(), value)
        for name, values in request.requestHeaders.getAllRawHeaders()
        for value in values
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
        session=getattr(request.transport, "tls_session", None),
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
        run = downstream.run = self.runner.handle(admitted, head, _connection(request), downstream)
        if isinstance(request, ProxyRequest):
            request.run = run
        request.notifyFinish().addErrback(downstream.gone)
        return NOT_DONE_YET

    def refuse(self, request: ProxyRequest, refused: Refused) -> None:
        """Answer bytes that are no request, and log them like one."""
        downstream = WebDownstream(request, self.runner.limits)
        reply = Reply(refused.status, None, ((b"connection", b"close"),), refused.reason, refused.why)
        self.runner.handle(reply, RequestHead(b"-", b"-", ()), _connection(request), downstream)


class WebDownstream:
    """``gateway.proxy.downstream.Downstream`` over a twisted.web request."""

    def __init__(self, request: Request, limits: ProxyLimits) -> None:
        self.body: RequestBody | None = None
        self.run: Run | None = None
        self._request = request
        self._limits = limits
        self._gone = False
        self._registered = False
        if isinstance(request, ProxyRequest):
            self.body = request.streamed
        elif request.content is not None:
            content = request.content.read()
            if content or request.requestHeaders.hasHeader(b"content-length"):
                whole = RequestBody(len(content), _NoSource(), read_ahead=len(content) + 1)
                whole.data(content)
                whole.end()
                self.body = whole

    outlet = None  # Its content may be framed in many ways.

    @property
    def site(self) -> ProxySite | None:
        """The streaming site, if the request came through one."""
        return self._request.site if isinstance(self._request, ProxyRequest) else None

    def respond(
        self, status: int, fields: list[Pair], length: int | None, known: KnownAnswer | None = None
    ) -> None:
        if self._gone:
            return
        request = self._request
        request.setResponseCode(status, STATUS_PHRASES.get(status, "Unknown").encode())
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
        unframed = length is None and request.clientproto != b"HTTP/1.1" and request.method != b"HEAD"
        if close or draining or unframed or not self._can_keep_alive():
            _close_after(request)

    def _can_keep_alive(self) -> bool:
        body = self.body
        if body is None or body.complete:
            return True
        # How much a chunked request still has to come nobody knows.
        return body.expected is not None and body.expected - body.received <= self._limits.linger_bytes

    def pass_on(self, known: KnownAnswer, added: bytes, content: bytes) -> bool:
        return False

    def write(self, data: bytes) -> None:
        if not self._gone:
            self._request.write(data)

    def flush(self) -> None:
        request = self._request
        if not self._gone and not request.finished and not request.startedWriting:
            request.write(b"")

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
        channel: Any = self._request.channel
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
            self._registered = True
            self._request.registerProducer(producer, True)

    def unregister(self) -> None:
        if self._registered and not self._gone:
            self._request.unregisterProducer()
        self._registered = False

    def gone(self, _reason: Failure) -> None:
        """The client's connection is lost."""
        self._gone = True
        if self.run is not None:
            self.run.client_gone()


class _NoSource:
    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


def _close_after(request: Request) -> None:
    request.responseHeaders.setRawHeaders(b"connection", [b"close"])
    channel: Any = request.channel
    if channel is not None:
        channel.persistent = False
