"""
The gateway's own ``IAgent``.

With a ``PreparedRequest`` in place of headers it sends what the request says, byte for byte, over
a pooled connection; nothing is parsed or looked up on the way. With ordinary headers it is an
ordinary agent.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure
from twisted.web.client import URI
from twisted.web.error import SchemeNotSupported
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IAgent
from zope.interface import implementer

from gateway.core import reasons
from gateway.core.recurring import Recurring
from gateway.http1.client import ContentTaker, HTTP1Client
from gateway.http1.request_head import serialise
from gateway.http1.response import ResponseHead, ResponseReader
from gateway.model.timeout import Timeout
from gateway.model.upstream import KeepalivePool
from gateway.upstream.connection import (
    ConnectTCP,
    Dial,
    Network,
    ResponseWaiter,
    SentRequest,
    UpstreamResponse,
)
from gateway.upstream.errors import UpstreamError, exchange_error
from gateway.upstream.pool import IdleRoom, Pool, PoolStats
from gateway.upstream.request import Peer, PreparedRequest
from gateway.upstream.tls import ClientTLS

IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))
"""Methods that may be sent twice (RFC 9110 section 9.2.2)."""

DEFAULT_TIMEOUT = Timeout(60.0, 60.0, 60.0)
DEFAULT_KEEPALIVE = KeepalivePool(320, 60.0, 1000)
"""Source: data-plane contract §1."""

_DROPPED = frozenset((b"content-length", b"transfer-encoding"))


class Call:
    """One request, from ``send()`` to its response's head."""

    __slots__ = (
        "_agent",
        "_body",
        "_connection",
        "_dial",
        "_method",
        "_request",
        "_waiter",
        "head",
        "reused",
    )

    def __init__(
        self,
        agent: UpstreamAgent,
        method: bytes,
        request: PreparedRequest,
        body: Any,
        head: bytes,
        waiter: Any,
    ) -> None:
        self._agent = agent
        self._method = method
        self._request = request
        self._body = body
        self.head = head
        self._waiter: ResponseWaiter | None = waiter
        self._connection: HTTP1Client | None = None
        self._dial: Dial | None = None
        self.reused = False

    def send_on(self, connection: HTTP1Client) -> None:
        """Use a connection; ``reused`` says whether it has been used before."""
        self._connection = connection
        request = self._request
        timeout = request.timeout
        connection.send(
            self,
            self._method,
            self.head,
            self._body,
            timeout.send_s,
            timeout.read_s,
            switching=request.switching,
        )

    def dial(self) -> None:
        self.reused = False
        dial = self._dial = Dial(
            self._agent.network, self._request.peer, self._request.timeout.connect_s, self
        )
        dial.start()

    def cancel(self) -> None:
        """Nobody waits any longer: the connection is cut, and the waiter told nothing."""
        self._waiter = None
        dial, self._dial = self._dial, None
        if dial is not None:
            dial.cancel()
            self._agent.forget_empty(self._request.peer)
        if self._connection is not None:
            self._connection.drop()

    def _fail(self, failure: Failure) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.request_failed(failure)

    # -- DialResult

    def connected(self, connection: HTTP1Client) -> None:
        self._dial = None
        self._agent.pool(self._request).add(connection)
        self.send_on(connection)

    def connect_failed(self, error: UpstreamError) -> None:
        self._dial = None
        self._agent.forget_empty(self._request.peer)
        self._fail(Failure(error))

    # -- ResponseTaker

    def response_started(
        self, head: ResponseHead, content: bytes, connection: HTTP1Client | None
    ) -> ContentTaker:
        self._connection = None
        waiter, self._waiter = self._waiter, None
        assert waiter is not None  # Else its connection was dropped.
        return waiter.response_started(head, content, connection)

    def response_failed(self, kind: str, detail: str, cause: Failure | None) -> None:
        connection, self._connection = self._connection, None
        assert connection is not None
        if (
            self.reused
            and kind == reasons.UPSTREAM_CLOSED
            and self._body is None
            and self._method in IDEMPOTENT
            and not connection.response_begun
        ):
            # It was closed while it was idle, and we wrote before we heard of it.
            self.dial()
        else:
            self._fail(exchange_error(kind, detail, cause, reused=self.reused))


class _Asked:
    """Waits on behalf of a Deferred: what an ``IAgent`` promises."""

    __slots__ = ("_call", "_method", "_request", "deferred")

    def __init__(self, method: bytes, request: PreparedRequest) -> None:
        self._method = method
        self._request = request
        self._call: Call | None = None
        self.deferred: Deferred[UpstreamResponse] | None = Deferred(self._cancel)

    def made(self, call: Call) -> None:
        """It is under way."""
        self._call = call

    def _cancel(self, _: object) -> None:
        self.deferred = None
        if self._call is not None:
            self._call.cancel()

    # -- ResponseWaiter

    def response_started(self, head: ResponseHead, content: bytes, connection: Any) -> UpstreamResponse:
        call = self._call
        response = UpstreamResponse(
            head, content, connection, self._describe, call is not None and call.reused
        )
        deferred, self.deferred = self.deferred, None
        if deferred is not None:
            deferred.callback(response)
        if connection is not None and not response.taken:
            connection.hold()
        return response

    def request_failed(self, failure: Failure) -> None:
        deferred, self.deferred = self.deferred, None
        if deferred is not None:
            deferred.errback(failure)

    def _describe(self) -> SentRequest:
        request = self._request
        return SentRequest(self._method, request.url, request.copy())


@implementer(IAgent)
class UpstreamAgent:
    """
    Sends requests over HTTP/1.1, on connections that are kept.

    Attributes:
        network: How it connects.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        connect_tcp: ConnectTCP | None = None,
        resolver: Any = None,
        trust_root: Any = None,
        timeout: Timeout = DEFAULT_TIMEOUT,
        keepalive: KeepalivePool = DEFAULT_KEEPALIVE,
        max_idle: int = 4096,
        max_header_bytes: int = 65536,
        max_headers: int = 200,
        max_interim: int = 32,
        known_heads: int = 1024,
    ) -> None:
        """
        Args:
            reactor: Provides ``IReactorTCP``, ``IReactorTime`` and ``IReactorPluggableNameResolver``.
            connect_tcp: Used instead of ``reactor.connectTCP``; same arguments.
            resolver: An ``IHostnameResolver`` used for names instead of ``reactor.nameResolver``.
            trust_root: Whom to trust where certificates are verified; None is the platform's choice.
            timeout, keepalive: For requests that are not prepared.
            max_idle: Most idle connections, all peers together.
            max_header_bytes, max_headers, max_interim: As ``ResponseReader``.
            known_heads: Response heads that are remembered, all peers together.
        """
        self._known: Recurring[ResponseHead] = Recurring(known_heads)
        self.network = Network(reactor, ClientTLS(trust_root), connect_tcp, ResponseReader, resolver)
        self.limit_heads(max_header_bytes, max_headers, max_interim)
        self._timeout = timeout
        self._keepalive = keepalive
        self._pools: dict[Peer, Pool] = {}
        self._room = IdleRoom(max_idle)
        self._closing: list[Deferred[None]] = []

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: Any = None
    ) -> Deferred[Any]:
        """
        Send a request.

        Args:
            method: Sent as it is.
            uri: An absolute ``http`` or ``https`` URL. With a prepared request it is not looked at.
            headers: A ``PreparedRequest``, or ordinary headers, or None.
            bodyProducer: The content, or None; chunked if its length is not known.
        Returns:
            Fires with an ``UpstreamResponse`` when its head has arrived. Fails with ``UpstreamError``,
            with the producer's own failure, or with ``ValueError`` if the request cannot be written
            as one request. Cancelling it cuts the connection.
        """
        try:
            prepared = type(headers) is PreparedRequest
            request: Any = headers if prepared else self._prepare(method, uri, headers)
            asked = _Asked(method, request)
            call = self._call(method, request, bodyProducer, asked)
        except Exception:
            return fail()
        deferred = asked.deferred
        assert deferred is not None
        asked.made(call)
        connection = self.pool(request).take()
        if connection is None:
            call.dial()
        else:
            call.reused = True
            call.send_on(connection)
        return deferred

    def send(self, request: PreparedRequest, body: Any, waiter: ResponseWaiter) -> Call:
        """
        As ``request``, without a Deferred: *waiter* is told, maybe before this returns.

        Returns:
            The call; its ``cancel`` cuts the connection.
        Raises:
            ValueError: it cannot be written as one request.
        """
        pool: Pool | None = request.pool
        if pool is None or pool.forgotten:
            pool = self.pool(request)
            if request.kept:
                request.pool = pool
        elif pool.settings is not request.keepalive:
            pool.settings = request.keepalive
        text = request.text
        if text is None or body is not None:
            call = self._call(request.method, request, body, waiter)
            if request.kept and body is None:
                request.text = call.head
        else:
            call = Call(self, request.method, request, None, text, waiter)
        connection = pool.take()
        if connection is None:
            call.dial()
        else:
            call.reused = True
            call.send_on(connection)
        return call

    def _call(self, method: bytes, request: PreparedRequest, body: Any, waiter: ResponseWaiter) -> Call:
        if body is None:
            head = serialise(method, request.target, request.fields)
        elif (length := body.length) is UNKNOWN_LENGTH:
            head = serialise(method, request.target, request.fields, chunked=True)
        else:
            head = serialise(method, request.target, request.fields, content_length=length)
        return Call(self, method, request, body, head, waiter)

    def limit_heads(self, max_header_bytes: int, max_headers: int, max_interim: int) -> None:
        """Limits of responses' heads, for connections that are made from now on."""
        self.network.reader = partial(
            ResponseReader,
            max_header_bytes=max_header_bytes,
            max_headers=max_headers,
            max_interim=max_interim,
            known_heads=self._known,
        )

    def pool(self, request: PreparedRequest) -> Pool:
        """The pool for a request; made if there is none."""
        pool = self._pools.get(request.peer)
        if pool is None:
            pool = Pool(request.peer, request.keepalive, self._room, self._forget)
            self._pools[request.peer] = pool
        elif pool.settings is not request.keepalive:
            pool.settings = request.keepalive
        return pool

    def stats(self) -> Mapping[Peer, PoolStats]:
        """How many connections there are, by peer; peers without any may be missing."""
        return {peer: pool.stats() for peer, pool in self._pools.items()}

    def close(self) -> Deferred[None]:
        """
        Close idle connections, and the others after the request they carry.

        Returns:
            Fires when every connection is gone.
        """
        self._room.close()
        for pool in list(self._pools.values()):
            pool.close_idle()
        if not any(pool.open for pool in self._pools.values()):
            return succeed(None)
        closed: Deferred[None] = Deferred()
        self._closing.append(closed)
        return closed

    def forget_empty(self, peer: Peer) -> None:
        """Drop the pool of a peer that could not be reached."""
        pool = self._pools.get(peer)
        if pool is not None and not pool.open:
            self._forget(pool)

    def _forget(self, pool: Pool) -> None:
        pool.forgotten = True
        if self._pools.get(pool.peer) is pool:
            del self._pools[pool.peer]
        if self._closing and not any(pool.open for pool in self._pools.values()):
            waiting, self._closing = self._closing, []
            for closed in waiting:
                closed.callback(None)

    def _prepare(self, method: bytes, uri: bytes, headers: Headers | None) -> PreparedRequest:
        parsed = URI.fromBytes(uri)
        if parsed.scheme not in (b"http", b"https"):
            raise SchemeNotSupported(f"Unsupported scheme: {parsed.scheme!r}")
        host = parsed.host.decode("ascii")
        tls = parsed.scheme == b"https"
        peer = Peer(parsed.scheme.decode(), host, parsed.port, host if tls else None, tls)
        fields = [
            (name.lower(), value)
            for name, values in (headers or Headers()).getAllRawHeaders()
            for value in values
            if name.lower() not in _DROPPED
        ]
        if not any(name == b"host" for name, _ in fields):
            fields.insert(0, (b"host", peer.authority))
        return PreparedRequest(peer, method, parsed.originForm, fields, self._timeout, self._keepalive)
