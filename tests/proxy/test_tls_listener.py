from __future__ import annotations

from typing import Any

from OpenSSL import SSL, _util
from twisted.internet.address import IPv4Address
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gateway.core.certificates import CertificateTable, ServedSsl
from gateway.core.compiler import Compiler
from gateway.model.ssl import Ssl
from gateway.proxy.lean import LeanFactory
from gateway.proxy.resource import ProxyResource
from gateway.proxy.site import ProxySite
from gateway.proxy.tls_contexts import ContextLoader
from gateway.proxy.tls_listener import Certificates, TLSListenerFactory
from gateway.settings import TLS_CIPHERS
from tests import certs
from tests.core.configs import FakePlugins, change, records, route, service
from tests.proxy.fakes import InMemoryGateway
from tests.proxy.runner_kit import TestClock
from tests.proxy.server_contract import Transport
from tests.proxy.tls_kit import TLSClient, client_context

A, B = certs.pair("a.test"), certs.pair("b.test")
RSA = certs.pair("a.test", kind="rsa")
CA = certs.authority("clients.test")
FRIEND = certs.pair("friend", issuer=CA)
STRANGER = certs.pair("stranger", issuer=certs.authority("strangers.test"))
TLS12 = (SSL.TLS1_2_VERSION, SSL.TLS1_2_VERSION)
TLS13 = (SSL.TLS1_3_VERSION, SSL.TLS1_3_VERSION)
BOTH = (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION)
_lib: Any = _util.lib


class Echo(Protocol):
    def dataReceived(self, data: bytes) -> None:
        transport: Any = self.transport
        session = transport.tls_session
        transport.write(b"%s %s: %s" % (session.server_name.encode(), str(session.verified).encode(), data))


class ListenerCase(SynchronousTestCase):
    """A listener whose server says what it knows of its client."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.loader = ContextLoader({}, TLS_CIPHERS)
        self.served: dict[str, Ssl] = {}
        self.certificates = Certificates(self.table)
        self.factory = self.listener(Factory.forProtocol(Echo), max_waiting=2, hello_timeout_s=7)

    def listener(self, wrapped: Any, **more: Any) -> TLSListenerFactory:
        return TLSListenerFactory(self.certificates, wrapped, self.clock, **more)

    def table(self) -> CertificateTable:
        return CertificateTable.of(ServedSsl(one, self.loader.load(one)) for one in self.served.values())

    def serve(self, id: str, pair: certs.Pair, *snis: str, **more: Any) -> None:
        self.served[id] = Ssl.parse(id, {"cert": pair.cert, "key": pair.key, "snis": list(snis), **more})

    def client(self, name: str | None = None, *args: Any, **more: Any) -> TLSClient:
        return TLSClient(self.factory, name, client_context(*args, **more)).handshake()


class NameTests(ListenerCase):
    def setUp(self) -> None:
        super().setUp()
        self.serve("a", A, "a.test")
        self.serve("w", B, "*.b.test")

    def test_by_name(self) -> None:
        """The name decides what is shown, over TLS 1.2 as over 1.3, and the server above knows it."""
        for versions in (TLS12, TLS13):
            for name, pair in (("a.test", A), ("A.Test.", A), ("x.b.test", B)):
                client = self.client(name, versions=versions)
                self.assertEqual((client.serial, client.failure), (pair.serial, None))
                plain = name.lower().removesuffix(".").encode()
                self.assertEqual(client.send(b"hi"), plain + b" False: hi")

    def test_no_match(self) -> None:
        """A name that nothing is for, or none at all, ends the handshake with an alert (contract §12)."""
        for name in ("x.test", "b.test", "a.b.b.test"):
            client = self.client(name)
            self.assertIn("unrecognized name", client.failure or "")
            self.assertTrue(client.transport.disconnected)
        client = self.client()
        self.assertIn("handshake failure", client.failure or "")

    def test_fallback(self) -> None:
        """A certificate from gw.ini is for all other names, and for clients that send none."""
        self.certificates.fallback = self.loader.context([(RSA.cert, RSA.key)])
        for name, serial in (("a.test", A.serial), ("x.test", RSA.serial), (None, RSA.serial)):
            self.assertEqual(self.client(name).serial, serial)
        client = self.client()
        self.assertEqual(client.send(b"hi"), b" False: hi")

    def test_fallback_sni(self) -> None:
        """Clients that send no name can be taken for those that ask for one; unknown names cannot."""
        self.certificates.fallback_sni = "a.test"
        self.assertEqual(self.client().serial, A.serial)
        self.assertIn("unrecognized name", self.client("x.test").failure or "")

    def test_two_kinds_of_keys(self) -> None:
        """Clients get the kind of key they can use."""
        self.serve("a", A, "a.test", certs=[RSA.cert], keys=[RSA.key])
        for suite, pair in ((b"ECDHE-ECDSA-AES128-GCM-SHA256", A), (b"ECDHE-RSA-AES128-GCM-SHA256", RSA)):
            self.assertEqual(self.client("a.test", versions=TLS12, ciphers=suite).serial, pair.serial)

    def test_replaced(self) -> None:
        """A new certificate is shown in the next handshake; connections that are open go on."""
        old = self.client("a.test")
        self.serve("a", B, "a.test")
        self.assertEqual(self.client("a.test").serial, B.serial)
        self.assertEqual(old.send(b"still here"), b"a.test False: still here")
        del self.served["a"]
        self.assertIn("unrecognized name", self.client("a.test").failure or "")
        self.assertEqual(old.send(b"and here"), b"a.test False: and here")


class VersionTests(ListenerCase):
    def test_default(self) -> None:
        """TLS 1.2 and 1.3, nothing older."""
        self.serve("a", A, "a.test")
        old = (SSL.TLS1_1_VERSION, SSL.TLS1_1_VERSION)
        client = self.client("a.test", versions=old, ciphers=b"ALL:@SECLEVEL=0")
        self.assertIn("protocol version", client.failure or "")

    def test_asked_for(self) -> None:
        """An ssl chooses its versions, and the choice is its own: a client of both gets what it allows."""
        both = (SSL.TLS1_1_VERSION, SSL.TLS1_3_VERSION)
        for index, name in enumerate(("TLSv1.1", "TLSv1.2", "TLSv1.3")):
            self.serve("a", A, "a.test", ssl_protocols=[name])
            self.serve("b", A, "b.test")
            client = self.client("a.test", versions=both, ciphers=b"ALL:@SECLEVEL=0")
            self.assertEqual((client.connection.get_protocol_version_name(), client.failure), (name, None))
            other = self.client("b.test", versions=both, ciphers=b"ALL:@SECLEVEL=0")
            self.assertEqual(other.connection.get_protocol_version_name(), "TLSv1.3", index)

    def test_with_a_gap(self) -> None:
        """The versions need not follow one another."""
        self.serve("a", A, "a.test", ssl_protocols=["TLSv1.1", "TLSv1.3"])
        self.assertIsNotNone(self.client("a.test", versions=TLS12).failure)
        self.assertIsNone(self.client("a.test").failure)


class ResumptionCase(ListenerCase):
    """Clients that come back with the session of an earlier connection."""

    timeout_s = 600

    def setUp(self) -> None:
        super().setUp()
        self.loader = ContextLoader({}, TLS_CIPHERS, session_timeout_s=self.timeout_s)
        # Kept as a snapshot keeps them: the same content is the same context as long as it is in use.
        self.kept: list[Any] = []

    def table(self) -> CertificateTable:
        made = super().table()
        self.kept.append(made)
        return made

    def back(
        self, first: str, second: str, *, versions: tuple[int, int] = TLS13, between: Any = lambda: None
    ) -> tuple[bool, str | None]:
        """Come as *first*, then again as *second*: whether the session was resumed, and what failed."""
        context = client_context(FRIEND, versions=versions)
        earlier = TLSClient(self.factory, first, context).handshake()
        earlier.send(b"x")
        # One that does not end in order is not to be resumed, as OpenSSL sees it.
        earlier.connection.shutdown()
        session = earlier.connection.get_session()
        assert session is not None
        between()
        again = TLSClient(self.factory, second, context)
        again.connection.set_session(session)
        again.handshake()
        if again.failure is None:
            self.said = again.send(b"hi")
        resumed = bool(_lib.SSL_session_reused(again.connection._ssl))  # type: ignore[attr-defined]
        return resumed, again.failure


class ResumptionTests(ResumptionCase):
    def test_same_name(self) -> None:
        """A client of TLS 1.3 resumes its session; the server above knows the name as ever."""
        self.serve("a", A, "a.test")
        self.assertEqual(self.back("a.test", "a.test"), (True, None))
        self.assertEqual(self.said, b"a.test False: hi")
        self.assertEqual(self.back("a.test", "A.test."), (True, None))

    def test_old_versions(self) -> None:
        """In TLS 1.2 a ticket's key would open what was said: there are no tickets, nor anything else."""
        self.serve("a", A, "a.test")
        self.assertEqual(self.back("a.test", "a.test", versions=TLS12), (False, None))
        self.serve("a", A, "a.test", ssl_protocols=["TLSv1.2"])
        self.assertEqual(self.back("a.test", "a.test", versions=BOTH), (False, None))

    def test_another_name(self) -> None:
        """Never under another name, be it of the same ssl, of one with the same certificate, or unknown."""
        self.serve("a", A, "a.test", "*.a.test", "b.test")
        self.serve("c", A, "c.test")
        self.serve("d", B, "d.test")
        self.certificates.fallback = self.loader.context([(RSA.cert, RSA.key)])
        for other in ("b.test", "x.a.test", "c.test", "d.test", "unknown.test"):
            self.assertEqual(self.back("a.test", other), (False, None), other)
            self.assertEqual(self.back(other, "a.test"), (False, None), other)
        self.assertEqual(self.back("unknown.test", "unknown.test"), (True, None))

    def test_client_certificates(self) -> None:
        """Who has to show a certificate shows it each time: no session is made there, and none taken."""
        self.serve("open", A, "a.test")
        for rule in ({"ca": CA.cert}, {"ca": CA.cert, "skip_mtls_uri_regex": ["^/open/"]}):
            self.serve("m", A, "m.test", client=rule)
            self.assertEqual(self.back("m.test", "m.test"), (False, None))
            self.assertEqual(self.said, b"m.test True: hi")
            self.assertEqual(self.back("a.test", "m.test"), (False, None))
            self.assertEqual(self.said, b"m.test True: hi")
            self.assertEqual(self.back("m.test", "a.test"), (False, None))
            self.assertEqual(self.said, b"a.test False: hi")

    def test_rule_that_comes_later(self) -> None:
        """A session from before a host asked for certificates does not lead past the rule."""
        self.serve("a", A, "a.test")

        def guard() -> None:
            self.serve("a", A, "a.test", client={"ca": certs.authority("strangers.test").cert})

        resumed, failure = self.back("a.test", "a.test", between=guard)
        self.assertFalse(resumed)
        self.assertIsNotNone(failure)

    def test_replaced(self) -> None:
        """A certificate that is replaced ends the sessions made with it."""
        self.serve("a", A, "a.test")
        other = certs.pair("a.test", tag="other")
        resumed = self.back("a.test", "a.test", between=lambda: self.serve("a", other, "a.test"))
        self.assertEqual(resumed, (False, None))
        # What changes nothing of the context leaves them.
        again = self.back("a.test", "a.test", between=lambda: self.serve("b", B, "b.test"))
        self.assertEqual(again, (True, None))


class NoResumptionTests(ResumptionCase):
    timeout_s = 0

    def test_none(self) -> None:
        """With a timeout of 0 nothing is resumed."""
        self.serve("a", A, "a.test", "b.test")
        for versions in (TLS12, TLS13):
            for name in ("a.test", "b.test"):
                self.assertEqual(self.back("a.test", name, versions=versions), (False, None))


class ClientCertificateTests(ListenerCase):
    def setUp(self) -> None:
        super().setUp()
        self.serve("a", A, "a.test", client={"ca": CA.cert})

    def test_needed(self) -> None:
        """Without a certificate of the right authority the handshake fails (contract §12)."""
        for versions in (TLS12, TLS13):
            good = self.client("a.test", FRIEND, versions=versions)
            self.assertIsNone(good.failure)
            self.assertEqual(good.send(b"hi"), b"a.test True: hi")
            for wrong in (None, STRANGER):
                bad = self.client("a.test", wrong, versions=versions)
                self.assertIsNotNone(bad.failure)
                self.assertTrue(bad.transport.disconnected)

    def test_optional(self) -> None:
        """Where some paths are open the handshake takes everybody, and it is known who has shown what."""
        self.serve("a", A, "a.test", client={"ca": CA.cert, "skip_mtls_uri_regex": ["^/open/"]})
        for versions in (TLS12, TLS13):
            for identity, verified in ((FRIEND, b"True"), (None, b"False"), (STRANGER, b"False")):
                client = self.client("a.test", identity, versions=versions)
                self.assertEqual(client.send(b"hi"), b"a.test " + verified + b": hi")

    def test_depth(self) -> None:
        """As many intermediate authorities as ``depth`` says, and no more."""
        first = certs.pair("first.test", issuer=CA, ca=True)
        second = certs.pair("second.test", issuer=first, ca=True)
        near, far = certs.pair("near", issuer=first), certs.pair("far", issuer=second)
        for pair, chain, depth, fine in (
            (FRIEND, "", 0, True),
            (near, first.cert, 0, False),
            (near, first.cert, 1, True),
            (far, second.cert + first.cert, 1, False),
            (far, second.cert + first.cert, 2, True),
        ):
            self.serve("a", A, "a.test", client={"ca": CA.cert, "depth": depth})
            identity = certs.Pair(pair.cert + chain, pair.key, pair._certificate, pair._private)
            self.assertEqual(self.client("a.test", identity).failure is None, fine, (depth, chain))

    def test_authorities_named(self) -> None:
        """Clients are told which authorities are meant, so that they can choose."""
        client = self.client("a.test", FRIEND, versions=TLS12)
        self.assertEqual([name.CN for name in client.connection.get_client_ca_list()], ["clients.test"])


class BeforeTheNameTests(ListenerCase):
    def connect(self) -> Any:
        protocol = self.factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 5))
        transport = Transport()
        transport.protocol = protocol
        protocol.makeConnection(transport)
        return transport

    def test_slow(self) -> None:
        """A client that says nothing, or not enough, is cut off in time."""
        transport = self.connect()
        transport.protocol.dataReceived(b"\x16\x03")
        self.clock.advance(6.9)
        self.assertFalse(transport.aborted)
        self.clock.advance(0.2)
        self.assertTrue(transport.aborted)
        self.assertEqual(self.factory.waiting, set())

    def test_in_pieces(self) -> None:
        """A first message that comes byte by byte is as good as one in one piece."""
        self.serve("a", A, "a.test")
        client = TLSClient(self.factory, "a.test")
        for byte in client.hello():
            client.transport.protocol.dataReceived(bytes((byte,)))
        client.pump()
        self.assertEqual(client.send(b"hi"), b"a.test False: hi")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_too_many(self) -> None:
        """So many may wait and no more; each that goes on, or goes away, makes room."""
        self.serve("a", A, "a.test")
        first, second = self.connect(), self.connect()
        self.assertIsNone(self.factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 5)))
        second.loseConnection()
        self.assertIsNone(self.client("a.test").failure)
        self.assertEqual(len(self.factory.waiting), 1)
        first.loseConnection()
        self.assertEqual((self.factory.waiting, self.clock.getDelayedCalls()), (set(), []))

    def test_plain_http(self) -> None:
        """Who speaks HTTP to the port for HTTPS is told so."""
        transport = self.connect()
        transport.protocol.dataReceived(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        self.assertTrue(transport.value().startswith(b"HTTP/1.1 400 Bad Request\r\n"))
        self.assertTrue(transport.disconnected)

    def test_noise(self) -> None:
        """Anything else gets an alert; what follows it is not read."""
        transport = self.connect()
        reader = transport.protocol
        reader.dataReceived(b"SSH-2.0-x\r\n")
        self.assertEqual(transport.value(), b"\x15\x03\x01\0\2\2\x32")
        self.assertTrue(transport.disconnected)
        reader.dataReceived(b"more")
        self.assertEqual(transport.value(), b"\x15\x03\x01\0\2\2\x32")

    def test_stop(self) -> None:
        """When the listener stops those who wait may go on, until it waits no longer."""
        self.serve("a", A, "a.test")
        self.factory.doStart()
        late = TLSClient(self.factory, "a.test")
        transport = self.connect()
        self.factory.doStop()
        self.assertIsNone(late.handshake().failure)
        self.factory.drain_rest()
        self.assertTrue(transport.aborted)
        self.assertFalse(late.transport.aborted)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_full_above(self) -> None:
        """When the server above takes no more connections, this one is closed."""
        self.serve("a", A, "a.test")

        class Full(Factory):
            def buildProtocol(self, addr: Any) -> Any:
                return None

        self.factory = self.listener(Full())
        client = self.client("a.test")
        self.assertTrue(client.transport.aborted)


class HTTPCase(ListenerCase):
    """Requests over TLS to a gateway that answers 200 by itself."""

    def setUp(self) -> None:
        super().setUp()
        self.serve("a", A, "a.test")
        self.serve("m", B, "m.test", client={"ca": CA.cert, "skip_mtls_uri_regex": ["^/open"]})
        self.serve("n", B, "n.test", client={"ca": CA.cert})
        changes = [
            change("ssl", id, {"cert": B.cert, "key": B.key, "snis": list(one.snis), **_client(one)})
            for id, one in self.served.items()
        ]
        compiler = Compiler(FakePlugins(), "default", certificates=self.loader)
        answering = route("r", "/*", plugins={"stop": {"status": 200}})
        snapshot = compiler.load(records(service("s"), answering, *changes), 1)
        self.gateway = InMemoryGateway(snapshot, TestClock())
        self.certificates = Certificates(lambda: self.gateway.runner.snapshot.certificates)
        self.factory = self.listener(self.server())

    def server(self) -> Any:
        """The HTTP server's factory."""
        raise NotImplementedError

    def status(self, client: TLSClient, host: str, target: str = "/") -> int:
        answer = client.send(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        return int(answer.split()[1])


class HTTPContract:
    """What the rule of hosts and certificates means for requests (contract §12)."""

    def test_hosts(self: Any) -> None:
        """Who has shown no certificate is served what asks for none, and what is open."""
        client = self.client("m.test")
        self.assertEqual(self.status(client, "a.test"), 200)
        self.assertEqual(self.status(client, "m.test", "/open"), 200)
        self.assertEqual(self.status(client, "M.test:9443"), 400)
        self.assertEqual([x.outcome.reason for x in self.gateway.ended[2:]], ["client_certificate"])
        self.assertEqual(self.gateway.ended[2].outcome.detail, "the client has shown no certificate")

    def test_good_certificate(self: Any) -> None:
        """Who has shown a good one to a name is served as that name, on every request."""
        client = self.client("m.test", FRIEND)
        for target in ("/", "/open"):
            self.assertEqual(self.status(client, "m.test", target), 200)
        self.assertEqual(self.status(client, "a.test"), 200)

    def test_not_through_another_name(self: Any) -> None:
        """A handshake with one name opens no other that asks for certificates."""
        for name, identity in (("a.test", None), ("a.test", FRIEND), ("m.test", FRIEND)):
            self.assertEqual(self.status(self.client(name, identity), "n.test"), 400, name)

    def test_protocol(self: Any) -> None:
        """HTTP/1.1 is chosen where it is offered (ALPN), and spoken where nothing is offered."""
        for offered, chosen in (([b"x", b"http/1.1"], b"http/1.1"), ([b"x"], b""), ([], b"")):
            context = client_context()
            if offered:
                context.set_alpn_protos(offered)
            client = TLSClient(self.factory, "a.test", context).handshake()
            self.assertEqual(client.connection.get_alpn_proto_negotiated(), chosen)
            self.assertEqual(self.status(client, "a.test"), 200)

    def test_tls_known(self: Any) -> None:
        """The request is known to have come over TLS."""
        self.status(self.client("a.test"), "a.test")
        connection = self.gateway.ended[0].connection
        self.assertEqual((connection.tls, connection.session.server_name), (True, "a.test"))


class LeanHTTPTests(HTTPContract, HTTPCase):
    def server(self) -> Any:
        return LeanFactory(self.gateway.runner, self.clock, tls=True)


class WebHTTPTests(HTTPContract, HTTPCase):
    def server(self) -> Any:
        return ProxySite(ProxyResource(self.gateway.runner), self.gateway.runner.limits, self.clock)


def _client(ssl: Ssl) -> dict[str, Any]:
    if ssl.client is None:
        return {}
    patterns = list(ssl.client.skip_mtls_uri_regex)
    return {"client": {"ca": ssl.client.ca, **({"skip_mtls_uri_regex": patterns} if patterns else {})}}
