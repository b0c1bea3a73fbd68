"""One try: from an exchange and a node to a request on its way."""

from __future__ import annotations

from twisted.web.iweb import IBodyProducer

from gateway.core.addresses import AddressSet
from gateway.core.certificates import Trust
from gateway.core.exchange import Exchange
from gateway.core.forwarded import port_of, request_fields, speaks_for_itself, upstream_host_value
from gateway.core.hosts import split_port, without_dot
from gateway.core.snapshot import CompiledRoute, CompiledUpstream
from gateway.core.upgrade import requested
from gateway.model.upstream import Node, Upstream
from gateway.upstream.client import Cancellable, ProxyClient
from gateway.upstream.connection import ResponseWaiter
from gateway.upstream.request import Peer, PreparedRequest

_PEER_LIMIT = 10_000
_PLAIN = Trust()
_PASSED_ON = "pass"
_MISSES = 16
"""So often what was remembered of a head may have turned out to be outdated; then nothing more is."""
_HTTP_SCHEMES = {"http": "http", "grpc": "http", "https": "https", "grpcs": "https"}


class Sent:
    """
    What was sent for a request head that came before, and all that it was made of.

    The same head mostly leads to the same request; then it is made once.
    """

    __slots__ = (
        "_client_ip",
        "_host",
        "_method",
        "_node",
        "_only",
        "_origin",
        "_others",
        "_pairs",
        "_target",
        "_timeout",
        "_tunnels",
        "_upstream",
    )

    def __init__(self, exchange: Exchange, route: CompiledRoute, upstream: Upstream) -> None:
        self._upstream = upstream
        self._timeout = route.timeout
        self._tunnels = route.tunnels
        self._pairs = exchange.fields.pairs.copy()
        self._target = exchange.target
        self._method = exchange.method
        self._host = exchange.upstream_host
        self._client_ip = exchange.client_ip
        self._origin = exchange.connection.origin
        # Mostly there is one node. Others by their ids, with the node, so that the id stays its own.
        self._node: Node | None = None
        self._only: PreparedRequest | None = None
        self._others: dict[int, tuple[Node, PreparedRequest]] | None = None

    def holds(self, exchange: Exchange, route: CompiledRoute, upstream: Upstream) -> bool:
        """Whether the same is to be sent now."""
        return (
            self._upstream is upstream
            and self._pairs == exchange.fields.pairs
            and self._target == exchange.target
            and self._method == exchange.method
            and self._origin == exchange.connection.origin
            and self._client_ip == exchange.client_ip
            and self._host == exchange.upstream_host
            and self._timeout is route.timeout
            and self._tunnels is route.tunnels
        )

    def to(self, node: Node) -> PreparedRequest | None:
        """What is sent to a node."""
        if self._node is node:
            return self._only
        found = None if self._others is None else self._others.get(id(node))
        return None if found is None else found[1]

    def keep(self, node: Node, prepared: PreparedRequest) -> None:
        """Remember what is sent to a node."""
        prepared.keep()
        if self._node is None:
            self._node, self._only = node, prepared
            return
        if self._others is None:
            self._others = {}
        self._others[id(node)] = (node, prepared)


class Dispatcher:
    """Prepares requests for nodes and hands them to the treq client."""

    def __init__(self, client: ProxyClient, trusted: AddressSet | None, *, tunnels: bool = False) -> None:
        """
        Args:
            trusted: Addresses of peers whose forwarding fields are believed; None if nobody said.
            tunnels: Whether the server in front can change the protocol of its connections.
        """
        self._tunnels = tunnels
        self._relay = client.relay
        self._trusted = trusted
        self._peers: dict[tuple[str, Node, bytes | None, bool, Trust], Peer] = {}
        # The same by the node's own object, where the peer follows from the node alone.
        self._known: dict[int, tuple[Node, str, Peer]] = {}

    def send(
        self, exchange: Exchange, node: Node, body: IBodyProducer | None, waiter: ResponseWaiter
    ) -> Cancellable:
        """
        Send the request to *node*. *waiter* is told of the response, maybe before this returns.

        Returns:
            What gives the try up.
        """
        route = exchange.route
        assert route is not None
        compiled = exchange.upstream or route.upstream
        assert compiled is not None
        upstream = compiled.upstream
        memory = exchange.memory
        if memory is not None and body is None:
            sent: Sent | None = memory.sent
            if sent is not None and sent.holds(exchange, route, upstream):
                memory.misses = 0
            elif not memory.again:
                memory.again = True
                sent = None
            elif memory.misses < _MISSES and not compiled.secured and speaks_for_itself(exchange.fields):
                # Where something is new in each request (an id, say) it would never hold: hence the limit.
                memory.misses += 1
                sent = memory.sent = Sent(exchange, route, upstream)
            else:
                sent = None
            if sent is not None:
                prepared = sent.to(node)
                if prepared is None:
                    prepared = self._prepare(exchange, route, compiled, node)
                    sent.keep(node, prepared)
                exchange.sent = prepared
                relay = self._relay
                return relay(prepared, None, waiter)
        return self._relay(self._prepare(exchange, route, compiled, node, body), body, waiter)

    def _prepare(
        self,
        exchange: Exchange,
        route: CompiledRoute,
        compiled: CompiledUpstream,
        node: Node,
        body: IBodyProducer | None = None,
    ) -> PreparedRequest:
        upstream = compiled.upstream
        client_host = exchange.fields.get(b"host") or b""
        if client_host and exchange.upstream_host is None and upstream.pass_host == _PASSED_ON:
            host = client_host
        else:
            host = self._host(exchange, upstream, node, client_host)
        known = self._known.get(id(node))
        if known is not None and known[0] is node and known[1] is upstream.scheme:
            peer = known[2]
        else:
            peer = self._peer(upstream, node, host, compiled, exchange)
        connection = exchange.connection
        pairs = request_fields(
            exchange.fields,
            host=host,
            client_host=client_host or exchange.host.encode(),
            client_ip=exchange.client_ip.encode(),
            scheme=b"https" if connection.tls else b"http",
            port=port_of(client_host, connection.server_port),
            trusted=None if self._trusted is None else connection.client_ip in self._trusted,
            received=exchange.request.fields,
        )
        switch = None
        if route.tunnels and self._tunnels and body is None:
            switch = requested(exchange.fields, exchange.request.version)
            if switch is not None:
                pairs += ((b"connection", switch[0]), (b"upgrade", switch[1]))
        return PreparedRequest(
            peer,
            exchange.method,
            exchange.target,
            pairs,
            route.timeout or upstream.timeout,
            upstream.keepalive_pool,
            switching=switch is not None,
        )

    def _host(self, exchange: Exchange, upstream: Upstream, node: Node, client_host: bytes) -> bytes:
        """The Host to send (data-plane contract §7)."""
        return upstream_host_value(upstream, node, client_host=client_host, override=exchange.upstream_host)

    def _peer(
        self, upstream: Upstream, node: Node, host: bytes, compiled: CompiledUpstream, exchange: Exchange
    ) -> Peer:
        scheme = _HTTP_SCHEMES.get(upstream.scheme, "http")
        name = None if scheme == "http" else host
        trust = exchange.snapshot.certificates.trust(compiled) if compiled.secured else _PLAIN
        key = (scheme, node, name, upstream.tls_verify, trust)
        peer = self._peers.get(key)
        if peer is None:
            if len(self._peers) >= _PEER_LIMIT:
                self._peers.clear()
            server_name = None if name is None else _without_port(name.decode("latin-1")) or None
            peer = Peer(
                scheme,
                node.host,
                node.port,
                server_name,
                upstream.tls_verify,
                trust.identity,
                trust.authorities,
            )
            self._peers[key] = peer
        if name is None:
            if len(self._known) >= _PEER_LIMIT:
                self._known.clear()
            self._known[id(node)] = (node, upstream.scheme, peer)
        return peer


def _without_port(host: str) -> str:
    """The name in a Host as it stands in SNI: without port, in lower case, without a dot at its end."""
    return without_dot(split_port(host)[0].strip("[]").lower())
