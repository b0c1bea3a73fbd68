"""Pairs of connected transports that write at once: real sockets over loopback, on the real reactor."""

from __future__ import annotations

import select
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ClientFactory, Factory, Protocol
from twisted.trial.unittest import TestCase

from gateway.http1 import eager
from tests.limits import LIMIT_S


def readable(transport: Any) -> bool:
    """
    Wait until a transport's socket has something to read.

    The reactor has no turn meanwhile: what arrives had left before. A busy system may deliver it a moment
    later, though.
    """
    return bool(select.select([transport.socket], [], [], LIMIT_S)[0])


def arrived(transport: Any, size: int) -> bytes:
    """The next *size* bytes of a transport's socket; fewer if no more come. As ``readable``."""
    found = b""
    while len(found) < size and readable(transport):
        data = transport.socket.recv(size - len(found))
        if not data:
            break
        found += data
    return found


class Told(Protocol):
    """
    Collects; tells when there is a connection, and when it has ended.

    Attributes:
        reason: Why it has.
    """

    transport: Any
    reason: Any = None

    def __init__(self) -> None:
        self.made: Deferred[Told] = Deferred()
        self.lost: Deferred[bytes] = Deferred()
        self.received: list[bytes] = []
        self.sizes: list[int] = []

    def connectionMade(self) -> None:
        self.made.callback(self)

    def dataReceived(self, data: bytes) -> None:
        self.received.append(data)

    def connectionLost(self, reason: Any = None) -> None:
        self.reason = reason
        self.lost.callback(b"".join(self.received))


class Pairs(TestCase):
    """Over loopback."""

    async def pair(self) -> tuple[Told, Told]:
        """A connection that was accepted and its other end, both writing at once."""
        server, client = Told(), Told()
        port: Any = eager.listen(reactor, 0, Factory.forProtocol(lambda: server), 5, "127.0.0.1")
        self.addCleanup(port.stopListening)
        factory = ClientFactory()
        factory.protocol = lambda: client  # type: ignore[assignment]
        connect = eager.connector(reactor)
        connect("127.0.0.1", port.getHost().port, factory)
        await client.made
        await server.made
        return server, client
