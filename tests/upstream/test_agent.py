"""The agent: prepared requests, ordinary ones, and what it has in common with twisted.web's."""

from __future__ import annotations

from typing import Any

import treq
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.error import SchemeNotSupported
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from zope.interface.verify import verifyObject

from gateway.core import reasons
from gateway.upstream.agent import UpstreamAgent
from gateway.upstream.errors import UpstreamError
from tests.upstream.memory import ANSWER, HEAD, Content, Network, Taker, prepared


class PreparedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.network = Network()

    def test_as_given(self) -> None:
        """A prepared request leaves byte for byte as it was prepared."""
        request = prepared(
            target=b"/a%2F../b?c=%zz", fields=[(b"x-b", b"2"), (b"host", b"h"), (b"x-b", b"1")]
        )
        self.network.agent.request(b"PURGE", b"ignored", request)
        self.assertEqual(
            self.network.accept().value(),
            b"PURGE /a%2F../b?c=%zz HTTP/1.1\r\nX-B: 2\r\nHost: h\r\nX-B: 1\r\n\r\n",
        )

    def test_refused(self) -> None:
        """What cannot be written as one request is not sent at all."""
        for request in (
            prepared(target=b"/ HTTP/1.1\r\n"),
            prepared(fields=[(b"x", b"a\r\nb: c")]),
            prepared(fields=[(b"content-length", b"3")]),
        ):
            self.failureResultOf(self.network.agent.request(b"GET", b"", request), ValueError)
        self.assertEqual(self.network.dials, 0)

    def idle(self) -> Any:
        call = self.network.get()
        socket = self.network.accept()
        socket.says(ANSWER)
        self.successResultOf(call)
        socket.clear()
        return socket

    def test_stale_connection(self) -> None:
        """A kept connection that turns out to be closed costs an idempotent request nothing."""
        for method in (b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE"):
            self.network = Network()
            stale = self.idle()
            call = self.network.get(method)
            stale.hangs_up(ConnectionLost())
            self.assertNoResult(call)
            fresh = self.network.accept()
            self.assertEqual(fresh.value(), stale.value())
            fresh.says(b"HTTP/1.1 204 None\r\n\r\n")
            self.assertEqual(self.successResultOf(call).code, 204)

    def test_once(self) -> None:
        """It is tried once more, on a new connection, and not again."""
        others = self.idle()
        stale = self.network.get()
        more = self.network.get()
        second = self.network.accept()
        second.says(ANSWER)
        self.successResultOf(more)
        others.hangs_up()
        # There is an idle connection, but it may be as stale as the first.
        self.assertEqual(self.network.dials, 3)
        self.network.accept().hangs_up()
        error = self.failureResultOf(stale, UpstreamError).value
        self.assertEqual((error.kind, error.sent, error.reused), (reasons.UPSTREAM_CLOSED, True, False))

    def test_not_twice(self) -> None:
        """A request that must not be sent twice fails, and says that the connection was a kept one."""
        for method, body in ((b"POST", None), (b"PATCH", None), (b"PUT", Content(1, b"x", whole=True))):
            self.network = Network()
            stale = self.idle()
            call = self.network.get(method, body)
            stale.hangs_up()
            error = self.failureResultOf(call, UpstreamError).value
            self.assertEqual((error.kind, error.sent, error.reused), (reasons.UPSTREAM_CLOSED, True, True))
            self.assertEqual(self.network.dials, 1)

    def test_not_after_first_byte(self) -> None:
        """Once any byte of an answer came, nothing is tried again."""
        stale = self.idle()
        call = self.network.get()
        stale.says(b"H")
        stale.hangs_up()
        self.failureResultOf(call, UpstreamError)
        self.assertEqual(self.network.dials, 1)

    def test_not_on_new_connection(self) -> None:
        """A new connection that closes is the upstream's answer."""
        call = self.network.get()
        self.network.accept().hangs_up()
        error = self.failureResultOf(call, UpstreamError).value
        self.assertEqual((error.reused, self.network.dials), (False, 1))

    def test_cancelled_while_trying_again(self) -> None:
        """A request can be cancelled while it is tried again."""
        stale = self.idle()
        call = self.network.get()
        stale.hangs_up()
        call.cancel()
        self.failureResultOf(call)
        self.assertTrue(self.network.reactor.connectors[1].stoppedConnecting)

    def test_next_request_from_callback(self) -> None:
        """Whoever sends its next request when it hears of an answer gets the same connection."""
        call = self.network.get()
        taker = Taker()

        def again(response: Any) -> None:
            self.network.get()
            response.deliverBody(taker)

        call.addCallback(again)
        socket = self.network.accept()
        socket.says(ANSWER)
        self.assertEqual((self.network.dials, socket.value()), (1, HEAD * 2))
        self.assertEqual(taker.data, b"hi")


class OrdinaryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.network = Network()

    def test_interface(self) -> None:
        """It is an ``IAgent``."""
        verifyObject(IAgent, self.network.agent)

    def test_url_and_headers(self) -> None:
        """Without a prepared request it reads URL and headers as any agent does."""
        headers = Headers({b"x-a": [b"1"], b"content-length": [b"99"]})
        self.network.agent.request(b"GET", b"http://10.0.0.1:81/p?q#f", headers)
        self.assertEqual(self.network.reactor.tcpClients[0][:2], ("10.0.0.1", 81))
        self.assertEqual(
            self.network.accept().value(), b"GET /p?q HTTP/1.1\r\nHost: 10.0.0.1:81\r\nX-A: 1\r\n\r\n"
        )
        self.assertTrue(headers.hasHeader(b"content-length"))

    def test_own_host(self) -> None:
        """A Host among the headers is kept."""
        self.network.agent.request(b"GET", b"http://10.0.0.1/", Headers({b"host": [b"other"]}))
        self.assertIn(b"\r\nHost: other\r\n", self.network.accept().value())

    def test_scheme(self) -> None:
        """Other schemes are refused."""
        self.failureResultOf(self.network.agent.request(b"GET", b"ftp://h/"), SchemeNotSupported)

    def test_certificates_are_verified(self) -> None:
        """Ordinary https requests verify the certificate, unlike prepared ones by default."""
        self.network.agent.request(b"GET", b"https://10.0.0.1/")
        (peer,) = self.network.agent.stats()
        self.assertEqual((peer.scheme, peer.port, peer.verify), ("https", 443, True))


class _Echo(Resource):
    isLeaf = True

    def render(self, request: Any) -> Any:
        body = request.content.read()
        path = request.path
        if path == b"/204":
            request.setResponseCode(204)
            return b""
        if path == b"/chunked":
            request.write(b"one,")
            request.write(b"two")
            request.finish()
            return NOT_DONE_YET
        if path == b"/close":
            channel = request.channel
            channel.transport.write(b"HTTP/1.0 200 OK\r\nX-A: b\r\n\r\nto the end")
            channel.transport.loseConnection()
            return NOT_DONE_YET
        request.setHeader(b"x-length", str(request.getHeader(b"content-length")).encode())
        return request.method + b" " + request.uri + b" " + body


class AgentContract:
    """What any HTTP agent does; run against ours and twisted.web's."""

    refused: type[Exception] = Exception

    def make(self) -> Any:
        raise NotImplementedError

    def setUp(self) -> None:
        self.port: Any = reactor.listenTCP(0, Site(_Echo()), interface="127.0.0.1")
        self.addCleanup(self.port.stopListening)
        self.base = b"http://127.0.0.1:%d" % self.port.getHost().port
        self.agent = self.make()

    async def fetch(self, method: bytes, path: bytes, body: Any = None) -> Any:
        response = await self.agent.request(method, self.base + path, None, body)
        return response, await treq.content(response)

    async def test_get(self: Any) -> None:
        """Status, fields and content arrive."""
        response, content = await self.fetch(b"GET", b"/p?q=1")
        self.assertEqual((response.code, response.phrase, response.length), (200, b"OK", 11))
        self.assertEqual(content, b"GET /p?q=1 ")
        self.assertEqual(response.version, (b"HTTP", 1, 1))
        self.assertEqual(response.headers.getRawHeaders(b"x-length"), [b"None"])

    async def test_post(self: Any) -> None:
        """Content is sent, with its length if that is known."""
        response, content = await self.fetch(b"POST", b"/", Content(5, b"hello", whole=True))
        self.assertEqual((content, response.headers.getRawHeaders("x-length")), (b"POST / hello", ["b'5'"]))
        response, content = await self.fetch(b"POST", b"/", Content(first=b"hello", whole=True))
        self.assertEqual((content, response.headers.getRawHeaders("x-length")), (b"POST / hello", ["None"]))

    async def test_no_content(self: Any) -> None:
        """HEAD and 204 have none."""
        response, content = await self.fetch(b"HEAD", b"/p")
        self.assertEqual((response.code, response.length, content), (200, 0, b""))
        response, content = await self.fetch(b"GET", b"/204")
        self.assertEqual((response.code, content), (204, b""))

    async def test_chunked(self: Any) -> None:
        """Chunks arrive as plain content."""
        _, content = await self.fetch(b"GET", b"/chunked")
        self.assertEqual(content, b"one,two")

    async def test_until_close(self: Any) -> None:
        """Content may end with the connection."""
        response, content = await self.fetch(b"GET", b"/close")
        self.assertEqual((content, response.version), (b"to the end", (b"HTTP", 1, 0)))

    async def test_many(self: Any) -> None:
        """One request after the other."""
        for number in range(20):
            _, content = await self.fetch(b"GET", b"/%d" % number)
            self.assertEqual(content, b"GET /%d " % number)

    async def test_refused(self: Any) -> None:
        """A refused connection fails the request."""
        await self.port.stopListening()
        try:
            await self.fetch(b"GET", b"/")
        except self.refused:
            return
        self.fail("no error")


class OurContractTests(AgentContract, TestCase):
    refused = UpstreamError

    def make(self) -> Any:
        agent = UpstreamAgent(reactor)
        self.addCleanup(agent.close)
        return agent


class TwistedContractTests(AgentContract, TestCase):
    def make(self) -> Any:
        pool = HTTPConnectionPool(reactor)
        self.addCleanup(pool.closeCachedConnections)
        return Agent(reactor, pool=pool)


class BackPressureTests(TestCase):
    """A gigabyte that nobody takes stays where it is."""

    async def test_paused_taker(self) -> None:
        """While the taker pauses, the upstream is held back: its writes stop."""
        total = 1 << 30
        piece = b"x" * 65536
        sent = [0]
        stalled: Deferred[None] = Deferred()
        gone: Deferred[None] = Deferred()

        class Endless(Protocol):
            def connectionMade(self) -> None:
                self.transport.registerProducer(self, True)  # type: ignore[union-attr]
                self.going = True

            def dataReceived(self, data: bytes) -> None:
                self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)  # type: ignore[union-attr]
                self.more()

            def more(self) -> None:
                while self.going and sent[0] < total:
                    self.transport.write(piece)  # type: ignore[union-attr]
                    sent[0] += len(piece)

            def pauseProducing(self) -> None:
                self.going = False
                if stalled.called:
                    return
                self.check = reactor.callLater(0.3, stalled.callback, None)

            def resumeProducing(self) -> None:
                if self.check.active():
                    self.check.cancel()
                self.going = True
                self.more()

            def stopProducing(self) -> None:
                self.going = False

            def connectionLost(self, reason: Any = None) -> None:
                gone.callback(None)

        factory = Factory.forProtocol(Endless)
        factory.noisy = False
        port: Any = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        agent = UpstreamAgent(reactor)
        response = await agent.request(b"GET", b"http://127.0.0.1:%d/" % port.getHost().port)
        taker = Taker(pause_at=1)
        response.deliverBody(taker)
        await stalled
        self.assertLess(len(taker.data), 4 << 20)
        self.assertLess(sent[0], 64 << 20)
        before = len(taker.data)
        taker.pause_at = before + (8 << 20)
        taker.transport.resumeProducing()  # type: ignore[union-attr]
        while len(taker.data) < taker.pause_at and taker.end is None:
            pause: Deferred[None] = Deferred()
            reactor.callLater(0.01, pause.callback, None)
            await pause
        self.assertIsNone(taker.end)
        taker.transport.stopProducing()  # type: ignore[union-attr]
        await gone
        await agent.close()
