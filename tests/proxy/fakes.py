"""A client and an upstream in memory, for the runner."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone

from gateway.core.exchange import Connection, Exchange, RequestHead
from gateway.core.fields import Pair
from gateway.core.snapshot import Snapshot
from gateway.model.upstream import Node
from gateway.proxy.admission import admit
from gateway.proxy.known_answer import KnownAnswer
from gateway.proxy.limits import ProxyLimits
from gateway.proxy.run import Run
from gateway.proxy.runner import Runner
from gateway.upstream.client import RelayedResponse


@define
class FakeClient:
    """A ``Downstream`` that writes down what it was told."""

    body: Any = None
    status: int | None = None
    fields: dict[bytes, bytes] = field(factory=dict)
    length: int | None = None
    content: bytes = b""
    finished: bool = False
    aborted: bool = False
    producer: IPushProducer | None = None

    def respond(
        self, status: int, fields: list[Pair], length: int | None, known: KnownAnswer | None = None
    ) -> None:
        assert self.status is None, "two answers to one request"
        self.status, self.fields, self.length = status, dict(fields), length

    def pass_on(self, known: KnownAnswer, added: bytes, content: bytes) -> bool:
        return False

    def write(self, data: bytes) -> None:
        assert self.status is not None
        assert not self.finished
        self.content += data

    def flush(self) -> None:
        assert self.status is not None

    def finish(self) -> None:
        assert self.status is not None
        assert not self.finished
        assert not self.aborted
        self.finished = True

    def abort(self) -> None:
        self.aborted = True

    def register(self, producer: IPushProducer) -> None:
        assert self.producer is None
        self.producer = producer

    def unregister(self) -> None:
        self.producer = None


class FakeTransport:
    """The response's own back-pressure."""

    def __init__(self) -> None:
        self.state = "producing"

    def pauseProducing(self) -> None:
        self.state = "paused"

    def resumeProducing(self) -> None:
        self.state = "producing"

    def stopProducing(self) -> None:
        self.state = "stopped"

    def loseConnection(self) -> None:
        self.state = "stopped"


@define(eq=False)
class FakeResponse:
    """An upstream's response whose content the test delivers."""

    code: int = 200
    raw_fields: list[Pair] = field(factory=list)
    protocol: Protocol | None = None
    transport: FakeTransport = field(factory=FakeTransport)

    def deliverBody(self, protocol: Protocol) -> None:
        self.protocol = protocol
        protocol.makeConnection(self.transport)  # type: ignore[arg-type]

    def data(self, data: bytes) -> None:
        assert self.protocol is not None
        self.protocol.dataReceived(data)

    def end(self, error: Exception | None = None) -> None:
        assert self.protocol is not None
        self.protocol.connectionLost(Failure(error or ResponseDone()))


@define(eq=False)
class FakeDispatcher:
    """Holds every request that would be sent, until the test answers it."""

    sent: list[tuple[Node, Deferred[FakeResponse]]] = field(factory=list)
    cancelled: int = 0

    def send(self, exchange: Exchange, node: Node, body: object, waiter: Any) -> RelayedResponse:
        deferred: Deferred[FakeResponse] = Deferred(self._cancelled)
        self.sent.append((node, deferred))
        return RelayedResponse(deferred, waiter)

    def _cancelled(self, deferred: Deferred[FakeResponse]) -> None:
        self.cancelled += 1

    def answer(self, response: FakeResponse) -> FakeResponse:
        """Let the latest request have *response*."""
        self.sent[-1][1].callback(response)
        return response

    def fail(self, error: Exception) -> None:
        """Let the latest request fail."""
        self.sent[-1][1].errback(Failure(error))


@define(eq=False)
class InMemoryGateway:
    """A runner between a fake client and a fake upstream."""

    snapshot: Snapshot
    clock: Any
    limits: ProxyLimits = field(factory=ProxyLimits)
    dispatcher: FakeDispatcher = field(factory=FakeDispatcher)
    ended: list[Exchange] = field(factory=list)
    runner: Runner = field(init=False)

    def __attrs_post_init__(self) -> None:
        dispatcher: Any = self.dispatcher
        self.runner = Runner(
            snapshot=self.snapshot,
            dispatcher=dispatcher,
            clock=self.clock,
            limits=self.limits,
            on_end=self.ended.append,
        )

    def request(
        self, method: str, target: str, headers: list[tuple[str, str]] | None = None, body: Any = None
    ) -> tuple[FakeClient, Run]:
        """Send a request; the client has what was answered at once."""
        pairs = [(name.lower().encode(), value.encode()) for name, value in headers or []]
        if not any(name == b"host" for name, _ in pairs):
            pairs.insert(0, (b"host", b"example.com"))
        head = RequestHead(method.encode(), target.encode(), tuple(pairs))
        verdict = admit(head.method, head.target, pairs, head.version)
        client = FakeClient(body)
        run = self.runner.handle(verdict, head, Connection("127.0.0.1", 5, "127.0.0.1", 9080), client)
        return client, run
