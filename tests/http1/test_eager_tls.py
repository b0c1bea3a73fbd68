"""TLS with fewer steps: real handshakes over loopback, and the names that are relied on."""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ClientFactory, Factory, Protocol
from twisted.internet.ssl import CertificateOptions, KeyPair, PrivateCertificate
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.trial.unittest import SynchronousTestCase, TestCase

from gateway.http1 import eager_tls
from gateway.http1.eager_tls import EagerTLS


def certificate() -> PrivateCertificate:
    """A throw-away one for localhost."""
    key = KeyPair.generate(size=2048)
    made: PrivateCertificate = key.selfSignedCert(1, CN="localhost")
    return made


class Talker(Protocol):
    """Collects; tells when so many bytes have come, and when the connection has ended."""

    transport: Any

    def __init__(self, wanted: int = 0) -> None:
        self.received = b""
        self.wanted = wanted
        self.made: Deferred[Any] = Deferred()
        self.enough: Deferred[bytes] = Deferred()
        self.lost: Deferred[Any] = Deferred()

    def connectionMade(self) -> None:
        self.made.callback(self)

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        if self.wanted and len(self.received) >= self.wanted:
            self.wanted = 0
            self.enough.callback(self.received)

    def connectionLost(self, reason: Any = None) -> None:
        self.lost.callback((reason,))


class EagerTLSTests(TestCase):
    async def pair(self, wanted: int = 0) -> tuple[Talker, Talker]:
        """A server's end and a client's, both eager."""
        server, client = Talker(wanted), Talker(wanted)
        options = certificate().options()
        listening = TLSMemoryBIOFactory(options, False, Factory.forProtocol(lambda: server))
        listening.protocol = EagerTLS
        port: Any = reactor.listenTCP(0, listening, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        factory = ClientFactory()
        factory.protocol = lambda: client  # type: ignore[assignment]
        connecting = TLSMemoryBIOFactory(CertificateOptions(verify=False), True, factory)
        connecting.protocol = EagerTLS
        reactor.connectTCP("127.0.0.1", port.getHost().port, connecting)  # type: ignore[attr-defined]
        await client.made
        await server.made
        return server, client

    async def test_both_ways(self) -> None:
        """What is written arrives, whatever its size: less than a record, many records, nothing at all."""
        pieces = [b"a", b"", b"b" * 16384, b"c" * 70_000, b"d" * 3_000_000, b"e"]
        sent = b"".join(pieces)
        server, client = await self.pair(len(sent))
        for piece in pieces:
            server.transport.write(piece)
            client.transport.write(piece)
        self.assertEqual(await client.enough, sent)
        self.assertEqual(await server.enough, sent)
        client.transport.loseConnection()
        await client.lost
        await server.lost

    async def test_closed_in_order(self) -> None:
        """What was written before the end arrives, and the end is one in order at both."""
        server, client = await self.pair(5)
        server.transport.write(b"hello")
        server.transport.loseConnection()
        self.assertEqual(await client.enough, b"hello")
        for one in (client, server):
            (reason,) = await one.lost
            self.assertEqual(reason.type.__name__, "ConnectionDone")

    async def test_broken(self) -> None:
        """Bytes that are no TLS end the connection with an error."""
        server, client = await self.pair(1)
        client.transport.write(b"x")
        await server.enough
        client.transport.transport.write(b"\x17\x03\x03\x00\x05hello")
        (reason,) = await server.lost
        self.assertTrue(reason.check(SSL.Error), reason)
        await client.lost


class PinTests(SynchronousTestCase):
    """What is relied on of pyOpenSSL and Twisted; if one fails after an upgrade, so will ``EagerTLS``."""

    def test_openssl(self) -> None:
        """A connection shows its OpenSSL objects, and the functions are there."""
        connection = SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)
        for name in ("_ssl", "_from_ssl", "_into_ssl"):
            self.assertTrue(hasattr(connection, name), name)
        for name in ("SSL_read", "SSL_write", "SSL_get_error", "BIO_read", "SSL_ERROR_WANT_READ"):
            self.assertTrue(hasattr(eager_tls._lib, name), name)

    def test_twisted(self) -> None:
        """The methods that are replaced exist, and are called by those that are not."""
        for name in ("_flushReceiveBIO", "_flushSendBIO", "_write"):
            self.assertTrue(callable(getattr(TLSMemoryBIOProtocol, name)), name)
            self.assertIn(name, EagerTLS.__dict__)
        self.assertIn("_flushReceiveBIO", TLSMemoryBIOProtocol.dataReceived.__code__.co_names)
        self.assertIn("_write", TLSMemoryBIOProtocol.write.__code__.co_names)
