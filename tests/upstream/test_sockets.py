"""Tests for gateway.upstream.sockets, over loopback."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.internet.ssl import KeyPair, PrivateCertificate
from twisted.trial.unittest import TestCase

from gateway.interfaces import SendFailed
from gateway.upstream.sockets import SocketSender
from tests.certs import pair


class Receiver(Protocol):
    """Reads to the end."""

    factory: Any

    def connectionMade(self) -> None:
        self.factory.received.append(b"")

    def dataReceived(self, data: bytes) -> None:
        self.factory.received[-1] += data

    def connectionLost(self, reason: Any = None) -> None:
        if not self.factory.ended.called:
            self.factory.ended.callback(None)


class Rude(Receiver):
    """Cuts the connection once it has something."""

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        transport: Any = self.transport
        transport.abortConnection()


class Silent(Receiver):
    """Speaks TLS, but never answers that it is over."""

    def connectionMade(self) -> None:
        super().connectionMade()
        self.tls = SSL.Connection(self.factory.context, None)
        self.tls.set_accept_state()

    def dataReceived(self, data: bytes) -> None:
        self.tls.bio_write(data)
        with contextlib.suppress(SSL.Error):
            self.tls.do_handshake()
            super().dataReceived(self.tls.recv(1000))
        with contextlib.suppress(SSL.Error):
            transport: Any = self.transport
            transport.write(self.tls.bio_read(100_000))


class SocketSenderTests(TestCase):
    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.sender = SocketSender(reactor)

    def listen(self, options: Any = None, protocol: Any = Receiver) -> tuple[Any, int]:
        factory: Any = Factory.forProtocol(protocol)
        factory.received, factory.ended = [], Deferred()
        if options is None:
            port = self.reactor.listenTCP(0, factory, interface="127.0.0.1")
        else:
            port = self.reactor.listenSSL(0, factory, options, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return factory, port.getHost().port

    async def test_tcp(self) -> None:
        """Everything arrives, in order, and the connection is closed."""
        factory, port = self.listen()
        await self.sender.send("tcp", "127.0.0.1", port, [b"one\n", b"x" * 100_000], timeout_s=30)
        await factory.ended
        self.assertEqual(factory.received, [b"one\n" + b"x" * 100_000])

    async def test_tls(self) -> None:
        """Over TLS too; who wants to know whom it speaks to is told if it is somebody else."""
        made = pair("collector.test")
        both = PrivateCertificate.loadPEM(made.cert + made.key)
        self.assertIsInstance(both.privateKey, KeyPair)
        factory, port = self.listen(both.options())
        await self.sender.send("tls", "127.0.0.1", port, [b"one"], timeout_s=30, server_name="collector.test")
        await factory.ended
        self.assertEqual(factory.received, [b"one"])
        refused = self.sender.send("tls", "127.0.0.1", port, [b"two"], timeout_s=30, verify=True)
        await self.assertFailure(refused, SendFailed)

    async def test_no_goodbye(self) -> None:
        """What has arrived is sent, though the other side cuts the connection or never ends it."""
        made = pair("collector.test")
        options = PrivateCertificate.loadPEM(made.cert + made.key).options()
        factory, port = self.listen(options, Rude)
        await self.sender.send("tls", "127.0.0.1", port, [b"one"], timeout_s=30)
        self.assertEqual(factory.received, [b"one"])
        factory, port = self.listen(protocol=Silent)
        factory.context = options.getContext()
        await self.sender.send("tls", "127.0.0.1", port, [b"one"], timeout_s=3)
        await factory.ended
        self.assertEqual(factory.received, [b"one"])

    async def test_udp(self) -> None:
        """Each piece is a datagram."""
        received: list[bytes] = []
        both: Deferred[None] = Deferred()

        class Collector(DatagramProtocol):
            def datagramReceived(self, datagram: bytes, addr: Any) -> None:
                received.append(datagram)
                if len(received) == 2:
                    both.callback(None)

        port = self.reactor.listenUDP(0, Collector(), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        await self.sender.send("udp", "127.0.0.1", port.getHost().port, [b"one", b"two"], timeout_s=30)
        await both
        self.assertEqual(sorted(received), [b"one", b"two"])

    async def test_nobody(self) -> None:
        """Who is not there is told with the place."""
        with socket.socket() as holder:
            holder.bind(("127.0.0.1", 0))
            port = holder.getsockname()[1]
            error = await self.assertFailure(
                self.sender.send("tcp", "127.0.0.1", port, [b"x"], timeout_s=30), SendFailed
            )
        self.assertIn(f"tcp://127.0.0.1:{port}: ", str(error))

    async def test_hanging(self) -> None:
        """Who does not speak TLS at all is given up after the time."""
        _, port = self.listen()
        sent = self.sender.send("tls", "127.0.0.1", port, [b"x"], timeout_s=0.05)
        error = await self.assertFailure(sent, SendFailed)
        self.assertIn("not done within 0.05 s", str(error))

    async def test_too_large(self) -> None:
        """What is no datagram is told as such."""
        sent = self.sender.send("udp", "127.0.0.1", 9, [b"x" * 70_000], timeout_s=30)
        await self.assertFailure(sent, SendFailed)
