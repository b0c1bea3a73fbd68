from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.core.consumers import Identity
from gateway.core.exchange import ContentTooLarge
from gateway.core.owners import entry_of
from gateway.model.consumer import Consumer
from gateway.testing.exchanges import consumer, exchange
from gateway.testing.plugins import finish


class ExchangeTests(SynchronousTestCase):
    def test_defaults(self) -> None:
        """A plain exchange is a GET of ``/`` from loopback, with nothing decided."""
        ex = exchange()
        self.assertEqual((ex.method, ex.target, ex.path, ex.host), (b"GET", b"/", "/", ""))
        self.assertEqual((ex.connection.client_ip, ex.connection.tls), ("127.0.0.1", False))
        self.assertEqual((ex.route, ex.consumer, ex.outcome, ex.status), (None, None, None, 0))
        self.assertEqual((dict(ex.snapshot.identities), dict(ex.snapshot.consumers)), ({}, {}))

    def test_content(self) -> None:
        """Content has arrived; a hook may wait for it, up to a limit, and have its beginning recorded."""
        ex = exchange("POST", content=b"hello")
        self.assertEqual(finish(ex.read_content(5)), b"hello")
        self.assertRaises(ContentTooLarge, finish, ex.read_content(4))
        assert ex.source is not None
        ex.source.record(3)
        ex.source.record(2)
        self.assertEqual((ex.source.recorded, ex.source.received, ex.bytes_received), (b"hel", 5, 5))
        self.assertEqual(finish(exchange().read_content(5)), b"")
        copies: list[bytes | None] = []
        for limit in (5, 4):
            ex.source.record(limit, copies.append)
        self.assertEqual(copies, [b"hello", None])

    def test_request(self) -> None:
        """What was asked for is there, as the wire would have brought it."""
        ex = exchange(
            "POST",
            "/a%20b?x=1",
            [("Host", "A.test:8080"), ("X-Two", "1"), ("x-two", "ä")],
            client_ip="192.0.2.1",
            tls=True,
            now=5.0,
            path="/a b",
        )
        self.assertEqual((ex.method, ex.target, ex.path, ex.query), (b"POST", b"/a%20b?x=1", "/a b", b"x=1"))
        self.assertEqual(ex.fields.get_all(b"x-two"), [b"1", b"\xe4"])
        self.assertEqual((ex.connection.client_ip, ex.connection.tls, ex.started_s), ("192.0.2.1", True, 5.0))
        self.assertEqual(exchange(target="/p?q").path, "/p")

    def test_hosts(self) -> None:
        """The host comes without port and final dot, in lower case."""
        for value, host in (
            ("a.test", "a.test"),
            ("A.Test:80", "a.test"),
            ("a.test.", "a.test"),
            ("[::1]", "[::1]"),
            ("[::1]:80", "[::1]"),
        ):
            self.assertEqual(exchange(headers=[("Host", value)]).host, host)

    def test_request_stays(self) -> None:
        """Changing the exchange leaves the request as it arrived."""
        ex = exchange(headers=[("a", "1")])
        ex.fields.set(b"a", b"2")
        self.assertEqual(ex.request.fields, ((b"a", b"1"),))

    def test_spoofed_fields(self) -> None:
        """As on the data path, a client's own consumer fields never reach a plugin."""
        ex = exchange(headers=[("X-Consumer-Username", "root"), ("a", "1")])
        self.assertEqual(ex.fields.pairs, [(b"a", b"1")])

    def test_identities(self) -> None:
        """Plugins find the consumers and identities they were promised."""
        jack = consumer("jack")
        identity = Identity(jack, "c1", None)
        ex = exchange(identities={"key-auth": {"k": identity}}, consumers={"jack": jack})
        self.assertIs(ex.snapshot.identities["key-auth"]["k"], identity)
        self.assertIs(ex.snapshot.consumers["jack"], jack)


class ConsumerTests(SynchronousTestCase):
    def test_as_compiled(self) -> None:
        """A consumer for tests is what a snapshot would hold."""
        made = consumer("jack", labels={"custom_id": "4711"}, plugins={"p": {}}, group_id="g")
        document = Consumer("jack", {"p": {}}, {"custom_id": "4711"}, "g")
        self.assertEqual(made, entry_of(document, lambda name: False))
        self.assertEqual((made.wire_username, made.wire_custom_id), (b"jack", b"4711"))
