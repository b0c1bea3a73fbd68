"""Upstreams that are broken, slow or mean, over real sockets."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import Any

from attrs import evolve
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from gateway.core import reasons
from gateway.model.timeout import Timeout
from gateway.upstream.agent import UpstreamAgent
from gateway.upstream.errors import UpstreamError
from gateway.upstream.request import Peer
from tests.ports import reserve
from tests.upstream.memory import Content, Taker, prepared

OK = b"HTTP/1.1 200 OK\r\n"
PATIENT = Timeout(60.0, 60.0, 60.0)


class _Upstream(Protocol):
    """Runs ``script`` when a request's first bytes arrive."""

    script: Callable[[Any], None]
    made: list[_Upstream]

    def connectionMade(self) -> None:
        self.made.append(self)
        self.lost: Deferred[None] = Deferred()
        self.asked = False

    def dataReceived(self, data: bytes) -> None:
        if not self.asked:
            self.asked = True
            type(self).script(self.transport)

    def connectionLost(self, reason: Any = None) -> None:
        self.lost.callback(None)


def reset(transport: Any) -> None:
    """Send a RST: close with unsent data thrown away."""
    transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abortConnection()


class EndTaker(Taker):
    """Tells when the content has ended."""

    def __init__(self) -> None:
        super().__init__()
        self.ended: Deferred[None] = Deferred()

    def connectionLost(self, reason: Any) -> None:  # type: ignore[override]
        super().connectionLost(reason)
        self.ended.callback(None)


class HostileUpstreamTests(TestCase):
    timeout = 120

    def setUp(self) -> None:
        self.agent = UpstreamAgent(reactor)
        self.made: list[_Upstream] = []
        self.calls: list[Any] = []

    async def tearDown(self) -> None:
        for call in self.calls:
            if call.active():
                call.cancel()
        for upstream in self.made:
            if not upstream.lost.called:
                upstream.transport.abortConnection()  # type: ignore[union-attr]
        await self.agent.close()

    def listen(self, script: Callable[[Any], None]) -> Peer:
        made = self.made

        class Scripted(_Upstream):
            pass

        Scripted.script = staticmethod(script)
        Scripted.made = made
        factory = Factory.forProtocol(Scripted)
        factory.noisy = False
        port: Any = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return Peer("http", "127.0.0.1", port.getHost().port)

    async def outcome(self, peer: Peer, body: Any = None, limits: Timeout = PATIENT) -> tuple[Any, ...]:
        """Status, content and how it ended: ``done`` or an error's kind."""
        request = prepared(peer=peer, timeout=limits)
        try:
            response = await self.agent.request(b"POST" if body else b"GET", b"", request, body)
        except UpstreamError as error:
            self.assertTrue(error.sent)
            return ("no response", error.kind)
        taker = EndTaker()
        response.deliverBody(taker)
        await taker.ended
        assert taker.end is not None
        error = taker.end.value
        return (response.code, taker.data, error.kind if isinstance(error, UpstreamError) else "done")

    async def cut(self) -> None:
        """Wait for the end of the last connection, which comes long before it was idle for too long."""
        await self.made[-1].lost.addTimeout(30, reactor)  # type: ignore[arg-type]  # typed apart

    def script(self, *pieces: bytes, then: Callable[[Any], None] | None = None) -> Callable[[Any], None]:
        """Send *pieces* one by one, each in a packet of its own, then do *then*."""

        def run(transport: Any) -> None:
            transport.setTcpNoDelay(True)
            waiting = list(pieces)

            def step() -> None:
                if waiting:
                    transport.write(waiting.pop(0))
                elif then is not None:
                    then(transport)
                    return
                if waiting or then is not None:
                    self.calls.append(reactor.callLater(0.02, step))

            step()

        return run

    async def test_reset_in_head(self) -> None:
        """A reset within the head is a closed connection."""
        peer = self.listen(self.script(OK + b"Content-Le", then=reset))
        self.assertEqual(await self.outcome(peer), ("no response", reasons.UPSTREAM_CLOSED))

    async def test_closed_without_a_word(self) -> None:
        """So is a connection that is closed without an answer."""
        peer = self.listen(lambda transport: transport.loseConnection())
        self.assertEqual(await self.outcome(peer), ("no response", reasons.UPSTREAM_CLOSED))
        self.assertEqual(len(self.made), 1)

    async def test_reset_in_content(self) -> None:
        """A reset within the content cuts it off, whatever its framing."""
        for framing, body in (
            (b"Content-Length: 10\r\n", b"abc"),
            (b"Transfer-Encoding: chunked\r\n", b"9\r\nabc"),
            (b"", b"abc"),
        ):
            peer = self.listen(self.script(OK + framing + b"\r\n" + body, then=reset))
            self.assertEqual(await self.outcome(peer), (200, b"abc", reasons.UPSTREAM_CLOSED))

    async def test_less_than_promised(self) -> None:
        """Content shorter than its Content-Length is cut off, not complete."""
        answer = OK + b"Content-Length: 10\r\n\r\nabc"
        peer = self.listen(self.script(answer, then=lambda transport: transport.loseConnection()))
        self.assertEqual(await self.outcome(peer), (200, b"abc", reasons.UPSTREAM_CLOSED))

    async def test_more_than_promised(self) -> None:
        """Content longer than its Content-Length ends there; the rest answers nobody's next request."""
        poison = OK + b"Content-Length: 6\r\n\r\npoison"
        for pieces in (
            (OK + b"Content-Length: 3\r\n\r\nabc" + poison,),
            (OK + b"Content-Length: 3\r\n\r\nabc", poison),
        ):
            peer = self.listen(self.script(*pieces))
            self.assertEqual(await self.outcome(peer), (200, b"abc", "done"))
            await self.cut()
            self.assertEqual(await self.outcome(peer), (200, b"abc", "done"))

    def flood(self, start: bytes, more: bytes) -> tuple[Callable[[Any], None], list[int]]:
        """Send *start*, then *more* without end, as fast as it is taken."""
        sent = [0]

        def run(transport: Any) -> None:
            transport.write(start)

            def step() -> None:
                if transport.connected and sent[0] < 32 << 20:
                    transport.write(more)
                    sent[0] += len(more)
                    reactor.callLater(0, step)

            step()

        return run, sent

    async def test_floods(self) -> None:
        """Heads, interim responses, trailers and chunk extensions without end are cut off early."""
        chunked = OK + b"Transfer-Encoding: chunked\r\n\r\n"
        for start, more in (
            (OK, b"X-Field: value\r\n" * 500),
            (OK + b"X: ", b"a" * 8000),
            (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
            (chunked + b"0\r\n", b"X-Field: value\r\n" * 500),
            (chunked + b"1;", b"a" * 8000),
        ):
            script, sent = self.flood(start, more)
            found = await self.outcome(self.listen(script))
            self.assertEqual(found[-1], reasons.UPSTREAM_BAD_RESPONSE, start)
            self.assertLess(sent[0], 4 << 20)

    async def test_garbage(self) -> None:
        """Other protocols and noise are refused at once, without waiting for a timeout."""
        for noise in (
            b"SSH-2.0-OpenSSH_9.2\r\n",
            b"\x15\x03\x01\x00\x02\x02\x46",
            b"\0" * 100,
            b"220 mail ESMTP\r\n",
        ):
            peer = self.listen(self.script(noise))
            self.assertEqual(await self.outcome(peer), ("no response", reasons.UPSTREAM_BAD_RESPONSE))

    async def test_doubtful_framing(self) -> None:
        """Framing with two readings is refused."""
        peer = self.listen(
            self.script(OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        )
        self.assertEqual(await self.outcome(peer), ("no response", reasons.UPSTREAM_BAD_RESPONSE))

    async def test_silence(self) -> None:
        """No answer, or one that stops half-way, ends at the read timeout."""
        limits = evolve(PATIENT, read_s=1.0)
        peer = self.listen(lambda transport: None)
        self.assertEqual(
            await self.outcome(peer, limits=limits), ("no response", reasons.UPSTREAM_READ_TIMEOUT)
        )
        peer = self.listen(self.script(OK, b"X-A: b\r\n", b"X"))
        self.assertEqual(
            await self.outcome(peer, limits=limits), ("no response", reasons.UPSTREAM_READ_TIMEOUT)
        )
        peer = self.listen(self.script(OK + b"Content-Length: 9\r\n\r\n", b"abc"))
        self.assertEqual(
            await self.outcome(peer, limits=limits), (200, b"abc", reasons.UPSTREAM_READ_TIMEOUT)
        )

    async def test_takes_nothing(self) -> None:
        """An upstream that reads nothing of a large request ends at the send timeout."""
        peer = self.listen(lambda transport: transport.pauseProducing())
        body = Content(first=b"x" * (32 << 20))
        found = await self.outcome(peer, body, evolve(PATIENT, send_s=0.3))
        self.assertEqual(found, ("no response", reasons.UPSTREAM_SEND_TIMEOUT))
        self.assertEqual(body.calls[-1], "stop")

    async def test_early_answer(self) -> None:
        """An answer before the end of a request is delivered; the connection is not kept."""
        peer = self.listen(self.script(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno"))
        body = Content(first=b"x" * 1000)
        self.assertEqual(await self.outcome(peer, body), (413, b"no", "done"))
        await self.cut()

    async def test_stale_connection(self) -> None:
        """A server that closes idle connections without notice costs no GET."""
        answered = [0]

        def answer_then_reset(transport: Any) -> None:
            answered[0] += 1
            transport.write(OK + b"Content-Length: 1\r\n\r\nx")
            protocol = self.made[-1]
            protocol.dataReceived = lambda data: reset(transport)  # type: ignore[method-assign]

        peer = self.listen(answer_then_reset)
        for _ in range(5):
            self.assertEqual(await self.outcome(peer), (200, b"x", "done"))
        self.assertEqual(answered, [5])

    async def test_no_tls(self) -> None:
        """An upstream that does not speak TLS is a failure to connect; nothing was sent."""
        plain = self.listen(self.script(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
        peer = Peer("https", plain.host, plain.port)
        error = await self.assertFailure(
            self.agent.request(b"GET", b"", prepared(peer=peer, timeout=PATIENT)), UpstreamError
        )
        self.assertEqual((error.kind, error.sent), (reasons.UPSTREAM_CONNECT_FAILED, False))

    async def test_refused(self) -> None:
        """A port nobody listens on is a failure to connect."""
        peer = Peer("http", "127.0.0.1", reserve(self))
        error = await self.assertFailure(
            self.agent.request(b"GET", b"", prepared(peer=peer, timeout=PATIENT)), UpstreamError
        )
        self.assertEqual((error.kind, error.sent), (reasons.UPSTREAM_CONNECT_FAILED, False))

    async def test_handshake_never_ends(self) -> None:
        """An upstream that accepts and never answers the TLS handshake ends at the connect timeout."""
        plain = self.listen(lambda transport: None)
        request = prepared(peer=Peer("https", plain.host, plain.port), timeout=evolve(PATIENT, connect_s=0.2))
        error = await self.assertFailure(self.agent.request(b"GET", b"", request), UpstreamError)
        self.assertEqual((error.kind, error.sent), (reasons.UPSTREAM_CONNECT_TIMEOUT, False))

    async def test_many_at_once(self) -> None:
        """Broken connections among good ones do not disturb these."""
        count = [0]

        def script(transport: Any) -> None:
            count[0] += 1
            if count[0] % 3 == 0:
                reset(transport)
            else:
                transport.write(OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nok")

        peer = self.listen(script)
        calls = [Deferred.fromCoroutine(self.outcome(peer)) for _ in range(60)]
        found = [await call for call in calls]
        self.assertEqual(found.count((200, b"ok", "done")), 40)
        self.assertEqual(found.count(("no response", reasons.UPSTREAM_CLOSED)), 20)
