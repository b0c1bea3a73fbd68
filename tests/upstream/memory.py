"""An upstream's network in memory: sockets the test holds the other end of, and time it moves."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer

from gateway.core.fields import Pair
from gateway.model.timeout import Timeout
from gateway.model.upstream import KeepalivePool
from gateway.upstream.agent import UpstreamAgent
from gateway.upstream.request import Peer, PreparedRequest

PEER = Peer("http", "10.0.0.1", 8080)
TIMEOUT = Timeout(connect_s=2.0, send_s=3.0, read_s=5.0)
KEEPALIVE = KeepalivePool(size=2, idle_timeout_s=10.0, requests=100)
FIELDS: list[Pair] = [(b"host", b"a.example")]
HEAD = b"GET /x HTTP/1.1\r\nHost: a.example\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class Socket(StringTransport):
    """A connection; ``unsent`` bytes stand in its buffer as long as it is ``full``."""

    def __init__(self, reactor: Any, protocol: Any) -> None:
        super().__init__()
        self._reactor = reactor
        self._protocol = protocol
        self.writes: list[bytes] = []
        self.full = False
        self.dataBuffer = b""
        self.offset = 0
        self._tempDataLen = 0
        self.lost = False
        self.aborted = False
        self.nodelay = False

    def setTcpNoDelay(self, enabled: bool) -> None:
        self.nodelay = enabled

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        super().write(data)
        if self.full:
            self.dataBuffer += data
            if self.producer is not None:
                self.producer.pauseProducing()

    def writeSequence(self, pieces: Any) -> None:
        self.write(b"".join(pieces))

    def take(self, count: int | None = None) -> None:
        """The peer takes bytes off the buffer: all of them, or *count*."""
        self.dataBuffer = b"" if count is None else self.dataBuffer[count:]
        if not self.dataBuffer:
            self.full = False
            if self.producer is not None:
                self.producer.resumeProducing()

    def says(self, data: bytes) -> None:
        """The peer sends *data*."""
        assert self.producerState == "producing", "data cannot arrive while reading is paused"
        self._protocol.dataReceived(data)

    def hangs_up(self, reason: Exception | None = None) -> None:
        """The connection ends."""
        self.lost = True
        self.connected = False
        if self.producer is not None:
            self.producer.stopProducing()
        self._protocol.connectionLost(Failure(reason or ConnectionDone()))

    def _later(self, reason: Exception) -> None:
        if not self.lost:
            self.lost = True
            self._reactor.callLater(0, self.hangs_up, reason)

    def loseConnection(self) -> None:
        self._later(ConnectionDone())

    def abortConnection(self) -> None:
        self.aborted = True
        self._later(ConnectionAborted())


class Network:
    """A reactor in memory, and an agent on it."""

    def __init__(self, **options: Any) -> None:
        self.reactor = MemoryReactorClock()
        self.agent = UpstreamAgent(self.reactor, **options)
        self.sockets: list[Socket] = []

    @property
    def dials(self) -> int:
        return len(self.reactor.tcpClients)

    def accept(self) -> Socket:
        """Let the oldest pending connection be established."""
        factory = self.reactor.tcpClients[len(self.sockets)][2]
        protocol = factory.buildProtocol(None)
        socket = Socket(self.reactor, protocol)
        self.sockets.append(socket)
        protocol.makeConnection(socket)
        return socket

    def get(self, method: bytes = b"GET", body: Any = None, **more: Any) -> Deferred[Any]:
        """Send a prepared request."""
        request = prepared(method, **more)
        return self.agent.request(method, b"", request, body)

    def pass_time(self, seconds: float) -> None:
        self.reactor.advance(seconds)


def prepared(
    method: bytes = b"GET",
    target: bytes = b"/x",
    *,
    peer: Peer = PEER,
    timeout: Timeout = TIMEOUT,
    keepalive: KeepalivePool = KEEPALIVE,
    fields: list[Pair] = FIELDS,
) -> PreparedRequest:
    return PreparedRequest(peer, method, target, fields, timeout, keepalive)


class Taker(Protocol):
    """Takes a response's content."""

    def __init__(self, pause_at: int | None = None) -> None:
        self.data = b""
        self.end: Failure | None = None
        self.pause_at = pause_at

    def connectionMade(self) -> None:
        assert IPushProducer.providedBy(self.transport)

    def dataReceived(self, data: bytes) -> None:
        assert self.end is None
        self.data += data
        if self.pause_at is not None and len(self.data) >= self.pause_at:
            self.transport.pauseProducing()  # type: ignore[union-attr]

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        assert self.end is None
        self.end = reason


@implementer(IBodyProducer)
class Content:
    """A request's content, produced as the test says."""

    def __init__(self, length: Any = UNKNOWN_LENGTH, first: bytes = b"", whole: bool = False) -> None:
        self.length = length
        self._first = first
        self._whole = whole
        self.consumer: Any = None
        self.done: Deferred[None] = Deferred()
        self.calls: list[str] = []

    def startProducing(self, consumer: Any) -> Deferred[None]:
        self.calls.append("start")
        self.consumer = consumer
        if self._first:
            consumer.write(self._first)
        if self._whole:
            self.done.callback(None)
        return self.done

    def pauseProducing(self) -> None:
        self.calls.append("pause")

    def resumeProducing(self) -> None:
        self.calls.append("resume")

    def stopProducing(self) -> None:
        self.calls.append("stop")
