"""From an exchange and a node to the request that is sent."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from gateway.core.addresses import AddressSet
from gateway.core.compiler import Compiler
from gateway.core.exchange import Exchange
from gateway.core.fields import Fields
from gateway.core.opening import match_route
from gateway.proxy import dispatch
from gateway.proxy.dispatch import Dispatcher
from gateway.upstream.request import PreparedRequest
from tests.core.configs import FakePlugins, ask, change, records, route


class FakeClient:
    """Writes down what it is asked to send."""

    def __init__(self) -> None:
        self.sent: list[tuple[PreparedRequest, object]] = []

    def relay(self, request: PreparedRequest, body: object, waiter: object) -> object:
        self.sent.append((request, body))
        return self


class DispatchTestCase(SynchronousTestCase):
    trusted: AddressSet | None = None

    def setUp(self) -> None:
        self.client = FakeClient()
        client: Any = self.client
        self.dispatcher = Dispatcher(client, self.trusted)

    def exchange(self, host: str = "Example.com:9080", **upstream: Any) -> Exchange:
        nodes = [{"host": "node.example", "port": 8080, "weight": 1}]
        definition = {"name": "s", "upstream": {"nodes": nodes, **upstream}}
        changes = [change("service", "s", definition), route("r", "/x", timeout={"read": 7})]
        exchange = ask(Compiler(FakePlugins(), "default").load(records(*changes), 1), "/x?a=1", host=host)
        match_route(exchange)
        return exchange

    def send(self, exchange: Exchange, body: object = None) -> PreparedRequest:
        assert exchange.route is not None
        assert exchange.route.upstream is not None
        content: Any = body
        waiter: Any = None
        self.dispatcher.send(exchange, exchange.route.upstream.upstream.nodes[0], content, waiter)
        return self.client.sent[-1][0]

    def fields(self, **upstream: Any) -> dict[bytes, bytes]:
        return dict(self.send(self.exchange(**upstream)).fields)


class TunnelTests(DispatchTestCase):
    """``enable_websocket`` (data-plane contract §10)."""

    ASK = ((b"connection", b"Upgrade"), (b"upgrade", b"websocket"))

    def asked(self, *, route_says: bool | None, tunnels: bool, body: object = None) -> PreparedRequest:
        client: Any = self.client
        self.dispatcher = Dispatcher(client, None, tunnels=tunnels)
        nodes = [{"host": "node.example", "port": 8080, "weight": 1}]
        definition = {"name": "s", "upstream": {"nodes": nodes}}
        flag = {} if route_says is None else {"enable_websocket": route_says}
        changes = [change("service", "s", definition), route("r", "/x", **flag)]
        exchange = ask(Compiler(FakePlugins(), "default").load(records(*changes), 1), "/x")
        exchange.fields.pairs += self.ASK
        match_route(exchange)
        return self.send(exchange, body)

    def test_asked(self) -> None:
        """The client's own fields are passed on, and 101 is an answer."""
        sent = self.asked(route_says=True, tunnels=True)
        self.assertTrue(sent.switching)
        self.assertEqual(sent.fields[-2:], list(self.ASK))

    def test_not(self) -> None:
        """Without the flag, with content, or where the server cannot, they stop here."""
        for says, can, body in (
            (None, True, None),
            (False, True, None),
            (True, False, None),
            (True, True, 1),
        ):
            sent = self.asked(route_says=says, tunnels=can, body=body)
            self.assertFalse(sent.switching)
            self.assertEqual({name for name, _ in sent.fields} & {b"connection", b"upgrade"}, set())


class DispatcherTests(DispatchTestCase):
    def test_the_request(self) -> None:
        """Method, target, node and time limits are the exchange's and its route's; content goes along."""
        body = object()
        sent = self.send(self.exchange(), body)
        self.assertEqual((sent.method, sent.target), (b"GET", b"/x?a=1"))
        self.assertEqual((sent.peer.scheme, sent.peer.host, sent.peer.port), ("http", "node.example", 8080))
        self.assertEqual((sent.timeout.connect_s, sent.timeout.read_s, sent.keepalive.size), (60, 7, 320))
        self.assertIs(self.client.sent[-1][1], body)

    def test_about_the_client(self) -> None:
        """The upstream is told who the client is and what it asked for."""
        fields = self.fields()
        self.assertEqual(fields[b"x-real-ip"], b"127.0.0.1")
        self.assertEqual(fields[b"x-forwarded-for"], b"127.0.0.1")
        self.assertEqual(fields[b"x-forwarded-proto"], b"http")
        self.assertEqual(fields[b"x-forwarded-host"], b"Example.com:9080")
        self.assertEqual(fields[b"x-forwarded-port"], b"9080")

    def test_about_a_client_behind_a_proxy(self) -> None:
        """The upstream is told of the client that a trusted proxy, or a plugin, has told of."""
        exchange = self.exchange()
        exchange.client_ip = "192.0.2.7"
        fields = dict(self.send(exchange).fields)
        self.assertEqual((fields[b"x-real-ip"], fields[b"x-forwarded-for"]), (b"192.0.2.7", b"192.0.2.7"))

    def test_host(self) -> None:
        """The Host is the client's, the node's, or the configured one, as ``pass_host`` says."""
        self.assertEqual(self.fields()[b"host"], b"Example.com:9080")
        self.assertEqual(self.fields(pass_host="node")[b"host"], b"node.example:8080")
        rewritten = self.fields(pass_host="rewrite", upstream_host="other.example")
        self.assertEqual(rewritten[b"host"], b"other.example")

    def test_host_of_a_plugin(self) -> None:
        """A plugin's Host counts where the client's would be passed on."""
        exchange = self.exchange()
        exchange.upstream_host = b"chosen.example"
        self.assertEqual(dict(self.send(exchange).fields)[b"host"], b"chosen.example")
        exchange = self.exchange(pass_host="node")
        exchange.upstream_host = b"chosen.example"
        self.assertEqual(dict(self.send(exchange).fields)[b"host"], b"node.example:8080")

    def test_peers_are_made_once(self) -> None:
        """Requests to one node share its connections; with TLS, those with one server name do."""
        first = self.send(self.exchange()).peer
        self.assertIs(self.send(self.exchange(host="other.example")).peer, first)
        self.assertIsNone(first.server_name)
        tls = self.send(self.exchange(scheme="https")).peer
        self.assertEqual((tls.scheme, tls.server_name, tls.verify), ("https", "example.com", False))
        other = self.send(self.exchange(host="other.example", scheme="https")).peer
        self.assertEqual(other.server_name, "other.example")

    def test_verification(self) -> None:
        """A certificate is checked where the upstream asks for it."""
        self.assertTrue(self.send(self.exchange(scheme="https", tls_verify=True)).peer.verify)


class TrustedPeerTests(DispatchTestCase):
    trusted = AddressSet.parse(["127.0.0.0/8"])

    def test_its_word_counts(self) -> None:
        """What a trusted peer says about its client is passed on."""
        exchange = self.exchange()
        exchange.fields.add(b"x-forwarded-proto", b"https")
        exchange.fields.add(b"x-forwarded-for", b"9.9.9.9")
        fields = dict(self.send(exchange).fields)
        self.assertEqual(fields[b"x-forwarded-proto"], b"https")
        self.assertEqual(fields[b"x-forwarded-for"], b"9.9.9.9, 127.0.0.1")

    def test_others_are_not_believed(self) -> None:
        """What a client says that is not among the trusted ones is replaced; its chain is dropped."""
        exchange = self.exchange()
        head = (*exchange.request.fields, (b"x-forwarded-proto", b"https"), (b"x-forwarded-for", b"9.9.9.9"))
        exchange.request = evolve(exchange.request, fields=head)
        exchange.fields = Fields(head)
        exchange.connection = evolve(exchange.connection, client_ip="2001:db8::7")
        exchange.client_ip = "2001:db8::7"
        fields = dict(self.send(exchange).fields)
        self.assertEqual(
            (fields[b"x-forwarded-proto"], fields[b"x-forwarded-for"]), (b"http", b"2001:db8::7")
        )


class NodeTests(DispatchTestCase):
    """Which name a node is called by."""

    def to(self, scheme: str, host: str, port: int | None, **more: Any) -> dict[str, Any]:
        node = {"host": host, "weight": 1, **({} if port is None else {"port": port})}
        return {"scheme": scheme, "nodes": [node], **more}

    def test_host_of_nodes(self) -> None:
        """The node's own Host has a port only if it is not the scheme's; IPv6 addresses are in brackets."""
        for scheme, host, port, sent in (
            ("http", "node.example", None, b"node.example"),
            ("http", "node.example", 443, b"node.example:443"),
            ("https", "node.example", None, b"node.example"),
            ("https", "node.example", 80, b"node.example:80"),
            ("http", "[2001:db8::1]", None, b"[2001:db8::1]"),
            ("http", "[2001:db8::1]", 8080, b"[2001:db8::1]:8080"),
        ):
            self.assertEqual(self.fields(**self.to(scheme, host, port, pass_host="node"))[b"host"], sent)

    def test_client_without_host(self) -> None:
        """For a client that sent no Host it is the node's: HTTP/1.1 needs one."""
        exchange = self.exchange()
        exchange.fields.remove(b"host")
        self.assertEqual(self.send(exchange).fields[0], (b"host", b"node.example:8080"))

    def test_server_name(self) -> None:
        """With TLS the name asked for is the Host that is sent: no port, no dot at the end, lower case."""
        upstream = self.to("https", "10.0.0.1", None)
        for host, name in (
            ("Example.COM:9443", "example.com"),
            ("example.com.", "example.com"),
            ("[2001:DB8::1]:443", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("192.0.2.1:443", "192.0.2.1"),
            (":443", None),
        ):
            peer = self.send(self.exchange(host, **upstream)).peer
            self.assertEqual((peer.host, peer.port, peer.server_name), ("10.0.0.1", 443, name))
        rewritten = {**upstream, "pass_host": "rewrite", "upstream_host": "fixed.example:8443"}
        self.assertEqual(self.send(self.exchange(**rewritten)).peer.server_name, "fixed.example")
        named = self.to("https", "node.example", 8443, pass_host="node")
        self.assertEqual(self.send(self.exchange(**named)).peer.server_name, "node.example")

    def test_spellings_share(self) -> None:
        """A client cannot have a connection of its own made by spelling a name another way."""
        upstream = self.to("https", "10.0.0.1", None)
        hosts = ("example.com", "EXAMPLE.com", "example.com:443", "example.com:1", "example.com.")
        self.assertEqual(len({self.send(self.exchange(host, **upstream)).peer for host in hosts}), 1)

    def test_verified_apart(self) -> None:
        """A connection whose certificate nobody looked at is not used where it must be verified."""
        upstream = self.to("https", "10.0.0.1", None)
        peers = [self.send(self.exchange(**upstream, tls_verify=verify)).peer for verify in (False, True)]
        self.assertNotEqual(*peers)

    def test_grpc(self) -> None:
        """The gRPC schemes go over HTTP, in the clear or over TLS."""
        for scheme, wire, port in (("grpc", "http", 80), ("grpcs", "https", 443)):
            peer = self.send(self.exchange(**self.to(scheme, "10.0.0.1", None))).peer
            self.assertEqual((peer.scheme, peer.port), (wire, port))

    def test_bounded(self) -> None:
        """However many names clients invent, what is remembered of them is bounded."""
        self.patch(dispatch, "_PEER_LIMIT", 10)
        exchange = self.exchange(**self.to("https", "10.0.0.1", None))
        for number in range(50):
            exchange.fields.set(b"host", b"h%d.example" % number)
            self.assertEqual(self.send(exchange).peer.server_name, f"h{number}.example")
            self.assertLessEqual(len(self.dispatcher._peers), 10)


class ConnectionOptionTests(DispatchTestCase):
    def test_named(self) -> None:
        """A client's Connection field does not remove what the gateway or a plugin tells the upstream."""
        exchange = self.exchange("example.com")
        head = (
            (b"host", b"example.com"),
            (b"connection", b"X-Consumer-Username, Host, X-Real-IP, X-Added, X-Mine, Authorization"),
            (b"x-mine", b"1"),
            (b"authorization", b"Bearer x"),
        )
        exchange.request = evolve(exchange.request, fields=head)
        exchange.fields = Fields(head)
        exchange.fields.add(b"x-consumer-username", b"jack")
        exchange.fields.add(b"x-added", b"by a plugin")
        sent = dict(self.send(exchange).fields)
        for name, value in (
            (b"host", b"example.com"),
            (b"x-real-ip", b"127.0.0.1"),
            (b"x-consumer-username", b"jack"),
            (b"x-added", b"by a plugin"),
            (b"authorization", b"Bearer x"),
        ):
            self.assertEqual(sent.get(name), value)
        self.assertNotIn(b"x-mine", sent)
        self.assertNotIn(b"connection", sent)
