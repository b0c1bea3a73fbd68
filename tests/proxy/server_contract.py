"""
The contract of every HTTP/1.1 server in front of the runner: what a client sends, and what it reads.

``tests.proxy.test_site`` runs it over twisted.web, ``tests.proxy.test_lean_connection`` and
``test_lean_stream`` over the lean server.
"""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IConsumer
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from gateway.core.compiler import Compiler
from gateway.core.exchange import Exchange
from gateway.model.upstream import Node
from gateway.proxy.limits import ProxyLimits
from gateway.upstream.client import RelayedResponse
from tests.core.configs import FakePlugins, records, route, service
from tests.proxy.fakes import FakeDispatcher, FakeResponse, InMemoryGateway
from tests.proxy.runner_kit import TestClock

HEAD = b"POST /x HTTP/1.1\r\nHost: example.com\r\n"
GET = b"GET /x HTTP/1.1\r\nHost: example.com\r\n\r\n"


@implementer(IConsumer)
class Collector:
    """An upstream connection that writes down the content it is sent."""

    def __init__(self) -> None:
        self.content = b""

    def registerProducer(self, producer: object, streaming: bool) -> None:
        raise NotImplementedError

    def unregisterProducer(self) -> None:
        raise NotImplementedError

    def write(self, data: bytes) -> None:
        self.content += data


class StreamingDispatcher(FakeDispatcher):
    """Takes the request's content at once, unless told to wait."""

    eager = True
    collected: Collector
    body: Any = None

    def send(self, exchange: Exchange, node: Node, body: Any, waiter: Any) -> RelayedResponse:
        self.collected = Collector()
        self.body = body
        if body is not None and self.eager:
            body.startProducing(self.collected)
        return super().send(exchange, node, body, waiter)


class Transport(StringTransportWithDisconnection):
    """Knows whether it is being read, and whether it was cut."""

    aborted = False
    disconnected = False

    def loseConnection(self) -> None:
        if not self.disconnected:
            self.disconnected = True
            super().loseConnection()

    def abortConnection(self) -> None:
        self.aborted = True
        self.loseConnection()


class HalfTransport(Transport):
    """Can end one direction alone, as TCP can."""

    half_closed = False

    def loseWriteConnection(self) -> None:
        self.half_closed = True


class ServerCase(SynchronousTestCase):
    """A client and an upstream in memory, and the server between them."""

    limits = ProxyLimits()

    def setUp(self) -> None:
        self.clock = TestClock()
        compiler = Compiler(FakePlugins(), "default")
        snapshot = compiler.load(
            records(
                service("s"),
                route("r", "/x"),
                route("no", "/no", plugins={"stop": {"status": 401}}),
                route("small", "/small", plugins={"limit": {"max_body_bytes": 5}}),
            ),
            1,
        )
        self.dispatcher = StreamingDispatcher()
        self.gateway = InMemoryGateway(snapshot, self.clock, self.limits, self.dispatcher)
        self.site = self.listener()
        self.connect()

    def listener(self) -> Any:
        """The listener's factory under test."""
        raise NotImplementedError

    def connect(self, transport: Transport | None = None) -> None:
        self.channel: Any = self.site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 5))
        self.transport = transport or Transport()
        self.transport.protocol = self.channel
        self.channel.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        self.channel.dataReceived(data)

    def read(self) -> bytes:
        data: bytes = self.transport.value()
        self.transport.clear()
        return data

    def answer(self, status: int = 200, *pairs: tuple[bytes, bytes]) -> FakeResponse:
        return self.dispatcher.answer(FakeResponse(status, list(pairs)))

    @property
    def reading(self) -> bool:
        return self.transport.producerState == "producing"

    def outcomes(self) -> list[str]:
        return [exchange.outcome.reason for exchange in self.gateway.ended if exchange.outcome]


class ResponseContract(ServerCase):
    def test_with_length(self) -> None:
        """A response of known length keeps it, and the connection stays open for the next request."""
        for _ in range(2):
            self.send(GET)
            response = self.answer(200, (b"content-length", b"3"), (b"x-a", b"1"))
            response.data(b"abc")
            response.end()
            head, _, content = self.read().partition(b"\r\n\r\n")
            self.assertEqual(content, b"abc")
            self.assertTrue(head.startswith(b"HTTP/1.1 200 OK\r\n"))
            self.assertIn(b"\r\nContent-Length: 3", head)
            self.assertIn(b"\r\nX-A: 1", head)
            self.assertIn(b"\r\nDate: ", head)
            self.assertEqual(head.count(b"\r\nServer: "), 1)
            self.assertNotIn(b"Content-Type", head)
        self.assertFalse(self.transport.disconnecting)

    def test_chunked(self) -> None:
        """A response of unknown length is chunked, piece by piece as it comes."""
        self.send(GET)
        response = self.answer()
        self.assertIn(b"Transfer-Encoding: chunked", self.read())
        response.data(b"abc")
        self.assertEqual(self.read(), b"3\r\nabc\r\n")
        response.end()
        self.assertEqual(self.read(), b"0\r\n\r\n")

    def test_http_1_0(self) -> None:
        """An HTTP/1.0 client gets no chunks; the end of the connection is the end of the content."""
        self.send(b"GET /x HTTP/1.0\r\nHost: example.com\r\n\r\n")
        response = self.answer()
        response.data(b"abc")
        response.end()
        self.assertTrue(self.read().endswith(b"\r\n\r\nabc"))
        self.assertTrue(self.transport.disconnected)

    def test_head(self) -> None:
        """The answer to HEAD has the length of the content and none of it; the connection goes on."""
        self.send(GET.replace(b"GET", b"HEAD"))
        self.answer(200, (b"content-length", b"7")).end()
        got = self.read()
        self.assertIn(b"Content-Length: 7", got)
        self.assertTrue(got.endswith(b"\r\n\r\n"))
        self.send(GET)
        self.assertEqual(len(self.dispatcher.sent), 2)

    def test_no_content(self) -> None:
        """204 has neither content nor length; 304 may tell a length."""
        self.send(GET)
        self.answer(204).end()
        got = self.read()
        self.assertNotIn(b"Content-Length", got)
        self.assertNotIn(b"Transfer-Encoding", got)
        self.send(GET)
        self.answer(304, (b"content-length", b"9"), (b"etag", b'"a"')).end()
        self.assertTrue(self.read().endswith(b"\r\n\r\n"))

    def test_slow_client(self) -> None:
        """A client that reads slowly pauses the upstream; one that stops for too long is let go."""
        self.send(GET)
        response = self.answer()
        self.channel.pauseProducing()
        self.assertEqual(response.transport.state, "paused")
        self.clock.advance(self.limits.send_timeout_s - 1)
        self.channel.resumeProducing()
        self.assertEqual(response.transport.state, "producing")
        self.channel.pauseProducing()
        self.clock.advance(self.limits.send_timeout_s)
        self.assertTrue(self.transport.aborted)
        self.assertEqual(response.transport.state, "stopped")
        self.assertEqual(self.outcomes(), ["client_gone"])

    def test_cut_response(self) -> None:
        """If the upstream breaks off, the connection ends without the last chunk."""
        self.send(GET)
        response = self.answer()
        response.data(b"abc")
        response.end(RuntimeError("gone"))
        self.assertTrue(self.transport.disconnected)
        self.assertNotIn(b"0\r\n\r\n", self.read())

    def test_pipelined(self) -> None:
        """Pipelined requests are answered one after the other, in order."""
        self.send(GET + GET)
        self.assertEqual(len(self.dispatcher.sent), 1)
        self.answer(200, (b"content-length", b"0")).end()
        self.clock.advance(0)
        self.assertEqual(len(self.dispatcher.sent), 2)
        self.answer(201, (b"content-length", b"0")).end()
        got = self.read()
        self.assertLess(got.index(b" 200 OK"), got.index(b" 201 Created"))

    def test_client_leaves(self) -> None:
        """When the connection is lost, the request upstream is cancelled."""
        self.send(GET)
        self.transport.loseConnection()
        self.assertEqual(self.dispatcher.cancelled, 1)
        self.assertEqual(self.outcomes(), ["client_gone"])
        self.assertEqual(self.gateway.runner.in_flight, 0)


class RequestContentContract(ServerCase):
    limits = ProxyLimits(max_body_bytes=1000, read_ahead_bytes=10, linger_bytes=100)

    def test_streams(self) -> None:
        """A request is sent on as soon as its head is there; its content follows as it comes."""
        self.send(HEAD + b"Content-Length: 6\r\n\r\n")
        self.assertEqual(len(self.dispatcher.sent), 1)
        self.send(b"abc")
        self.assertEqual(self.dispatcher.collected.content, b"abc")
        self.send(b"def")
        self.assertEqual(self.dispatcher.collected.content, b"abcdef")
        self.assertTrue(self.dispatcher.body.complete)
        self.answer(200, (b"content-length", b"0")).end()
        self.assertEqual(self.gateway.ended[0].bytes_received, 6)
        self.read()
        self.send(GET)
        self.assertEqual(len(self.dispatcher.sent), 2)

    def test_chunked(self) -> None:
        """Chunked content is passed on without its framing."""
        self.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        self.send(b"3\r\ndef\r\n0\r\n\r\n")
        self.assertEqual(self.dispatcher.collected.content, b"abcdef")
        self.assertTrue(self.dispatcher.body.complete)

    def test_reading_stops_while_nobody_takes_it(self) -> None:
        """Until an upstream takes the content, only the read-ahead is kept."""
        self.dispatcher.eager = False
        self.send(HEAD + b"Content-Length: 100\r\n\r\n")
        self.send(b"x" * 10)
        self.assertFalse(self.reading)
        self.dispatcher.body.startProducing(self.dispatcher.collected)
        self.assertTrue(self.reading)
        self.assertEqual(self.dispatcher.collected.content, b"x" * 10)

    def test_slow_upstream(self) -> None:
        """An upstream that takes no more stops the client; waiting for it is not the client's fault."""
        self.send(HEAD + b"Content-Length: 100\r\n\r\n")
        self.dispatcher.body.pauseProducing()
        self.assertFalse(self.reading)
        self.clock.advance(self.limits.body_timeout_s * 2)
        self.assertEqual(self.outcomes(), [])
        self.dispatcher.body.resumeProducing()
        self.assertTrue(self.reading)

    def test_slow_upstream_and_content_on_its_way(self) -> None:
        """What had come before reading stopped does not make it the client's fault either."""
        self.send(HEAD + b"Content-Length: 100\r\n\r\n")
        self.dispatcher.body.pauseProducing()
        self.send(b"x" * 10)
        self.clock.advance(self.limits.body_timeout_s)
        self.clock.advance(self.limits.body_timeout_s)
        self.assertEqual(self.outcomes(), [])
        self.dispatcher.body.resumeProducing()
        self.clock.advance(self.limits.body_timeout_s)
        self.assertEqual(self.outcomes(), ["client_body_timeout"])

    def test_continue(self) -> None:
        """``Expect: 100-continue`` is answered when somebody wants the content, and not before."""
        self.dispatcher.eager = False
        self.send(HEAD + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        self.assertEqual(self.read(), b"")
        self.dispatcher.body.startProducing(self.dispatcher.collected)
        self.assertEqual(self.read(), b"HTTP/1.1 100 Continue\r\n\r\n")

    def test_refused_before_continue(self) -> None:
        """A client that is refused is never asked for its content."""
        self.send(b"POST /no HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 500\r\n\r\n")
        got = self.read()
        self.assertTrue(got.startswith(b"HTTP/1.1 401 "))
        self.assertIn(b"Connection: close", got)

    def test_early_answer_small_rest(self) -> None:
        """After an early answer a small rest is read and dropped, and the connection is used again."""
        self.send(b"POST /no HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\n")
        self.assertTrue(self.read().startswith(b"HTTP/1.1 401 "))
        self.send(b"x" * 50)
        self.assertFalse(self.transport.disconnected)
        self.send(GET)
        self.assertEqual(len(self.dispatcher.sent), 1)
        self.assertEqual(self.read(), b"")

    def test_early_answer_large_rest(self) -> None:
        """A large rest is read a while, so that the answer can be read, and then the connection ends."""
        self.send(b"POST /no HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n\r\n")
        self.assertIn(b"Connection: close", self.read())
        self.send(b"x" * 50)
        self.assertFalse(self.transport.disconnected)
        self.send(b"x" * 51)
        self.assertTrue(self.transport.disconnected)

    def test_early_answer_silent_client(self) -> None:
        """Nobody waits for ever for the rest of a request that is answered."""
        self.send(b"POST /no HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n\r\n")
        self.clock.advance(self.limits.linger_s)
        self.assertTrue(self.transport.disconnected)

    def test_announced_too_large(self) -> None:
        """Content that is announced over the limit is refused at once: 413."""
        self.send(HEAD + b"Content-Length: 1001\r\n\r\n")
        got = self.read()
        self.assertTrue(got.startswith(b"HTTP/1.1 413 "))
        self.assertIn(b"Connection: close", got)

    def test_turns_out_too_large(self) -> None:
        """Chunked content is refused once it is over the limit."""
        self.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        self.send(b"3e9\r\n" + b"x" * 1001 + b"\r\n")
        self.assertTrue(self.read().startswith(b"HTTP/1.1 413 "))
        self.assertEqual(self.outcomes(), ["body_too_large"])

    def test_limit_of_a_plugin(self) -> None:
        """A plugin's limit cuts chunked content: 413, and not a byte more reaches the upstream."""
        self.send(b"POST /small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        self.assertEqual(self.dispatcher.collected.content, b"abc")
        self.send(b"3\r\ndef\r\n")
        self.assertTrue(self.read().startswith(b"HTTP/1.1 413 "))
        self.assertEqual(self.dispatcher.collected.content, b"abc")
        self.assertEqual(self.outcomes(), ["body_too_large"])

    def test_content_that_stops(self) -> None:
        """A client that stops sending is answered 408."""
        self.send(HEAD + b"Content-Length: 100\r\n\r\nabc")
        self.clock.advance(self.limits.body_timeout_s)
        self.assertTrue(self.read().startswith(b"HTTP/1.1 408 "))
        self.assertEqual(self.outcomes(), ["client_body_timeout"])

    def test_client_leaves_while_sending(self) -> None:
        """A client that leaves in the middle of its content leaves nothing behind."""
        self.send(HEAD + b"Content-Length: 100\r\n\r\nabc")
        self.transport.loseConnection()
        self.assertEqual((self.dispatcher.cancelled, self.outcomes()), (1, ["client_gone"]))
        self.clock.advance(self.limits.body_timeout_s * 2)
        self.assertEqual(self.outcomes(), ["client_gone"])

    def test_length_zero(self) -> None:
        """An explicit length of zero is passed on as such."""
        self.send(HEAD + b"Content-Length: 0\r\n\r\n")
        self.assertEqual((self.dispatcher.body.length, self.dispatcher.body.complete), (0, True))


class ConnectionContract(ServerCase):
    def test_idle(self) -> None:
        """A connection on which nothing comes is closed after idle_timeout_s."""
        self.clock.advance(self.limits.idle_timeout_s)
        self.assertTrue(self.transport.disconnected)

    def test_idle_after_a_request_with_content(self) -> None:
        """The idle timeout counts again once a request with content is answered."""
        self.send(HEAD + b"Content-Length: 3\r\n\r\nabc")
        self.answer(200, (b"content-length", b"0")).end()
        self.clock.advance(self.limits.idle_timeout_s)
        self.assertTrue(self.transport.disconnected)

    def test_waiting_for_an_upstream_is_not_idle(self) -> None:
        """A slow upstream does not cost the client its connection."""
        self.send(GET)
        self.clock.advance(self.limits.idle_timeout_s * 3)
        self.assertFalse(self.transport.disconnected)

    def test_slow_head(self) -> None:
        """A head that trickles in is given up after header_timeout_s, however often a byte comes."""
        for byte in GET[:6]:
            self.send(bytes([byte]))
            self.clock.advance(self.limits.header_timeout_s / 6)
        self.assertTrue(self.read().startswith(b"HTTP/1.1 408 "))
        self.assertTrue(self.transport.disconnected)

    def test_ambiguous_framing(self) -> None:
        """Requests whose length could mean two things are refused (RFC 9112 section 6.3)."""
        for fields in (
            b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
            b"Content-Length: 3\r\nContent-Length: 4\r\n",
            b"Content-Length: +3\r\n",
            b"Transfer-Encoding: chunked, identity\r\n",
        ):
            self.connect()
            self.send(HEAD + fields + b"\r\nabc")
            self.assertTrue(self.read().startswith(b"HTTP/1.1 400 "), fields)
            self.assertTrue(self.transport.disconnected)
        self.assertEqual(self.dispatcher.sent, [])

    def test_bad_chunks(self) -> None:
        """Chunks that break the rules end the connection; the upstream's request is cancelled."""
        self.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n")
        self.assertTrue(self.transport.disconnected)
        self.assertEqual(self.dispatcher.cancelled, 1)

    def test_host(self) -> None:
        """Without a Host, or with two, an HTTP/1.1 request is refused."""
        for fields in (b"", b"Host: a\r\nHost: b\r\n"):
            self.connect()
            self.send(b"GET /x HTTP/1.1\r\n" + fields + b"\r\n")
            self.assertTrue(self.read().startswith(b"HTTP/1.1 400 "))

    def test_value_not_ascii(self) -> None:
        """Field values may hold any byte beyond ASCII, and go on as they came (RFC 9110 section 5.5)."""
        self.send("GET /x HTTP/1.1\r\nHost: a\r\nX-A: ü\r\n\r\n".encode())
        self.answer(200, (b"content-length", b"0")).end()
        self.assertEqual(self.gateway.ended[-1].fields.get(b"x-a"), "ü".encode())

    def test_http_1_0_keep_alive(self) -> None:
        """HTTP/1.0 clients that ask for it keep their connection, as far as answers have a length."""
        ask = b"GET /x HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"
        self.send(ask)
        self.answer(200, (b"content-length", b"0")).end()
        self.assertIn(b"Connection: keep-alive\r\n", self.read())
        self.assertFalse(self.transport.disconnected)
        self.send(ask)
        self.answer(200).end()
        self.assertIn(b"Connection: close\r\n", self.read())
        self.assertTrue(self.transport.disconnected)

    def test_close_in_any_field(self) -> None:
        """``close`` ends the connection wherever among the Connection fields it stands."""
        self.send(GET[:-2] + b"Connection: x-a\r\nConnection: x-b, Close\r\n\r\n")
        self.answer(200, (b"content-length", b"0")).end()
        self.assertTrue(self.transport.disconnected)

    def test_too_much_head(self) -> None:
        """A request line over its limit is 414; too many field lines, or too long ones, are 431."""
        limits = self.limits
        line = b"GET /x HTTP/1.1\r\nHost: a\r\n"
        path = b"GET /" + b"a" * limits.max_request_line_bytes
        value = b"X: " + b"a" * limits.max_header_bytes
        for data, status, reason in (
            (path, b"414", "request_line_too_long"),
            (path + b" HTTP/1.1\r\n", b"414", "request_line_too_long"),
            (path + b" HTTP/1.1\r\nHost: a\r\n\r\n", b"414", "request_line_too_long"),
            (path * 5 + b" HTTP/1.1\r\nHost: a\r\n\r\n", b"414", "request_line_too_long"),
            (line + value, b"431", "head_too_large"),
            (line + value + b"\r\n\r\n", b"431", "head_too_large"),
            (line + b"X: 0123456789\r\n" * (limits.max_header_bytes // 15), b"431", "head_too_large"),
            (line + b"A: 1\r\n" * limits.max_headers + b"\r\n", b"431", "head_too_large"),
        ):
            self.connect()
            self.send(data)
            self.assertRegex(self.read(), b"^HTTP/1.1 %b " % status, data[:40])
            self.assertTrue(self.transport.disconnected)
            self.assertEqual(self.outcomes()[-1], reason)
        self.assertEqual(self.dispatcher.sent, [])

    def test_refused_while_sending(self) -> None:
        """A client that still sends is not reset before it can read why it is refused; but not for ever."""
        for wait_s, more, aborted in ((self.limits.linger_s, 0, False), (0, self.limits.linger_bytes, True)):
            transport = HalfTransport()
            self.connect(transport)
            self.send(b"no request\r\n")
            self.assertTrue(self.read().startswith(b"HTTP/1.1 400 "))
            self.assertTrue(transport.half_closed)
            self.send(GET + b"x" * more)
            self.assertEqual(self.read(), b"")
            self.clock.advance(wait_s)
            self.assertEqual((transport.disconnected, transport.aborted), (True, aborted))
        self.assertEqual(self.dispatcher.sent, [])

    def test_just_enough_head(self) -> None:
        """At its limits a request is served."""
        limits = self.limits
        line = b"GET /x HTTP/1.1\r\nHost: a\r\n"
        query = limits.max_request_line_bytes - len(b"GET /x? HTTP/1.1")
        for count, data in enumerate(
            (
                b"GET /x?" + b"a" * query + b" HTTP/1.1\r\nHost: a\r\n\r\n",
                line + b"A: 1\r\n" * (limits.max_headers - 1) + b"\r\n",
                line + b"A: " + b"a" * (limits.max_header_bytes - len(line) - 7) + b"\r\n\r\n",
            ),
            1,
        ):
            self.connect()
            self.send(data)
            self.assertEqual(len(self.dispatcher.sent), count)

    def test_max_connections(self) -> None:
        """One connection more than allowed is not served; others are not touched."""
        self.site.limits = evolve(self.limits, max_connections=1)
        self.assertIsNone(self.site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 6)))
        self.transport.loseConnection()
        self.assertIsNotNone(self.site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 6)))

    def test_drain(self) -> None:
        """A gateway that stops closes busy connections after their answer."""
        self.send(GET)
        self.site.drain()
        self.assertFalse(self.transport.disconnected)
        self.answer(200, (b"content-length", b"0")).end()
        self.assertIn(b"Connection: close", self.read())
        self.assertTrue(self.transport.disconnected)
