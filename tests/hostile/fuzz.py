"""
Bytes that may or may not be requests, and what a server made of them.

``tests.hostile.test_fuzz`` has hypothesis think of them; ``bench/fuzz.py`` hands in those of a fuzzer
that watches which lines they reach.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from attrs import frozen
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import Protocol

from gateway.core.compiler import Compiler
from gateway.core.exchange import Exchange
from gateway.model.upstream import Node
from gateway.proxy.lean import LeanFactory
from gateway.proxy.limits import ProxyLimits
from gateway.proxy.resource import ProxyResource
from gateway.proxy.site import ProxySite
from gateway.upstream.client import RelayedResponse
from tests.core.configs import FakePlugins, records, route, service
from tests.proxy.fakes import FakeDispatcher, FakeResponse, InMemoryGateway
from tests.proxy.runner_kit import TestClock
from tests.proxy.server_contract import Collector, Transport

LIMITS = ProxyLimits(
    max_request_line_bytes=256, max_header_bytes=1024, max_headers=8, max_chunk_line_bytes=32
)
"""Small, so that they are met."""


@frozen
class Outcome:
    """
    What became of the bytes.

    Attributes:
        heard: What upstreams were sent whole: method, target, field lines, content.
        answers: How many the client got. closed: Whether the server hung up.
    """

    heard: tuple[tuple[object, ...], ...]
    answers: int
    closed: bool


class _Answered(FakeResponse):
    """Has no content."""

    def deliverBody(self, protocol: Protocol) -> None:
        super().deliverBody(protocol)
        self.end()


class Upstream(FakeDispatcher):
    """Hears every request out and answers 200."""

    def __init__(self, clock: TestClock) -> None:
        super().__init__()
        self.clock = clock
        self.heard: list[tuple[object, ...]] = []

    def send(self, exchange: Exchange, node: Node, body: Any, waiter: Any) -> RelayedResponse:
        collected = Collector()
        waiting = super().send(exchange, node, body, waiter)
        answered = self.sent[-1][1]

        def whole(_: object) -> None:
            # twisted.web gathers fields by name; Expect is answered here and goes no further.
            fields = tuple(sorted(pair for pair in exchange.fields.pairs if pair[0] != b"expect"))
            self.heard.append((exchange.method, exchange.target, fields, collected.content))
            self.clock.callLater(0, answer)

        def answer() -> None:
            if not answered.called:
                answered.callback(_Answered(200, [(b"content-length", b"0")]))

        content: Deferred[Any] = succeed(None) if body is None else body.startProducing(collected)
        content.addCallback(whole)
        return waiting


def lean(gateway: InMemoryGateway) -> Any:
    """The lean server."""
    return LeanFactory(gateway.runner, gateway.clock)


def twisted_web(gateway: InMemoryGateway) -> Any:
    """twisted.web's."""
    return ProxySite(ProxyResource(gateway.runner), gateway.limits, gateway.clock)


class Fuzzed:
    """A server that is sent one row of bytes after another, each on a connection of its own."""

    def __init__(self, listener: Callable[[InMemoryGateway], Any]) -> None:
        self.clock = TestClock()
        snapshot = Compiler(FakePlugins(), "default").load(records(service("s"), route("r", "/*")), 1)
        self.gateway = InMemoryGateway(snapshot, self.clock, LIMITS, Upstream(self.clock))
        self.factory = listener(self.gateway)

    def send(self, pieces: Sequence[bytes]) -> Outcome:
        """Send *pieces* on a fresh connection; AssertionError if a bug shows itself."""
        upstream = self.gateway.dispatcher = Upstream(self.clock)
        self.gateway.runner.dispatcher = upstream  # type: ignore[assignment]
        channel: Any = self.factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 5))
        transport = Transport()
        transport.protocol = channel
        channel.makeConnection(transport)
        for piece in pieces:
            if transport.disconnected:
                break
            channel.dataReceived(piece)
            while any(call.time <= self.clock.seconds() for call in self.clock.getDelayedCalls()):
                self.clock.advance(0)
        said: bytes = transport.value()
        closed = transport.disconnected
        if not closed:
            transport.loseConnection()
        assert self.gateway.runner.bugs == 0, pieces
        assert self.gateway.runner.in_flight == 0, pieces
        return Outcome(tuple(upstream.heard), said.count(b"HTTP/1."), closed)


def check(servers: Sequence[Fuzzed], data: bytes, cut: int) -> None:
    """
    However the network cuts *data*, and whichever server reads it, upstreams hear the same requests.

    Args:
        servers: The first one's answers count as well. cut: Where it is cut in two.
    """
    first, *others = servers
    whole = first.send([data])
    for pieces in ([data[at : at + 1] for at in range(len(data))], [data[:cut], data[cut:]]):
        assert first.send(pieces) == whole, (data, pieces)
    for server in others:
        for pieces in ([data], [data[:cut], data[cut:]]):
            assert server.send(pieces).heard == whole.heard, data
