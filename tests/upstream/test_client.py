"""treq for proxied traffic: its calling convention, and none of its help."""

from __future__ import annotations

import gzip
import inspect
from typing import Any

import treq.client
import treq.response
from treq.testing import RequestTraversalAgent, StubTreq
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IResponse
from twisted.web.resource import Resource
from zope.interface import implementer

from gateway.upstream.client import ProxiedResponse, ProxyClient
from tests.upstream.memory import ANSWER, Content, Network, prepared


class _Origin(Resource):
    """Tells what reached it; answers with all that a helpful client would act on."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []

    def render(self, request: Any) -> bytes:
        self.seen.append((request.method, request.uri, dict(request.requestHeaders.getAllRawHeaders())))
        if request.path == b"/redirect":
            request.setResponseCode(302)
            request.setHeader(b"location", b"/elsewhere")
            return b""
        request.addCookie(b"session", b"of-one-user")
        request.setHeader(b"content-encoding", b"gzip")
        return gzip.compress(b"hello", mtime=0)


class RawTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.origin = _Origin()
        self.agent = RequestTraversalAgent(self.origin)
        self.client = ProxyClient(self.agent)

    def send(self, **more: Any) -> Any:
        deferred = self.client.send(prepared(**more))
        self.agent.flush()
        return self.successResultOf(deferred)

    def test_cookies_stay_apart(self) -> None:
        """A cookie set for one caller never goes out with the next caller's request."""
        for _ in range(2):
            response = self.send()
            self.assertIn((b"set-cookie", b"session=of-one-user"), response.raw_fields)
            self.assertEqual(list(response.cookies()), [])
        for _, _, fields in self.origin.seen:
            self.assertNotIn(b"Cookie", fields)

    def test_encodings_stay(self) -> None:
        """Nothing is asked for that the caller did not ask for, and nothing is decoded."""
        response = self.send()
        content: Deferred[bytes] = response.content()
        self.agent.flush()
        self.assertEqual(self.successResultOf(content), gzip.compress(b"hello", mtime=0))
        self.assertEqual(response.headers.getRawHeaders("content-encoding"), ["gzip"])
        self.assertNotIn(b"Accept-Encoding", self.origin.seen[0][2])

    def test_redirects_are_answers(self) -> None:
        """A redirect is handed to the caller."""
        response = self.send(target=b"/redirect")
        self.assertEqual((response.code, len(self.origin.seen)), (302, 1))
        self.assertIn((b"location", b"/elsewhere"), response.raw_fields)

    def test_url_stays(self) -> None:
        """The target arrives as it was given."""
        self.send(target=b"/a%2fb//c?d=%zz&e")
        self.assertEqual(self.origin.seen[0][1], b"/a%2fb//c?d=%zz&e")

    def test_calling_convention(self) -> None:
        """A raw request takes treq's arguments, as text or bytes."""
        for method, url in (("PURGE", "http://h/x"), (b"PURGE", b"http://h/x")):
            deferred = self.client.request(method, url, headers=Headers({"x-a": ["1"]}), raw=True)
            self.agent.flush()
            self.assertIsInstance(self.successResultOf(deferred), ProxiedResponse)
            self.assertEqual(self.origin.seen[-1][:2], (b"PURGE", b"/x"))

    def test_no_other_options(self) -> None:
        """An option that would change a raw request is refused rather than dropped."""
        self.assertRaises(TypeError, self.client.request, "GET", "http://h/", raw=True, params={"a": "b"})
        self.assertRaises(TypeError, self.client.request, "GET", "http://h/", raw=True, cookies={"a": "b"})


class StockTests(SynchronousTestCase):
    def test_without_raw(self) -> None:
        """Every other call does what treq does."""
        origin = _Origin()
        agent = RequestTraversalAgent(origin)
        client = ProxyClient(agent)
        for _ in range(2):
            deferred = client.get("http://h/x", params={"a": "b"})
            agent.flush()
            content = self.successResultOf(deferred).text()
            agent.flush()
            self.assertEqual(self.successResultOf(content), "hello")
        method, uri, fields = origin.seen[-1]
        self.assertEqual((method, uri), (b"GET", b"/x?a=b"))
        self.assertEqual(fields[b"Cookie"], [b"session=of-one-user"])
        self.assertEqual(fields[b"Accept-Encoding"], [b"gzip"])

    def test_own_agent(self) -> None:
        """treq as it comes works over our agent."""
        network = Network()
        client = ProxyClient(
            network.agent, data_to_body_producer=lambda data: Content(len(data), data, whole=True)
        )
        deferred = client.post("http://10.0.0.1/x", json={"a": 1})
        socket = network.accept()
        self.assertIn(b"Content-Type: application/json; charset=UTF-8\r\n", socket.value())
        self.assertIn(b'{"a":1}', socket.value())
        socket.says(ANSWER)
        self.assertEqual(self.successResultOf(self.successResultOf(deferred).text()), "hi")


class DoublesTests(SynchronousTestCase):
    def test_over_our_agent(self) -> None:
        """A prepared request goes through the client to our agent as it is, content included."""
        network = Network()
        deferred = ProxyClient(network.agent).send(prepared(b"POST"), Content(3, b"abc", whole=True))
        socket = network.accept()
        self.assertEqual(
            socket.value(), b"POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n\r\nabc"
        )
        socket.says(ANSWER)
        response = self.successResultOf(deferred)
        self.assertTrue(IResponse.providedBy(response))
        self.assertEqual((response.code, response.raw_fields), (200, [(b"content-length", b"2")]))
        self.assertEqual(self.successResultOf(response.content()), b"hi")
        self.assertIn("200", repr(response))

    def test_cancelled(self) -> None:
        """Cancelling reaches the connection."""
        network = Network()
        deferred = ProxyClient(network.agent).send(prepared())
        socket = network.accept()
        deferred.cancel()
        self.failureResultOf(deferred)
        self.assertTrue(socket.aborted)

    def test_any_agent(self) -> None:
        """Any ``IAgent`` will do, such as a stub that answers by itself."""

        @implementer(IAgent)
        class Stub:
            def request(self, method: Any, uri: Any, headers: Any = None, bodyProducer: Any = None) -> Any:
                calls.append((method, uri, headers, bodyProducer))
                return succeed(response)

        calls: list[Any] = []
        network = Network()
        call = network.get()
        network.accept().says(ANSWER)
        response = self.successResultOf(call)
        request = prepared()
        answer = self.successResultOf(ProxyClient(Stub()).send(request))
        self.assertEqual((answer.code, answer.original), (200, response))
        self.assertEqual(calls, [(b"GET", b"http://10.0.0.1:8080/x", request, None)])

    def test_stub_treq(self) -> None:
        """It takes the place of treq's own double in code written against treq."""
        for name in ("get", "put", "post", "patch", "head", "delete", "request"):
            self.assertTrue(hasattr(StubTreq(Resource()), name))
            self.assertTrue(callable(getattr(ProxyClient, name)))


class Waiter:
    """Waits for a response and takes its content."""

    def __init__(self) -> None:
        self.status = 0
        self.content = b""
        self.flow: Any = None
        self.end: object = None
        self.failure: Any = None

    def response_started(self, head: Any, content: bytes, connection: Any) -> Waiter:
        self.status, self.flow = head.status, connection
        self.content += content
        if connection is None:
            self.end = "complete"
        return self

    def request_failed(self, failure: Any) -> None:
        self.failure = failure

    def response_content(self, data: bytes) -> None:
        self.content += data

    def response_ended(self) -> None:
        self.end = "complete"

    def response_failed(self, kind: str, detail: str, cause: Any) -> None:
        self.end = kind


class RelayTests(SynchronousTestCase):
    """The same without a Deferred: the waiter is told."""

    def setUp(self) -> None:
        self.network = Network()
        self.waiter = Waiter()

    def relay(self) -> Any:
        return ProxyClient(self.network.agent).relay(prepared(), None, self.waiter)

    def test_in_one_piece(self) -> None:
        """A response that came whole is told with all its content."""
        self.relay()
        self.network.accept().says(ANSWER)
        self.assertEqual((self.waiter.status, self.waiter.content, self.waiter.end), (200, b"hi", "complete"))

    def test_in_pieces(self) -> None:
        """Content is handed on as it comes, and the upstream is held back while the waiter says so."""
        self.relay()
        socket = self.network.accept()
        socket.says(ANSWER[:-1])
        self.waiter.flow.pause()
        self.assertEqual(socket.producerState, "paused")
        self.waiter.flow.resume()
        socket.says(ANSWER[-1:])
        self.assertEqual((self.waiter.content, self.waiter.end), (b"hi", "complete"))

    def test_broken_off(self) -> None:
        """Content that ends too soon, and a response that never comes, have a reason."""
        self.relay()
        socket = self.network.accept()
        socket.says(ANSWER[:-1])
        socket.hangs_up()
        self.assertEqual(self.waiter.end, "upstream_closed")
        self.relay()
        self.network.accept().hangs_up()
        self.assertEqual(self.waiter.failure.value.kind, "upstream_closed")

    def test_given_up(self) -> None:
        """Who gives a request up hears no more of it, and its connection is cut."""
        call = self.relay()
        socket = self.network.accept()
        call.cancel()
        self.assertTrue(socket.aborted)
        socket.hangs_up()
        self.assertEqual((self.waiter.status, self.waiter.failure), (0, None))

    def test_any_agent(self) -> None:
        """Over any other ``IAgent``, such as a test double, the waiter is told the same."""
        origin = _Origin()
        agent = RequestTraversalAgent(origin)
        ProxyClient(agent).relay(prepared(), None, self.waiter)
        agent.flush()
        self.assertEqual(self.waiter.status, 200)
        self.assertEqual(self.waiter.content, gzip.compress(b"hello", mtime=0))
        self.assertEqual(self.waiter.end, "complete")

    def test_any_agent_given_up(self) -> None:
        """There, too, who gives it up hears no more of it."""
        deferred: Deferred[Any] = Deferred()

        @implementer(IAgent)
        class Stub:
            def request(self, method: Any, uri: Any, headers: Any = None, bodyProducer: Any = None) -> Any:
                return deferred

        ProxyClient(Stub()).relay(prepared(), None, self.waiter).cancel()
        self.assertEqual((self.waiter.status, self.waiter.failure), (0, None))


class PinTests(SynchronousTestCase):
    """What is relied on of treq's insides; if one fails after an upgrade, so will ``ProxyClient``."""

    def test_client(self) -> None:
        """``HTTPClient`` keeps its agent as ``_agent`` and passes its calls on to ``request``."""
        agent = object()
        self.assertIs(treq.client.HTTPClient(agent)._agent, agent)
        names = list(inspect.signature(treq.client.HTTPClient.request).parameters)
        self.assertEqual(names[:3], ["self", "method", "url"])
        for name in ("headers", "data", "_stacklevel"):
            self.assertIn(name, names)

    def test_response(self) -> None:
        """``_Response`` wraps ``original`` and copies ``_cookiejar``."""
        parameters = list(inspect.signature(treq.response._Response.__init__).parameters)
        self.assertEqual(parameters, ["self", "original", "cookiejar"])
        jar = treq.client.IndexableCookieJar()
        original = object()
        response = treq.response._Response(original, jar)
        self.assertIs(response.original, original)
        self.assertIs(response._cookiejar, jar)
