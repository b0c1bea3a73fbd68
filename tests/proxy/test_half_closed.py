from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.python.failure import Failure

from gateway.core.certificates import CertificateTable, ServedSsl
from gateway.model.ssl import Ssl
from gateway.proxy.lean import LeanFactory
from gateway.proxy.tls_contexts import ContextLoader
from gateway.proxy.tls_listener import Certificates, TLSListenerFactory
from gateway.settings import TLS_CIPHERS
from tests import certs
from tests.proxy.server_contract import GET, HEAD, ServerCase, Transport
from tests.proxy.test_tls_listener import TLS12, TLS13
from tests.proxy.tls_kit import TLSClient, client_context

A = certs.pair("a.test")
CLOSE = GET[:-2] + b"Connection: close\r\n\r\n"


class _Transport(Transport):
    """Knows when its reading side was ended, as TCP does."""

    resumed = 0

    def connectionLost(self, reason: Any) -> None:
        self.disconnected = True
        self.protocol.connectionLost(reason)

    def resumeProducing(self) -> None:
        self.resumed += 1
        super().resumeProducing()


class HalfClosedCase(ServerCase):
    def listener(self) -> LeanFactory:
        factory = LeanFactory(self.gateway.runner, self.clock)
        factory.doStart()
        return factory

    def setUp(self) -> None:
        super().setUp()
        self.connect(_Transport())

    def end(self) -> None:
        """The client ends what it sends."""
        IHalfCloseableProtocol(self.channel).readConnectionLost()


class HalfClosedTests(HalfClosedCase):
    def test_answered(self) -> None:
        """A client that ends its side behind its request is answered, and then the connection ends."""
        self.send(GET)
        self.end()
        self.assertEqual((self.outcomes(), self.transport.disconnected), ([], False))
        response = self.answer(200, (b"content-length", b"3"))
        self.clock.advance(self.limits.half_closed_s * 3)
        response.data(b"abc")
        response.end()
        got = self.read()
        self.assertIn(b"\r\nConnection: close\r\n", got)
        self.assertTrue(got.endswith(b"\r\n\r\nabc"))
        self.assertEqual((self.outcomes(), self.transport.disconnected), (["ok"], True))

    def test_no_answer_soon(self) -> None:
        """It may have left: an upstream that does not begin to answer within ``half_closed_s`` is let go."""
        self.send(GET)
        self.end()
        self.clock.advance(self.limits.half_closed_s / 2)
        self.assertEqual(self.outcomes(), [])
        self.clock.advance(self.limits.half_closed_s)
        self.assertEqual((self.outcomes(), self.dispatcher.cancelled), (["client_gone"], 1))
        self.assertTrue(self.transport.aborted)

    def test_idle(self) -> None:
        """On a connection that waits for a request, or for the rest of one, it is the end."""
        for data in (
            b"",
            GET[:9],
            HEAD + b"Content-Length: 9\r\n\r\nabc",
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\n",
        ):
            self.connect(_Transport())
            self.send(data)
            self.end()
            self.assertTrue(self.transport.disconnected, data)
        self.assertEqual(self.outcomes(), ["client_gone"] * 2)
        self.assertEqual(self.site.connections & {self.channel}, set())

    def test_pipelined(self) -> None:
        """All that was asked before the end is answered, in turn."""
        self.send(GET * 3 + GET[:5])
        self.end()
        for left in (2, 1, 0):
            self.assertFalse(self.transport.disconnected)
            self.answer(200, (b"content-length", b"0")).end()
            self.clock.advance(0)
            self.assertEqual(self.read().count(b"HTTP/1.1 200"), 1, left)
        self.assertTrue(self.transport.disconnected)
        self.assertEqual(self.outcomes(), ["ok"] * 3)
        # Reading goes on for nobody: the end would be told again and again.
        self.assertEqual(self.transport.resumed, 0)

    def test_slow_reader(self) -> None:
        """What waits behind an answer that the client takes slowly is served once it has taken it."""
        self.send(GET)
        self.channel.pauseProducing()
        self.answer(200, (b"content-length", b"0")).end()
        self.send(GET)
        self.end()
        self.assertFalse(self.transport.disconnected)
        self.channel.resumeProducing()
        self.clock.advance(0)
        self.answer(200, (b"content-length", b"0")).end()
        self.assertEqual((self.outcomes(), self.transport.disconnected), (["ok", "ok"], True))

    def test_closing(self) -> None:
        """A connection that only waited for the client's end is over with it."""
        self.send(b"no request\r\n")
        self.transport.disconnected = False
        self.end()
        self.assertTrue(self.transport.disconnected)


class TLSTests(HalfClosedCase):
    def setUp(self) -> None:
        super().setUp()
        ssl = Ssl.parse("a", {"cert": A.cert, "key": A.key, "snis": ["a.test"]})
        served = ServedSsl(ssl, ContextLoader({}, TLS_CIPHERS, session_timeout_s=600).load(ssl))
        certificates = Certificates(lambda: CertificateTable.of([served]))
        self.site = LeanFactory(self.gateway.runner, self.clock, tls=True)
        self.tls = TLSListenerFactory(certificates, self.site, self.clock)

    def client(self, versions: tuple[int, int]) -> TLSClient:
        made = TLSClient(self.tls, "a.test", client_context(versions=versions)).handshake()
        self.assertIsNone(made.failure)
        return made

    def test_answered(self) -> None:
        """A client that says that it has no more to say (close_notify) is answered, however long it takes."""
        for versions in (TLS12, TLS13):
            client = self.client(versions)
            client.send(GET)
            client.connection.shutdown()
            client.pump()
            self.clock.advance(self.limits.half_closed_s * 5)
            self.assertFalse(client.transport.disconnected)
            response = self.answer(200, (b"content-length", b"3"))
            response.data(b"abc")
            response.end()
            client.pump()
            self.assertTrue(client.receive().endswith(b"\r\n\r\nabc"))
            self.assertTrue(client.transport.disconnected)
        self.assertEqual(self.outcomes(), ["ok"] * 2)

    def test_gone(self) -> None:
        """One whose connection ends meanwhile is gone."""
        client = self.client(TLS13)
        client.send(GET)
        client.connection.shutdown()
        client.pump()
        client.transport.protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual((self.outcomes(), self.dispatcher.cancelled), (["client_gone"], 1))

    def test_idle(self) -> None:
        """A connection that waits for a request ends with the client's word."""
        for data in (b"", GET[:9], HEAD + b"Content-Length: 9\r\n\r\nabc"):
            client = self.client(TLS13)
            if data:
                client.send(data)
            ended: list[bool] = []
            # As a real one: it is closed later.
            self.patch(client.transport, "loseConnection", lambda ended=ended: ended.append(True))
            client.connection.shutdown()
            client.pump()
            self.assertTrue(ended, data)
            client.transport.protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.outcomes(), ["client_gone"])
