"""What is remembered of requests and answers changes nothing: with and without a memory all is the same."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from gateway.core.auth import REDACTED_ARGS
from gateway.core.compiler import Compiler
from gateway.core.exchange import Exchange
from gateway.proxy.dispatch import Dispatcher
from gateway.proxy.lean import LeanFactory
from gateway.proxy.limits import ProxyLimits
from gateway.proxy.runner import Runner
from gateway.settings import ACCESS_FORMAT
from gateway.telemetry.log_format import compile_format
from gateway.upstream.client import ProxyClient
from tests.core.configs import change, records, route
from tests.proxy.runner_kit import ScriptedPlugins, TestClock
from tests.upstream.memory import Network

_REQUESTS = (
    b"GET /plain HTTP/1.1\r\nHost: a.example\r\nUser-Agent: curl/8\r\n\r\n",
    b"GET /plain?jwt=secret&a=1 HTTP/1.1\r\nHost: a.example\r\nReferer: http://b/?apikey=x\r\n\r\n",
    b"GET /plain HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\n\r\n",
    b"GET /plain HTTP/1.1\r\nHost: a.example\r\nConnection: x-a, keep-alive\r\nX-A: 1\r\nX-B: 2\r\n\r\n",
    b"GET /plain HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n",
    b"GET /plain HTTP/1.0\r\nHost: a.example\r\nConnection: keep-alive\r\n\r\n",
    b"HEAD /plain HTTP/1.1\r\nHost: a.example\r\n\r\n",
    b"POST /plain HTTP/1.1\r\nHost: a.example\r\n\r\n",
    b"GET /plain HTTP/1.1\r\nHost: a.example\r\nX-Consumer-Username: me\r\nX-Real-IP: 9.9.9.9\r\n\r\n",
    b'GET /plain%20"x HTTP/1.1\r\nHost: a.example\r\nUser-Agent: a"b%s\r\n\r\n',
    b"GET http://a.example/plain HTTP/1.1\r\nHost: a.example\r\n\r\n",
    b"GET /edits HTTP/1.1\r\nHost: a.example\r\n\r\n",
    b"GET /counts HTTP/1.1\r\nHost: a.example\r\n\r\n",
    b"GET /adds HTTP/1.1\r\nHost: a.example\r\n\r\n",
    b"GET /replaces HTTP/1.1\r\nHost: a.example\r\n\r\n",
    b"GET /turns HTTP/1.1\r\nHost: a.example\r\n\r\n",
    b"GET /odd HTTP/1.1\r\nHost: a.example\r\n\r\n",
    b"GET /plain%20x HTTP/1.1\r\nHost: a.example\r\nUser-Agent: 100%s\r\n\r\n",
    b"GET /moves HTTP/1.1\r\nHost: a.example\r\n\r\n",
    b"GET /told HTTP/1.1\r\nHost: a.example\r\n\r\n",
    b"GET /sometimes HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-Proto: https\r\n\r\n",
    b"GET /status HTTP/1.1\r\nHost: a.example\r\n\r\n",
    b"GET /closes HTTP/1.1\r\nHost: a.example\r\n\r\n",
    b"GET /dates HTTP/1.1\r\nHost: a.example\r\n\r\n",
    b"GET /hides?page=7 HTTP/1.1\r\nHost: a.example\r\n\r\n",
    b"GET /hosts HTTP/1.1\r\nHost: a.example\r\n\r\n",
    b"GET /methods HTTP/1.1\r\nHost: a.example\r\n\r\n",
    b"POST /plain HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n\r\nabc",
    b"POST /plain HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"GET /nobody HTTP/1.1\r\nHost: a.example\r\n\r\n",
    b"GET /two HTTP/1.1\r\nHost: a.example\r\n\r\n",
    b"GET /early HTTP/1.1\r\nHost: a.example\r\n\r\n",
    b"GET /late HTTP/1.1\r\nHost: a.example\r\n\r\n",
    b"GET /asks HTTP/1.1\r\nHost: a.example\r\n\r\n",
)
_ANSWERS = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nDate: Fri, 27 Nov 2026 08:00:00 GMT\r\nServer: x\r\n\r\nhello",
    b"HTTP/1.1 404 Gone Fishing\r\nContent-Length: 2\r\nKeep-Alive: 5\r\nX-A: 1\r\n\r\nno",
    b"HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\nno",
    b"HTTP/1.1 204 None\r\nX-A: 1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: x-a\r\nX-A: 1\r\n\r\nhello",
    b"HTTP/1.1 299 Odd\r\nContent-Length: 5\r\nX-RateLimit-Limit: 7\r\n\r\nhello",
)
_FOR_HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\n"
_NODES = [{"host": "10.0.0.1", "port": 80, "weight": 1}, {"host": "10.0.0.2", "port": 80, "weight": 1}]


class _World:
    """A gateway in memory: its clients, its upstreams, its log."""

    def __init__(self, known_heads: int) -> None:
        self.clock = TestClock()
        self.network = Network(known_heads=known_heads)
        self.log: list[str] = []
        self.counted = 0
        self.plugins = ScriptedPlugins()
        self.plugins.hooks = {
            "edits": {"rewrite": self._edits},
            "counts": {"rewrite": self._counts},
            "adds": {"header_filter": self._adds},
            "replaces": {"header_filter": self._replaces},
            "turns": {"header_filter": self._turns, "body_filter": lambda exchange, data, last: data.upper()},
            "odd": {"header_filter": self._odd},
            "moves": {"rewrite": self._moves},
            "told": {"rewrite": self._told},
            "sometimes": {"rewrite": self._sometimes},
            "status": {"header_filter": self._status},
            "closes": {"header_filter": self._closes},
            "dates": {"header_filter": self._dates},
            "hides": {"rewrite": self._hides},
            "hosts": {"rewrite": self._hosts},
            "methods": {"rewrite": self._methods},
            "early": {"access": self._tells},
            "late": {"header_filter": self._tells},
            "asks": {"rewrite": self._tells, "access": self._asks, "header_filter": self._adds},
        }
        line = compile_format(ACCESS_FORMAT)
        runner: Any = Runner(
            self.compile(1),
            Dispatcher(ProxyClient(self.network.agent), None, tunnels=True),
            self.clock,
            ProxyLimits(known_heads=known_heads),
            lambda exchange: self.log.append(line(exchange, self.clock.time())),
        )
        runner._prefix = "0" * 16
        self.runner = runner
        self.prepared: list[Any] = []
        relay = runner.dispatcher._relay

        def relayed(prepared: Any, *rest: Any) -> Any:
            self.prepared.append((prepared.peer, prepared.timeout, prepared.keepalive))
            return relay(prepared, *rest)

        runner.dispatcher._relay = relayed
        self.factories = [LeanFactory(runner, self.clock, tls=tls) for tls in (False, True)]
        self.clients: dict[int, StringTransport] = {}
        self.sent: list[bytes] = []

    def compile(self, revision: int) -> Any:
        one = {"nodes": _NODES[:1], "pass_host": "node" if revision % 3 == 2 else "pass"}
        changes = [
            change("service", "s", {"name": "s", "upstream": one}),
            route("plain", "/plain*", timeout={"read": 10 + revision % 2}),
            change("service", "two", {"name": "two", "upstream": {"nodes": _NODES}}),
            route("two", "/two", service_id="two"),
        ]
        changes += [route(name, f"/{name}", plugins={name: {}}) for name in self.plugins.hooks]
        return Compiler(self.plugins, "default").load(records(*changes), revision)

    def _edits(self, exchange: Exchange) -> None:
        exchange.fields.set(b"x-forwarded-proto", b"https")
        exchange.target = b"/edited"

    def _counts(self, exchange: Exchange) -> None:
        self.counted += 1
        exchange.fields.add(b"x-count", b"%d" % (self.counted // 3))

    def _adds(self, exchange: Exchange) -> None:
        self.counted += 1
        exchange.response_fields.add(b"x-ratelimit-limit", b"%d" % self.counted)

    def _replaces(self, exchange: Exchange) -> None:
        exchange.response_fields.set(b"content-type", b"text/html")

    def _turns(self, exchange: Exchange) -> None:
        exchange.status = 202

    def _odd(self, exchange: Exchange) -> None:
        exchange.response_fields.add(b"x-odd", b"a\r\nb\x01c")
        exchange.response_fields.add(b"connection", b"close")

    def _moves(self, exchange: Exchange) -> None:
        self.counted += 1
        exchange.target = b"/moved/%d" % (self.counted // 3)

    def _told(self, exchange: Exchange) -> None:
        self.counted += 1
        exchange.client_ip = f"192.0.2.{self.counted // 3}"

    def _sometimes(self, exchange: Exchange) -> None:
        self.counted += 1
        if self.counted % 3:
            exchange.fields.set(b"x-forwarded-proto", b"https")

    def _status(self, exchange: Exchange) -> None:
        self.counted += 1
        exchange.status = 200 + self.counted // 3

    def _closes(self, exchange: Exchange) -> None:
        exchange.response_fields.add(b"connection", b"close")

    def _dates(self, exchange: Exchange) -> None:
        exchange.response_fields.add(b"date", b"Thu, 01 Jan 1970 00:00:00 GMT")

    def _hides(self, exchange: Exchange) -> None:
        self.counted += 1
        if self.counted > 3:
            exchange.context[REDACTED_ARGS] = {"page"}

    def _hosts(self, exchange: Exchange) -> None:
        self.counted += 1
        exchange.upstream_host = b"h%d.example" % (self.counted // 3)

    def _methods(self, exchange: Exchange) -> None:
        self.counted += 1
        exchange.method = (b"GET", b"PUT")[self.counted // 3 % 2]

    def _tells(self, exchange: Exchange) -> None:
        self.counted += 1
        exchange.add_response_lines(
            frozenset((b"x-ratelimit-limit", b"x-a")), b"X-RateLimit-Limit: %d\r\nX-A: 2\r\n" % self.counted
        )

    def _asks(self, exchange: Exchange) -> None:
        """There is no answer yet; that was looked for one changes nothing."""
        if exchange.response_fields.get(b"content-type") is not None or self.counted % 2:
            self._tells(exchange)

    def request(self, client: int, request: bytes, answer: bytes) -> tuple[Any, ...]:
        """One request and its answer: what the upstream got, what the client got, what was logged."""
        transport = self.clients.get(client)
        if transport is None or transport.disconnecting:
            transport = self.clients[client] = StringTransport(
                peerAddress=IPv4Address("TCP", f"10.1.0.{client}", 5)
            )
            protocol: Any = self.factories[client // 2].buildProtocol(IPv4Address("TCP", "10.1.0.1", 5))
            transport.protocol = protocol  # type: ignore[attr-defined]
            protocol.makeConnection(transport)
        transport.clear()
        protocol = transport.protocol  # type: ignore[attr-defined]
        before = len(self.log)
        for socket in self.network.sockets:
            socket.clear()
        protocol.dataReceived(request)
        if len(self.network.sockets) < self.network.dials:
            self.network.accept()
        upstream = b""
        for socket in self.network.sockets:
            if socket.value() and not socket.lost:
                upstream += socket.value()
                socket.says(_FOR_HEAD if request.startswith(b"HEAD") else answer)
        self.network.pass_time(0)
        self.clock.advance(0.25)
        prepared, self.prepared = self.prepared, []
        return upstream, transport.value(), self.log[before:], prepared


_STEPS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from(range(len(_REQUESTS))),
        st.sampled_from(range(len(_ANSWERS))),
        st.integers(1, 5),
        st.sampled_from((None, None, None, "snapshot", "server", "status", "trust")),
    ),
    min_size=1,
    max_size=12,
)


class MemoryTests(SynchronousTestCase):
    def run_both(self, steps: list[tuple[int, int, int, int, str | None]]) -> _World:
        """Run *steps* in two worlds, and compare."""
        worlds = [_World(0), _World(1024)]
        for number, (client, request, answer, times, happens) in enumerate(steps):
            for world in worlds:
                runner = world.runner
                if happens == "snapshot":
                    runner.snapshot = world.compile(number + 2)
                elif happens == "server":
                    runner.server = b"gateway/%d" % number
                elif happens == "status":
                    runner.show_upstream_status = not runner.show_upstream_status
            for _ in range(times):
                without, with_one = [
                    world.request(client, _REQUESTS[request], _ANSWERS[answer]) for world in worlds
                ]
                self.assertEqual(with_one, without, (_REQUESTS[request], _ANSWERS[answer]))
        self.assertEqual([world.runner.bugs for world in worlds], [0, 0])
        return worlds[1]

    @settings(max_examples=150, deadline=None)
    @given(_STEPS)
    def test_any(self, steps: list[tuple[int, int, int, int, str | None]]) -> None:
        """Whatever comes, in whatever order, while whatever changes."""
        self.run_both(steps)

    def test_each(self) -> None:
        """Each request with each answer, often enough to be remembered."""
        for request in range(len(_REQUESTS)):
            self.run_both([(0, request, answer, 5, None) for answer in range(len(_ANSWERS))])

    def test_each_change(self) -> None:
        """Each request, while something changes."""
        for request in range(len(_REQUESTS)):
            for happens in ("snapshot", "server", "status"):
                for answer in (0, 3):
                    self.run_both([(0, request, answer, 4, happens)] * 3)

    def test_each_client(self) -> None:
        """Each request from different clients, over TLS, too."""
        for request in range(len(_REQUESTS)):
            self.run_both([(client, request, 0, 2, None) for client in (0, 1, 2, 0, 2, 1)])

    def test_used(self) -> None:
        """There is a memory, and it is used: or the tests above would compare nothing."""
        world = self.run_both([(0, 0, 0, 6, None)])
        ended: list[Exchange] = []
        world.runner.on_end = ended.append
        world.request(0, _REQUESTS[0], _ANSWERS[0])
        (exchange,) = ended
        self.assertIsNotNone(exchange.sent)
        self.assertIsNotNone(exchange.sent.line)
        self.assertIsNotNone(exchange.sent.text)
        # Of what never comes a second time nothing is kept up.
        world = self.run_both([(0, 12, 0, 5, None)] * 20)
        memory = world.factories[0].heads.get(_REQUESTS[12])
        assert memory is not None
        self.assertLessEqual(memory[2].memory.misses, 16)  # type: ignore[union-attr]

    def test_one_piece(self) -> None:
        """Content that comes with its head leaves with it, in one write; so does what there is of more."""
        head = b"POST /plain HTTP/1.1\r\nHost: a.example\r\n"
        for content, count in (
            (b"Content-Length: 3\r\n\r\nabc", 1),
            (b"Content-Length: 70000\r\n\r\n" + b"x" * 70_000, 1),
            (b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 1),
            (b"Content-Length: 3\r\n\r\nab", 1),
            (b"Content-Length: 3\r\n\r\n", 1),
            (b"Transfer-Encoding: chunked\r\n\r\n3", 1),
        ):
            world = _World(0)
            world.request(0, _REQUESTS[0], _ANSWERS[0])
            (socket,) = world.network.sockets
            socket.writes.clear()
            sent, *_ = world.request(0, head + content, b"HTTP/1.1 100 Continue\r\n\r\n")
            self.assertEqual(len(socket.writes), count, content[:60])
            self.assertTrue(sent.startswith(b"POST /plain HTTP/1.1\r\n"), sent[:60])
            self.assertEqual(world.runner.bugs, 0)

    def test_changes_of_limits(self) -> None:
        """A limit that was made smaller counts for connections made from then on (nothing else is new)."""
        world = self.run_both([(0, 0, 0, 4, None)])
        world.runner.limits = evolve(world.runner.limits, max_in_flight=0)
        _, answer, *_ = world.request(0, _REQUESTS[0], _ANSWERS[0])
        self.assertTrue(answer.startswith(b"HTTP/1.1 503 "))
