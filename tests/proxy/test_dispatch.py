"""From an exchange and a node to the request that is sent."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from gateway.core.addresses import AddressSet
from gateway.core.compiler import Compiler
from gateway.core.exchange import Exchange
from gateway.core.opening import match_route
from gateway.proxy.dispatch import Dispatcher
from gateway.upstream.request import PreparedRequest
from tests.core.configs import FakePlugins, ask, change, records, route


class FakeClient:
    """Writes down what it is asked to send."""

    def __init__(self) -> None:
        self.sent: list[tuple[PreparedRequest, object]] = []

    def send(self, request: PreparedRequest, body: object) -> Deferred[Any]:
        self.sent.append((request, body))
        return Deferred()


class DispatcherTests(SynchronousTestCase):
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
        self.dispatcher.send(exchange, exchange.route.upstream.upstream.nodes[0], content)
        return self.client.sent[-1][0]

    def fields(self, **upstream: Any) -> dict[bytes, bytes]:
        return dict(self.send(self.exchange(**upstream)).fields)

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


class TrustedPeerTests(DispatcherTests):
    trusted = AddressSet.parse(["127.0.0.0/8"])

    def test_its_word_counts(self) -> None:
        """What a trusted peer says about its client is passed on."""
        exchange = self.exchange()
        exchange.fields.add(b"x-forwarded-proto", b"https")
        exchange.fields.add(b"x-forwarded-for", b"9.9.9.9")
        fields = dict(self.send(exchange).fields)
        self.assertEqual(fields[b"x-forwarded-proto"], b"https")
        self.assertEqual(fields[b"x-forwarded-for"], b"9.9.9.9, 127.0.0.1")
