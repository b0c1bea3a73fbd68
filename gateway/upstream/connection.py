"""Establishing connections to upstreams, and the response that comes over one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from attrs import frozen
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IPushProducer, IReactorPluggableNameResolver
from twisted.internet.protocol import ClientFactory
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IClientRequest, IResponse
from zope.interface import implementer

from gateway.core.fields import Pair
from gateway.http1.client import ContentTaker, HTTP1Client
from gateway.http1.response import ResponseHead, ResponseReader
from gateway.upstream.errors import UpstreamError, connect_error, connect_timeout, exchange_error
from gateway.upstream.request import Peer
from gateway.upstream.tls import ClientTLS

ConnectTCP = Callable[..., Any]
"""As ``IReactorTCP.connectTCP``: ``(host, port, factory, timeout, bindAddress)``."""

_DONE = Failure(ResponseDone())


@implementer(IReactorPluggableNameResolver)
class _Dialler:
    """The reactor, as an endpoint sees it, with other ways to connect and to resolve names."""

    def __init__(self, reactor: Any, connect_tcp: ConnectTCP, resolver: Any) -> None:
        self._reactor = reactor
        self._resolver = resolver
        self.connectTCP = connect_tcp

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    @property
    def nameResolver(self) -> Any:
        return self._reactor.nameResolver if self._resolver is None else self._resolver

    def installNameResolver(self, resolver: Any) -> Any:
        return self._reactor.installNameResolver(resolver)


class DialResult(Protocol):
    """Who waits for a connection."""

    def connected(self, connection: HTTP1Client) -> None:
        """It is established, TLS included."""

    def connect_failed(self, error: UpstreamError) -> None:
        """There will be none."""


class Flow(Protocol):
    """What holds the rest of a response's content back, or ends it."""

    def pause(self) -> None:
        """Deliver no more for now; the upstream is held back."""

    def resume(self) -> None:
        """Deliver again."""

    def abort(self) -> None:
        """Nobody wants the rest: the connection is cut."""


class ResponseWaiter(Protocol):
    """Who waits for the response to one request. Exactly one of the two is called, once."""

    def response_started(self, head: ResponseHead, content: bytes, connection: Flow | None) -> ContentTaker:
        """
        Its head is there.

        Args:
            content: What of the content came with it; may be empty.
            connection: None if *content* is all; then the taker returned is told nothing more.
        """

    def request_failed(self, failure: Failure) -> None:
        """There will be none: an ``UpstreamError``, or the failure of the request's own content."""


class Network:
    """How connections are made: what all dials of an agent share."""

    def __init__(
        self,
        reactor: Any,
        tls: ClientTLS,
        connect_tcp: ConnectTCP | None,
        reader: Callable[[], ResponseReader],
        resolver: Any = None,
    ) -> None:
        """
        Args:
            connect_tcp: Used instead of ``reactor.connectTCP``.
            reader: Makes the reader of one connection.
            resolver: An ``IHostnameResolver``, used instead of ``reactor.nameResolver``. Addresses are
                dialled without it.
        """
        self.reactor = reactor
        self.tls = tls
        self.reader: Callable[[], ResponseReader] = reader
        self.connect_tcp: ConnectTCP = connect_tcp or reactor.connectTCP
        own = connect_tcp is not None or resolver is not None
        self.names = _Dialler(reactor, self.connect_tcp, resolver) if own else reactor


class _DialFactory(ClientFactory):
    noisy = False

    def __init__(self, dial: Dial) -> None:
        self._dial = dial

    def buildProtocol(self, addr: Any) -> HTTP1Client:
        return self._dial.build()

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        self._dial.failed(reason)


class Dial:
    """One attempt to connect: name resolution, TCP and TLS within one time limit."""

    def __init__(self, network: Network, peer: Peer, connect_s: float, waiter: DialResult) -> None:
        self._network = network
        self._peer = peer
        self._connect_s = connect_s
        self._waiter: DialResult | None = waiter
        self._stop: Callable[[], object] | None = None
        self._connection: HTTP1Client | None = None
        self._timer: Any = None

    def start(self) -> None:
        """Begin. The waiter may be told before this returns."""
        network, peer = self._network, self._peer
        self._timer = network.reactor.callLater(self._connect_s, self._late)
        try:
            factory: Any = _DialFactory(self)
            if peer.scheme == "https":
                factory = network.tls.wrap(peer, factory)
            if isIPAddress(peer.host) or isIPv6Address(peer.host):
                connector = network.connect_tcp(peer.host, peer.port, factory, timeout=None)
                self._stop = connector.stopConnecting
            else:
                # The endpoint's own limit is per address; ours is for everything.
                endpoint = HostnameEndpoint(network.names, peer.host, peer.port, timeout=self._connect_s)
                connecting: Deferred[Any] = endpoint.connect(factory)
                self._stop = connecting.cancel
                connecting.addErrback(self.failed)
        except Exception:
            self.failed(Failure())

    def build(self) -> HTTP1Client:
        network, tls = self._network, self._peer.scheme == "https"
        self._connection = HTTP1Client(network.reactor, self, tls=tls, reader=network.reader())
        return self._connection

    def cancel(self) -> None:
        """Give up; the waiter is told nothing."""
        if self._settle() is not None:
            self._halt()

    def failed(self, reason: Failure) -> None:
        waiter = self._settle()
        if waiter is not None:
            waiter.connect_failed(connect_error(reason))

    def _late(self) -> None:
        self._timer = None
        waiter = self._settle()
        if waiter is not None:
            self._halt()
            waiter.connect_failed(connect_timeout(self._connect_s))

    def _halt(self) -> None:
        connection = self._connection
        if connection is not None and connection.transport is not None:
            connection.abort()
        elif self._stop is not None:
            self._stop()

    def _settle(self) -> DialResult | None:
        waiter, self._waiter = self._waiter, None
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        return waiter

    # -- ConnectionOwner, until a pool takes over

    def connection_ready(self, connection: HTTP1Client) -> None:
        waiter = self._settle()
        if waiter is None:
            connection.abort()
        else:
            self._stop = None
            waiter.connected(connection)

    def connection_free(self, connection: HTTP1Client) -> None:
        raise AssertionError("a pool owns a connection that carried a request")

    def connection_closed(self, connection: HTTP1Client, reason: Failure) -> None:
        self.failed(reason)


@implementer(IClientRequest)
@frozen
class SentRequest:
    """What a response answers."""

    method: bytes
    absoluteURI: bytes
    headers: Headers


@implementer(IPushProducer)
class BodyTransport:
    """The transport that a response's body protocol sees. After the end its methods do nothing."""

    __slots__ = ("connection",)

    disconnecting = False

    def __init__(self, connection: HTTP1Client | None) -> None:
        self.connection = connection

    def pauseProducing(self) -> None:
        """Stop delivering; the upstream is held back."""
        if self.connection is not None:
            self.connection.pause()

    def resumeProducing(self) -> None:
        """Deliver again."""
        if self.connection is not None:
            self.connection.resume()

    def stopProducing(self) -> None:
        """Nobody wants the rest: the connection is cut."""
        if self.connection is not None:
            self.connection.abort()

    def loseConnection(self) -> None:
        """As ``stopProducing``."""
        self.stopProducing()

    abortConnection = loseConnection


@implementer(IResponse)
class UpstreamResponse:
    """
    A response on its way.

    Attributes:
        code, phrase, length, version, headers, request, previousResponse: As ``IResponse`` says.
        raw_fields: Field lines in order: lower-case names and values.
    """

    __slots__ = (
        "_delivered",
        "_end",
        "_head",
        "_headers",
        "_pending",
        "_protocol",
        "_reused",
        "_sent",
        "_transport",
        "code",
        "length",
        "previousResponse",
        "raw_fields",
    )

    def __init__(
        self,
        head: ResponseHead,
        content: bytes,
        connection: HTTP1Client | None,
        sent: Callable[[], SentRequest],
        reused: bool,
    ) -> None:
        self.code = head.status
        self.raw_fields: list[Pair] = head.fields
        self.length = UNKNOWN_LENGTH if head.length is None else head.length
        self.previousResponse: Any = None
        self._head = head
        self._headers: Headers | None = None
        self._transport = BodyTransport(connection)
        self._sent = sent
        self._reused = reused
        self._protocol: Any = None
        self._delivered = False
        self._pending = [content] if content else []
        self._end: Failure | None = _DONE if connection is None else None

    @property
    def phrase(self) -> bytes:
        return self._head.phrase

    @property
    def version(self) -> tuple[bytes, int, int]:
        return (b"HTTP", 1, self._head.minor)

    @property
    def headers(self) -> Headers:
        headers = self._headers
        if headers is None:
            headers = self._headers = Headers()
            for name, value in self.raw_fields:
                headers.addRawHeader(name, value)
        return headers

    @property
    def request(self) -> SentRequest:
        return self._sent()

    def __repr__(self) -> str:
        return f"<UpstreamResponse {self.code}>"

    def setPreviousResponse(self, response: Any) -> None:
        self.previousResponse = response

    @property
    def taken(self) -> bool:
        """Whether somebody has asked for the content."""
        return self._delivered

    def deliverBody(self, protocol: Any) -> None:
        """
        As ``IResponse.deliverBody``.

        The protocol's ``connectionLost`` gets ``ResponseDone`` when the content is complete, also where
        it ends by the upstream closing in order; otherwise an ``UpstreamError``.

        Raises:
            RuntimeError: the content has been asked for before.
        """
        if self._delivered:
            raise RuntimeError("the content of a response is delivered once")
        self._delivered = True
        transport = self._transport
        transport.resumeProducing()
        protocol.makeConnection(transport)
        pending, self._pending = self._pending, []
        connection = transport.connection
        if connection is None or connection.alive:
            for data in pending:
                protocol.dataReceived(data)
        if self._end is None:
            self._protocol = protocol
        else:
            protocol.connectionLost(self._end)

    # -- ContentTaker

    def response_content(self, data: bytes) -> None:
        if self._protocol is None:
            # At most what one read brought: reading stops until somebody takes it.
            self._pending.append(data)
        else:
            self._protocol.dataReceived(data)

    def response_ended(self) -> None:
        self._finish(_DONE)

    def response_failed(self, kind: str, detail: str, cause: Failure | None) -> None:
        self._finish(exchange_error(kind, detail, cause, reused=self._reused))

    def _finish(self, end: Failure) -> None:
        self._transport.connection = None
        self._end = end
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            protocol.connectionLost(end)
