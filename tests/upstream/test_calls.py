"""Calls of the gateway's own, to a real server on loopback."""

from __future__ import annotations

import gzip
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.ssl import trustRootFromCertificates
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from gateway.interfaces import HttpAnswer, HttpCallFailed, KeepAlive
from gateway.upstream import calls
from gateway.upstream.calls import TreqCalls
from gateway.upstream.tls import ClientTLS
from tests.ports import reserve
from tests.upstream.certificates import certificate, public


class Echo(Resource):
    """Answers with what it was sent."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.cookies: list[bytes | None] = []
        self.ports: list[int] = []
        self.codings: list[list[bytes]] = []
        self.arrived: Deferred[None] = Deferred()
        self.gone: Deferred[None] = Deferred()

    def render(self, request: Request) -> Any:
        self.cookies.append(request.getHeader(b"cookie"))
        self.codings.append(request.requestHeaders.getRawHeaders(b"accept-encoding", []))
        peer: Any = request.getClientAddress()
        self.ports.append(peer.port)
        if request.path == b"/never":
            request.notifyFinish().addErrback(lambda failure: self.gone.callback(None))
            self.arrived.callback(None)
            return NOT_DONE_YET
        if request.path == b"/gzip":
            request.setHeader(b"content-encoding", b"gzip")
            return gzip.compress(b"hello")
        if request.path == b"/moved":
            request.redirect(b"/elsewhere")
            return b""
        request.addCookie(b"who", b"me")
        request.setHeader(b"x-seen", request.getHeader(b"x-sent") or b"-")
        assert request.content is not None
        return request.method + b" " + request.uri + b" " + request.content.read()


class CallTests(TestCase):
    def setUp(self) -> None:
        self.echo = Echo()
        port: Any = reactor.listenTCP(0, Site(self.echo), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.url = f"http://127.0.0.1:{port.getHost().port}"
        self.calls = TreqCalls(reactor)
        self.addCleanup(self.calls.close)

    async def refused(self, *args: Any, **named: Any) -> HttpCallFailed:
        return await self.assertFailure(self.calls.request(*args, **named), HttpCallFailed)  # type: ignore[no-any-return]

    async def test_there_and_back(self) -> None:
        """Method, target, fields and content arrive; status, fields and content come back."""
        answer: HttpAnswer = await self.calls.request(
            "POST", f"{self.url}/a?b=c", fields=[(b"X-Sent", b"1")], content=b"hello"
        )
        self.assertEqual(
            (answer.status, answer.content, answer.field(b"x-seen")), (200, b"POST /a?b=c hello", b"1")
        )
        self.assertIsNone(answer.field(b"x-other"))
        self.assertIsNone(answer.field(b"content-encoding"))

    async def test_codings(self) -> None:
        """What may come is what the caller says; gzip comes decoded all the same."""
        for said in ([], [(b"accept-encoding", b"br"), (b"Accept-Encoding", b"gzip")]):
            await self.calls.request("GET", self.url, fields=said)
            self.assertEqual(self.echo.codings.pop(), [value for _, value in said])
        answer = await self.calls.request("GET", f"{self.url}/gzip")
        self.assertEqual((answer.content, answer.field(b"content-encoding")), (b"hello", None))

    async def test_keep(self) -> None:
        """A connection serves the next call that says the same of it, unless none is to be kept."""
        keep, none = KeepAlive(1, 60.0), KeepAlive(0)
        for said in (keep, keep, KeepAlive(2, 60.0), none, none):
            await self.calls.request("GET", self.url, keep=said)
        first, second, other, *closed = self.echo.ports
        self.assertEqual(first, second)
        self.assertEqual(len({first, other, *closed}), 4)

    async def test_many_sorts_of_keeping(self) -> None:
        """The number of pools is bounded; who was pushed out gets a new one."""
        self.patch(calls, "MAX_POOLS", 2)
        for number in (1, 2, 3, 1):
            await self.calls.request("GET", self.url, keep=KeepAlive(number))
        self.assertEqual(len(self.calls._pools), 2)
        self.assertEqual(len(set(self.echo.ports)), 4)

    async def test_no_memory(self) -> None:
        """Redirects are not followed, and no cookie is sent back."""
        for path in ("/", "/moved", "/"):
            answer = await self.calls.request("GET", self.url + path)
        self.assertEqual(answer.status, 200)
        self.assertEqual((await self.calls.request("GET", f"{self.url}/moved")).status, 302)
        self.assertEqual(self.echo.cookies, [None] * 4)

    async def test_too_late(self) -> None:
        """Who does not answer in time has not answered; the connection is let go."""
        clock = self.calls._reactor = Clock()
        waiting = self.refused("GET", f"{self.url}/never?key=secret", timeout_s=3)
        outcome = Deferred.fromCoroutine(waiting)
        await self.echo.arrived
        clock.advance(2.9)
        self.assertNoResult(outcome)
        clock.advance(0.1)
        error = await outcome
        self.assertTrue(error.timed_out)
        self.assertNotIn("secret", str(error))
        await self.echo.gone

    async def test_too_large(self) -> None:
        """An answer that is larger than allowed is none."""
        error = await self.refused("POST", self.url, content=b"x" * 100, max_bytes=50)
        self.assertFalse(error.timed_out)

    async def test_nobody(self) -> None:
        """Nobody there, or no such URL: a failure that says so."""
        self.assertIn("refused", str(await self.refused("GET", f"http://127.0.0.1:{reserve(self)}/")))
        await self.refused("GET", "ftp://127.0.0.1/")

    async def test_tls(self) -> None:
        """A certificate that is not trusted is an obstacle only where it is asked for."""
        name = "localhost"
        port: Any = reactor.listenSSL(0, Site(Echo()), certificate(name).options(), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        url = f"https://{name}:{port.getHost().port}/"
        self.assertEqual((await self.calls.request("GET", url, verify=False)).status, 200)
        await self.refused("GET", url)
        trusting = TreqCalls(reactor, tls=ClientTLS(trustRootFromCertificates([public(name)])))
        self.addCleanup(trusting.close)
        self.assertEqual((await trusting.request("GET", url)).status, 200)
