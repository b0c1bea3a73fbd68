"""
treq for proxied traffic.

A stock ``treq.client.HTTPClient`` is made for a caller with one identity: it keeps cookies and
sends them with the next request, asks for gzip and undoes it, follows redirects and rewrites
URLs. A proxy must do none of that. ``ProxyClient`` keeps the calling convention, and with
``raw=True`` goes straight to the agent.

This is the one place that relies on names treq keeps to itself: ``HTTPClient._agent`` and
``treq.response._Response``. ``tests.upstream.test_client`` pins what is relied on.
"""

from __future__ import annotations

from typing import Any, Protocol

from treq.client import HTTPClient
from treq.cookies import IndexableCookieJar
from treq.response import _Response
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from zope.interface import implementer

from gateway.core import reasons
from gateway.core.fields import Pair
from gateway.core.forwarded import response_kind
from gateway.http1.response import ResponseHead
from gateway.upstream.agent import UpstreamAgent
from gateway.upstream.connection import ResponseWaiter
from gateway.upstream.errors import UpstreamError
from gateway.upstream.request import PreparedRequest

_NO_COOKIES = IndexableCookieJar()


class ProxiedResponse(_Response):
    """
    A treq response to a raw request: content as it came, cookies kept by nobody.

    Attributes:
        code: The status code.
        raw_fields: Field lines: lower-case names and values; in order where the agent keeps it.
    """

    def __init__(self, original: Any) -> None:
        self.original = original
        self._cookiejar = _NO_COOKIES

    @property
    def code(self) -> int:
        return self.original.code  # type: ignore[no-any-return]

    @property
    def raw_fields(self) -> list[Pair]:
        original: Any = self.original
        try:
            return original.raw_fields  # type: ignore[no-any-return]
        except AttributeError:
            # Another agent's response, such as a test double's.
            headers = original.headers.getAllRawHeaders()
            return [(name.lower(), value) for name, values in headers for value in values]

    def deliverBody(self, protocol: Any) -> None:
        """As ``IResponse.deliverBody``."""
        original: Any = self.original
        original.deliverBody(protocol)


class ProxyClient(HTTPClient):
    """A treq client whose raw requests reach the agent, and whose raw responses the caller, untouched."""

    def __init__(self, agent: Any, *args: Any, **kw: Any) -> None:
        super().__init__(agent, *args, **kw)
        if type(agent) is UpstreamAgent:
            # Nothing between whoever relays and the agent.
            self.relay = agent.send  # type: ignore[method-assign]

    def request(
        self, method: Any, url: Any, *, headers: Any = None, data: Any = None, raw: bool = False, **kw: Any
    ) -> Deferred[Any]:
        """
        As ``treq.request``, or with *raw*:

        Args:
            method: bytes, or ASCII text; sent as it is.
            url: bytes, or ASCII text; handed to the agent as it is.
            headers: A ``PreparedRequest``, or ``Headers``, or None.
            data: The content: a provider of ``IBodyProducer``, or None.
            kw: None for a raw request: treq's other options mean changes to the request.
        Returns:
            Fires with a ``ProxiedResponse``; its content has not been read.
        Raises:
            TypeError: an option that a raw request cannot have.
        """
        if not raw:
            kw.setdefault("_stacklevel", 3)
            return super().request(method, url, headers=headers, data=data, **kw)
        if kw:
            raise TypeError(f"a raw request takes no {', '.join(sorted(kw))}")
        if isinstance(method, str):
            method = method.encode("ascii")
        if isinstance(url, str):
            url = url.encode("ascii")
        return self._agent.request(method, url, headers, data).addCallback(ProxiedResponse)

    def send(self, request: PreparedRequest, body: Any = None) -> Deferred[Any]:
        """
        Send a prepared request; to be awaited.

        Args:
            body: Its content: a provider of ``IBodyProducer``, or None.
        Returns:
            Fires with a ``ProxiedResponse``; fails as ``UpstreamAgent.request`` does.
        """
        return self.request(request.method, request.url, headers=request, data=body, raw=True)

    def relay(self, request: PreparedRequest, body: Any, waiter: ResponseWaiter) -> Cancellable:
        """
        As ``send``, but *waiter* is told of the response, maybe before this returns. Over our own agent
        it is that one's own ``send``: no Deferred, no response object and no protocol for each request.

        Returns:
            What gives the request up: *waiter* is told nothing then, and the connection is cut.
        Raises:
            ValueError: it cannot be written as one request.
        """
        return RelayedResponse(self.send(request, body), waiter)


class Cancellable(Protocol):
    """A request under way."""

    def cancel(self) -> None:
        """Give it up."""


@implementer(IProtocol)
class RelayedResponse:
    """Tells a ``ResponseWaiter`` of a response that a Deferred brings, content and all."""

    def __init__(self, deferred: Deferred[Any], waiter: ResponseWaiter) -> None:
        self._deferred = deferred
        self._waiter: ResponseWaiter | None = waiter
        self._taker: Any = None
        self._transport: Any = None
        self._paused = self._aborted = False
        deferred.addCallbacks(self._started, self._failed)

    def cancel(self) -> None:
        """As ``Cancellable.cancel``."""
        self._waiter = None
        self._deferred.cancel()

    def _started(self, response: Any) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is None:
            return
        lines = [(pair, response_kind(pair[0])) for pair in response.raw_fields]
        head = ResponseHead(response.code, b"", 1, lines, None)
        self._taker = waiter.response_started(head, b"", self)
        response.deliverBody(self)

    def _failed(self, failure: Failure) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.request_failed(failure)

    # -- Flow; it may be used before there is a transport

    def pause(self) -> None:
        """As ``Flow.pause``."""
        self._paused = True
        if self._transport is not None:
            self._transport.pauseProducing()

    def resume(self) -> None:
        """As ``Flow.resume``."""
        self._paused = False
        if self._transport is not None:
            self._transport.resumeProducing()

    def abort(self) -> None:
        """As ``Flow.abort``."""
        self._aborted = True
        if self._transport is not None:
            self._transport.stopProducing()

    # -- IProtocol, for the response's content

    def makeConnection(self, transport: Any) -> None:
        """As ``IProtocol.makeConnection``."""
        self._transport = transport
        if self._aborted:
            transport.stopProducing()
        elif self._paused:
            transport.pauseProducing()

    def connectionMade(self) -> None:
        """As ``IProtocol.connectionMade``."""

    def dataReceived(self, data: bytes) -> None:
        """As ``IProtocol.dataReceived``."""
        self._taker.response_content(data)

    def connectionLost(self, reason: Failure) -> None:
        """As ``IProtocol.connectionLost``."""
        self._transport = None
        if reason.check(ResponseDone):
            self._taker.response_ended()
            return
        error = reason.value
        if isinstance(error, UpstreamError):
            self._taker.response_failed(error.kind, error.detail, reason)
        else:
            self._taker.response_failed(reasons.UPSTREAM_CLOSED, str(error), reason)
