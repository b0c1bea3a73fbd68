"""The first steps of a request."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.core.addresses import AddressSet
from gateway.core.compiler import Compiler
from gateway.core.exchange import Connection, RequestHead
from gateway.core.opening import match_route, open_exchange
from gateway.core.real_ip import RealIp
from tests.core.configs import FakePlugins, ask, records, route, service


class OpeningTests(SynchronousTestCase):
    def test_identity_fields_are_dropped(self) -> None:
        """A client cannot say who it is: its own identity fields never reach an upstream."""
        fields = (
            (b"x-consumer-username", b"root"),
            (b"x-credential-identifier", b"c"),
            (b"x-consumer-custom-id", b"1"),
        )
        head = RequestHead(b"GET", b"/", (*fields, (b"x-other", b"stays")))
        snapshot = Compiler(FakePlugins(), "default").empty()
        connection = Connection("127.0.0.1", 1, "127.0.0.1", 2)
        exchange = open_exchange(head, connection, snapshot, path="/", host="", started_s=1.0, id="i")
        self.assertEqual(exchange.fields.pairs, [(b"x-other", b"stays")])
        self.assertEqual(len(exchange.request.fields), 4)

    def test_the_client_behind_a_proxy(self) -> None:
        """The address a trusted peer tells is the client's; a stranger's word is not believed."""
        snapshot = Compiler(FakePlugins(), "default").empty()
        rule = RealIp(b"x-real-ip", AddressSet.parse(["127.0.0.1"]))
        fields = ((b"x-real-ip", b"192.0.2.7:4711"), (b"x-consumer-username", b"root"))
        found = []
        for peer, real_ip, told in (
            ("127.0.0.1", rule, fields),
            ("192.0.2.1", rule, fields),
            ("127.0.0.1", None, fields),
            ("127.0.0.1", rule, fields[1:]),
        ):
            head = RequestHead(b"GET", b"/", told)
            connection = Connection(peer, 1, "127.0.0.1", 2)
            exchange = open_exchange(
                head, connection, snapshot, path="/", host="", started_s=1.0, id="i", real_ip=real_ip
            )
            self.assertNotIn(b"x-consumer-username", exchange.fields)
            found.append((exchange.client_ip, exchange.client_port))
        self.assertEqual(found, [("192.0.2.7", 4711), ("192.0.2.1", 1), ("127.0.0.1", 1), ("127.0.0.1", 1)])

    def test_the_route_is_noted(self) -> None:
        """The route and its parameters are on the exchange, and the stripped prefix is off the target."""
        compiler = Compiler(FakePlugins(), "default")
        snapshot = compiler.load(records(service("s", path_prefix="/api"), route("r", "/u/:id")), 1)
        exchange = ask(snapshot, "/api/u/7?q=1")
        match_route(exchange)
        assert exchange.route is not None
        self.assertEqual((exchange.route.id, dict(exchange.path_params)), ("r", {"id": "7"}))
        self.assertEqual((exchange.target, exchange.request.target), (b"/u/7?q=1", b"/api/u/7?q=1"))

    def test_no_route(self) -> None:
        """Without a route nothing is noted and the target stays."""
        exchange = ask(Compiler(FakePlugins(), "default").empty(), "/x")
        match_route(exchange)
        self.assertEqual((exchange.route, exchange.target), (None, b"/x"))
