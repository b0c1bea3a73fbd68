"""Answers, and every way in which a request can end."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from gateway.core import reasons
from gateway.core.exchange import Exchange, Reply
from gateway.core.regex_limits import MatchTimeout
from tests.core.configs import route, service
from tests.proxy.fakes import FakeResponse, InMemoryGateway
from tests.proxy.runner_kit import RunnerTestCase
from tests.slow_regex import PATTERN, TEXT, short_limit


class AnswerTests(RunnerTestCase):
    def test_changed_status(self) -> None:
        """A status that a plugin changes is the one that counts, for the log too."""

        def change(exchange: Exchange) -> None:
            exchange.status = 418

        self.plugins.hooks = {"p": {"header_filter": change}}
        gateway = self.gateway(service("s", upstream=None), route("r", "/x", plugins={"p": {}}))
        client, _ = gateway.request("GET", "/x")
        self.assertEqual((client.status, self.outcome(gateway)), (418, (418, "balancer", "no_upstream")))

    def test_no_content(self) -> None:
        """HEAD, 204 and 304 send no content, whatever the upstream delivers."""
        for method, status in (("HEAD", 200), ("GET", 204), ("GET", 304)):
            gateway = self.simple()
            client, _ = gateway.request(method, "/x")
            response = gateway.dispatcher.answer(FakeResponse(status, [(b"content-length", b"3")]))
            response.data(b"abc")
            response.end()
            self.assertEqual((client.status, client.content, client.finished), (status, b"", True))

    def test_page(self) -> None:
        """An answer of the gateway's own has a page where it says nothing itself, but not if all is well."""
        html = b"text/html; charset=utf-8"
        for status, kind, title in (
            (200, None, b""),
            (299, None, b""),
            (204, None, b""),
            (302, html, b"302 Found"),
            (304, html, b""),
            (503, html, b"503 Service Temporarily Unavailable"),
        ):
            reply = Reply(status, reason="told")
            gateway = self.with_hooks(p={"access": lambda exchange, reply=reply: reply})
            client, _ = gateway.request("GET", "/x")
            self.assertEqual((client.status, client.fields.get(b"content-type")), (status, kind))
            self.assertEqual(bool(client.content), bool(title))
            self.assertIn(title, client.content)

    def test_made_a_head(self) -> None:
        """Where a plugin has made a GET a HEAD, the answer does not promise content that will not come."""

        def change(exchange: Exchange) -> None:
            exchange.method = b"HEAD"

        gateway = self.with_hooks(p={"rewrite": change})
        client, _ = gateway.request("GET", "/x")
        response = gateway.dispatcher.answer(FakeResponse(200, [(b"content-length", b"3")]))
        response.end()
        self.assertEqual((client.length, client.content, client.finished), (0, b"", True))

    def test_header_filter(self) -> None:
        """A header filter changes the head before any of it is sent."""

        def change_head(exchange: Exchange) -> None:
            exchange.status = 299
            exchange.response_fields.set(b"x-new", b"1")

        gateway = self.with_hooks(head={"header_filter": change_head})
        client, _ = gateway.request("GET", "/x")
        gateway.dispatcher.answer(FakeResponse()).end()
        self.assertEqual((client.status, client.fields[b"x-new"]), (299, b"1"))

    def test_body_filter(self) -> None:
        """A body filter sees every piece and the end, and the length is no longer promised."""

        def upper(exchange: Exchange, data: bytes, last: bool) -> bytes:
            return data.upper() + (b"!" if last else b"")

        gateway = self.with_hooks(up={"body_filter": upper})
        client, _ = gateway.request("GET", "/x")
        response = gateway.dispatcher.answer(FakeResponse(200, [(b"content-length", b"2")]))
        response.data(b"a")
        response.data(b"b")
        response.end()
        self.assertEqual((client.length, client.content), (None, b"AB!"))
        self.assertNotIn(b"content-length", client.fields)

    def test_body_tap(self) -> None:
        """A tap sees the content as it is sent, and changes nothing: the length is still promised."""
        pieces: list[bytes] = []
        gateway = self.with_hooks(tap={"body_tap": lambda exchange, data: pieces.append(data)})
        client, _ = gateway.request("GET", "/x")
        response = gateway.dispatcher.answer(FakeResponse(200, [(b"content-length", b"2")]))
        response.data(b"a")
        response.data(b"b")
        response.end()
        self.assertEqual((client.length, client.content, b"".join(pieces)), (2, b"ab", b"ab"))


class BugTests(RunnerTestCase):
    def broken(self, phase: str) -> InMemoryGateway:
        def hook(*args: Any) -> Any:
            raise RuntimeError("a bug")

        self.plugins.hooks = {"broken": {phase: hook}}
        return self.gateway(service("s"), route("r", "/x", plugins={"broken": {}}))

    def test_in_a_hook(self) -> None:
        """A bug in a plugin is one 500, logged and counted; the gateway goes on."""
        for phase in ("rewrite", "access", "before_proxy"):
            gateway = self.broken(phase)
            client, _ = gateway.request("GET", "/x")
            self.assertEqual((client.status, gateway.runner.bugs), (500, 1))
            self.assertEqual(self.outcome(gateway)[1:], ("gateway", reasons.INTERNAL_ERROR))
            self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
            self.assertEqual(gateway.request("GET", "/nothing")[0].status, 404)

    def test_line_breaks_in_a_field(self) -> None:
        """A plugin that puts a client's line break into a field of the answer adds no field by it."""
        value = b"1\r\nSet-Cookie: evil=1"
        for hooks in (
            {"header_filter": lambda exchange: exchange.response_fields.set(b"x-a", value)},
            {"access": lambda exchange: Reply(403, b"", ((b"x-a", value),))},
        ):
            self.plugins.hooks = {"careless": hooks}
            gateway = self.gateway(service("s"), route("r", "/x", plugins={"careless": {}}))
            client, _ = gateway.request("GET", "/x")
            if client.status is None:
                gateway.dispatcher.answer(FakeResponse())
            self.assertEqual(client.fields[b"x-a"], b"1  Set-Cookie: evil=1")
            self.assertEqual(gateway.runner.bugs, 0)

    def test_log_phase(self) -> None:
        """After a bug the log phase runs all the same: what was taken for the request is given back."""
        ended: list[int] = []

        def hook(*args: Any) -> Any:
            raise RuntimeError("a bug")

        self.plugins.hooks = {
            "broken": {"access": hook},
            "keeps": {"log": lambda exchange: ended.append(exchange.status)},
        }
        gateway = self.gateway(service("s"), route("r", "/x", plugins={"broken": {}, "keeps": {}}))
        gateway.request("GET", "/x")
        self.assertEqual(ended, [500])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_in_a_header_filter(self) -> None:
        """A bug after the upstream has answered is a 500 too, and the upstream is let go."""
        gateway = self.broken("header_filter")
        client, _ = gateway.request("GET", "/x")
        gateway.dispatcher.answer(FakeResponse())
        self.assertEqual(client.status, 500)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_in_a_body_filter(self) -> None:
        """Once the head is out, a bug can only cut the answer."""
        gateway = self.broken("body_filter")
        client, _ = gateway.request("GET", "/x")
        response = gateway.dispatcher.answer(FakeResponse())
        response.data(b"abc")
        self.assertEqual((client.finished, client.aborted), (False, True))
        self.assertEqual(response.transport.state, "stopped")
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_in_a_log_hook(self) -> None:
        """A bug in a log hook is logged, and the answer is not touched."""
        gateway = self.broken("log")
        client, _ = gateway.request("GET", "/x")
        gateway.dispatcher.answer(FakeResponse()).end()
        self.assertTrue(client.finished)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)


class SlowRegexTests(RunnerTestCase):
    """A search that was given up is no bug: nothing in the log but what is told of it, once in a while."""

    def given_up(self, phase: str) -> InMemoryGateway:
        def hook(exchange: Exchange, *_: object) -> Any:
            raise MatchTimeout("(a+)+$", "plugin p of route/r")

        return self.with_hooks(p={phase: hook})

    def test_in_a_hook(self) -> None:
        """The request does not pass: it is answered 500, for a reason of its own."""
        gateway = self.given_up("access")
        client, _ = gateway.request("GET", "/x")
        self.assertEqual((client.status, client.finished), (500, True))
        self.assertEqual(self.outcome(gateway), (500, "gateway", reasons.REGEX_TIMEOUT))
        self.assertEqual(gateway.runner.bugs, 0)
        (ended,) = gateway.ended
        assert ended.outcome is not None
        self.assertIn("plugin p of route/r: the regular expression (a+)+$", ended.outcome.detail)

    def test_in_a_body_filter(self) -> None:
        """Once the head is out, the answer is cut."""
        gateway = self.given_up("body_filter")
        client, _ = gateway.request("GET", "/x")
        gateway.dispatcher.answer(FakeResponse()).data(b"abc")
        self.assertEqual((client.finished, client.aborted), (False, True))
        self.assertEqual(self.outcome(gateway), (200, "gateway", reasons.REGEX_TIMEOUT))

    def test_in_a_log_hook(self) -> None:
        """In the log phase it changes nothing."""
        gateway = self.given_up("log")
        client, _ = gateway.request("GET", "/x")
        gateway.dispatcher.answer(FakeResponse()).end()
        self.assertTrue(client.finished)
        self.assertEqual(self.outcome(gateway), (200, "upstream", reasons.OK))
        self.assertEqual(gateway.runner.bugs, 0)

    def test_in_vars(self) -> None:
        """So it is where a route's expression cannot be evaluated: no other route takes the request."""
        told = short_limit(self)
        slow = route("r", "/*", vars=[["uri", "~~", PATTERN]])
        gateway = self.gateway(service("s"), slow, route("q", "/*", priority=-1))
        client, _ = gateway.request("GET", f"/{TEXT}")
        self.assertEqual((client.status, len(told)), (500, 1))
        self.assertEqual(self.outcome(gateway), (500, "gateway", reasons.REGEX_TIMEOUT))

    def test_in_a_filter(self) -> None:
        """A plugin whose filter cannot be evaluated runs."""
        short_limit(self)
        self.plugins.hooks = {"p": {"access": self.note("p")}}
        meta = {"_meta": {"filter": [["uri", "~~", PATTERN]]}}
        gateway = self.gateway(service("s"), route("r", "/*", plugins={"p": meta}))
        gateway.request("GET", "/b")
        self.assertEqual(self.seen, [])
        gateway.request("GET", f"/{TEXT}")
        self.assertEqual(self.seen, ["p"])


class EndingTests(RunnerTestCase):
    def test_content_over_the_limit(self) -> None:
        """Content that turns out too large ends the try and is answered 413 with the connection closing."""
        gateway = self.simple()
        client, run = gateway.request("POST", "/x")
        run.too_large()
        self.assertEqual((client.status, client.fields[b"connection"]), (413, b"close"))
        self.assertEqual(gateway.dispatcher.cancelled, 1)

    def test_content_that_stops(self) -> None:
        """A client that stops sending is answered 408."""
        gateway = self.simple()
        client, run = gateway.request("POST", "/x")
        run.slow_body()
        self.assertEqual(client.status, 408)
        self.assertEqual(self.outcome(gateway), (408, "gateway", reasons.CLIENT_BODY_TIMEOUT))

    def test_too_large_after_the_answer_began(self) -> None:
        """If the upstream answers already, the answer is cut."""
        gateway = self.simple()
        client, run = gateway.request("POST", "/x")
        gateway.dispatcher.answer(FakeResponse())
        run.too_large()
        self.assertEqual((client.status, client.aborted), (200, True))

    def test_client_leaves_while_waiting(self) -> None:
        """A client that leaves early costs the upstream request, and is logged as 499."""
        gateway = self.simple()
        _, run = gateway.request("GET", "/x")
        run.client_gone()
        self.assertEqual(gateway.dispatcher.cancelled, 1)
        self.assertEqual(self.outcome(gateway), (499, "client", reasons.CLIENT_GONE))
        self.assertEqual(gateway.runner.in_flight, 0)

    def test_client_leaves_while_relaying(self) -> None:
        """Nobody goes on reading an upstream for a client that left."""
        gateway = self.simple()
        client, run = gateway.request("GET", "/x")
        response = gateway.dispatcher.answer(FakeResponse())
        run.client_gone()
        self.assertEqual(response.transport.state, "stopped")
        self.assertIsNone(client.producer)
        response.data(b"late")
        self.assertEqual((client.content, len(gateway.ended)), (b"", 1))

    def test_leaving_while_a_hook_waits(self) -> None:
        """When the client goes, a hook that waits is cancelled."""
        cancelled: list[bool] = []

        async def wait(exchange: Exchange) -> Reply | None:
            await Deferred(lambda deferred: cancelled.append(True))
            return None

        gateway = self.with_hooks(a={"access": wait})
        _, run = gateway.request("GET", "/x")
        run.client_gone()
        self.assertEqual(cancelled, [True])
        self.assertEqual(self.outcome(gateway), (499, "client", reasons.CLIENT_GONE))
