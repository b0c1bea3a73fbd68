"""The order of things in a request, and every way in which it can end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gateway.core import reasons
from gateway.core.chain import BoundPlugin
from gateway.core.compiler import Compiler
from gateway.core.exchange import Exchange, Reply
from gateway.core.merge import PluginUse
from gateway.core.variables import getter
from gateway.model.record import Change
from gateway.proxy.limits import ProxyLimits
from gateway.proxy.request_body import RequestBody
from gateway.upstream.errors import UpstreamError
from tests.core.configs import FakePlugins, change, records, route, service
from tests.proxy.fakes import FakeResponse, InMemoryGateway


class TestClock(Clock):
    """A clock a test moves; plugins and the runner read it."""

    __test__ = False

    def time(self) -> float:
        return 1_700_000_000.0 + self.seconds()

    def monotonic(self) -> float:
        return self.seconds()


class ScriptedPlugins(FakePlugins):
    """Plugins whose hooks are functions of the test, by plugin name."""

    hooks: dict[str, dict[str, Any]]

    def bind(self, use: PluginUse, *_: object) -> BoundPlugin:
        if use.name in self.hooks:
            return BoundPlugin(use, use.config.get("priority", 0), False, False, **self.hooks[use.name])
        return super().bind(use)


class RunnerTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = TestClock()
        self.plugins = ScriptedPlugins()
        self.plugins.hooks = {}
        self.seen: list[str] = []

    def gateway(self, *changes: Change, limits: ProxyLimits | None = None) -> InMemoryGateway:
        snapshot = Compiler(self.plugins, "default").load(records(*changes), 1)
        self.assertEqual(snapshot.quarantined, {})
        return InMemoryGateway(snapshot, self.clock, limits or ProxyLimits())

    def simple(self, nodes: int = 1, **upstream: Any) -> InMemoryGateway:
        some = [{"host": "127.0.0.1", "port": 8000 + n, "weight": 1} for n in range(nodes)]
        return self.gateway(service("s", upstream={"nodes": some, **upstream}), route("r", "/x"))

    def note(self, name: str) -> Callable[[Exchange], None]:
        def hook(exchange: Exchange) -> None:
            self.seen.append(name)

        return hook

    def outcome(self, gateway: InMemoryGateway) -> tuple[int, str, str]:
        (exchange,) = gateway.ended
        assert exchange.outcome is not None
        return exchange.outcome.status, exchange.outcome.decided_by, exchange.outcome.reason


class ContentTests(RunnerTestCase):
    """Variables that are read from content: it is gathered where somebody asks for them, and nowhere else."""

    class Client:
        def pause_reading(self) -> None: ...

        def resume_reading(self) -> None: ...

    JSON = ("Content-Type", "application/json")

    def body(self) -> RequestBody:
        return RequestBody(None, self.Client(), read_ahead=4)

    def seen_by(self, name: str) -> Callable[[Exchange], None]:
        def hook(exchange: Exchange) -> None:
            self.seen.append(f"{name}: {getter('post_arg.a')(exchange)}")

        return hook

    def test_routing(self) -> None:
        """A route can be matched by content; the content then goes upstream as it came."""
        gateway = self.gateway(
            service("s"),
            route("by", "/x", vars=[["post_arg.a", "==", 1]]),
            route("other", "/x", priority=-1),
        )
        for content, id in ((b'{"a":1}', "by"), (b'{"a":2}', "other")):
            body = self.body()
            _, run = gateway.request("POST", "/x", [self.JSON], body)
            self.assertIsNone(run.exchange.route)
            body.data(content[:3])
            body.data(content[3:])
            body.end()
            assert run.exchange.route is not None
            self.assertEqual((run.exchange.route.id, body.can_start), (id, True))

    def test_plugins(self) -> None:
        """Plugins whose settings name such a variable find the content there; others do not wait."""
        self.plugins.hooks = {"p": {"rewrite": self.seen_by("p")}}
        asking = {"p": {"key": "$post_arg.a"}}
        gateway = self.gateway(
            service("s"), route("r", "/x", plugins=asking), route("plain", "/plain", plugins={"p": {}})
        )
        body = self.body()
        gateway.request("POST", "/x", [self.JSON], body)
        self.assertEqual(self.seen, [])
        body.data(b'{"a":"v"}')
        body.end()
        gateway.request("POST", "/plain", [self.JSON], self.body())
        gateway.request("POST", "/x", [("Content-Type", "image/png")], self.body())
        gateway.request("GET", "/x")
        self.assertEqual(self.seen, ["p: v", "p: None", "p: None", "p: None"])

    def test_too_large(self) -> None:
        """In content beyond the limit the variables are absent, and it streams on."""
        self.plugins.hooks = {"p": {"rewrite": self.seen_by("p")}}
        gateway = self.gateway(
            service("s"),
            route("r", "/x", plugins={"p": {"key": "$post_arg.a"}}),
            limits=ProxyLimits(variables_max_bytes=5),
        )
        body = self.body()
        _, run = gateway.request("POST", "/x", [self.JSON], body)
        body.data(b'{"a":"v"}')
        self.assertEqual((self.seen, body.can_start), (["p: None"], True))
        self.assertIsNone(run.exchange.outcome)


class AnswerTests(RunnerTestCase):
    def test_changed_status(self) -> None:
        """A status that a plugin changes is the one that counts, for the log too."""

        def change(exchange: Exchange) -> None:
            exchange.status = 418

        self.plugins.hooks = {"p": {"header_filter": change}}
        gateway = self.gateway(service("s", upstream=None), route("r", "/x", plugins={"p": {}}))
        client, _ = gateway.request("GET", "/x")
        self.assertEqual((client.status, self.outcome(gateway)), (418, (418, "balancer", "no_upstream")))

    def test_not_found(self) -> None:
        """Without a route: 404 with the contract's body, logged as such."""
        gateway = self.simple()
        client, _ = gateway.request("GET", "/nothing")
        self.assertEqual((client.status, client.content), (404, b'{"error_msg":"404 Route Not Found"}\n'))
        self.assertEqual(client.length, len(client.content))
        self.assertEqual(client.fields[b"content-type"], b"application/json")
        self.assertEqual(self.outcome(gateway), (404, "router", reasons.ROUTE_NOT_FOUND))

    def test_refused(self) -> None:
        """A request that is not proper HTTP is answered 400 and logged."""
        gateway = self.simple()
        client, _ = gateway.request("GET", "/a b")
        self.assertEqual((client.status, client.fields[b"connection"]), (400, b"close"))
        self.assertEqual(self.outcome(gateway), (400, "gateway", reasons.BAD_REQUEST))

    def test_no_upstream(self) -> None:
        """A service without an upstream, or without nodes: 503 as HTML."""
        for definition, reason in (
            ({}, reasons.NO_UPSTREAM),
            ({"upstream": {"nodes": []}}, reasons.NO_NODES),
        ):
            gateway = self.gateway(change("service", "s", {"name": "s", **definition}), route("r", "/x"))
            client, _ = gateway.request("GET", "/x")
            self.assertEqual(client.status, 503)
            self.assertIn(b"<h1>503", client.content)
            self.assertEqual(self.outcome(gateway), (503, "balancer", reason))

    def test_overloaded(self) -> None:
        """One request more than max_in_flight is answered 503; room that is freed is used."""
        gateway = self.gateway(service("s"), route("r", "/x"), limits=ProxyLimits(max_in_flight=1))
        first, _ = gateway.request("GET", "/x")
        second, _ = gateway.request("GET", "/x")
        self.assertEqual(second.status, 503)
        gateway.dispatcher.answer(FakeResponse()).end()
        self.assertTrue(first.finished)
        gateway.request("GET", "/x")
        self.assertEqual(len(gateway.dispatcher.sent), 2)


class ProxyTests(RunnerTestCase):
    def test_relay(self) -> None:
        """Status, fields and content of the upstream reach the client, hop-by-hop fields do not."""
        gateway = self.simple()
        client, _ = gateway.request("GET", "/x")
        response = gateway.dispatcher.answer(
            FakeResponse(
                201, [(b"content-length", b"3"), (b"x-a", b"1"), (b"connection", b"x-b"), (b"x-b", b"2")]
            )
        )
        response.data(b"abc")
        response.end()
        self.assertEqual(
            (client.status, client.length, client.content, client.finished), (201, 3, b"abc", True)
        )
        self.assertEqual(client.fields[b"x-a"], b"1")
        self.assertNotIn(b"x-b", client.fields)
        self.assertNotIn(b"connection", client.fields)
        self.assertEqual(client.fields[b"server"], b"gateway")
        self.assertEqual(self.outcome(gateway), (201, "upstream", "ok"))
        self.assertEqual([(a.node, a.status) for a in gateway.ended[0].attempts], [("127.0.0.1:8000", 201)])
        self.assertEqual(gateway.ended[0].bytes_sent, 3)

    def test_back_pressure(self) -> None:
        """The upstream's response is the client's producer while it flows, and is let go at its end."""
        gateway = self.simple()
        client, _ = gateway.request("GET", "/x")
        response = gateway.dispatcher.answer(FakeResponse())
        assert client.producer is not None
        client.producer.pauseProducing()
        self.assertEqual(response.transport.state, "paused")
        response.end()
        self.assertIsNone(client.producer)

    def test_no_content(self) -> None:
        """HEAD, 204 and 304 send no content, whatever the upstream delivers."""
        for method, status in (("HEAD", 200), ("GET", 204), ("GET", 304)):
            gateway = self.simple()
            client, _ = gateway.request(method, "/x")
            response = gateway.dispatcher.answer(FakeResponse(status, [(b"content-length", b"3")]))
            response.data(b"abc")
            response.end()
            self.assertEqual((client.status, client.content, client.finished), (status, b"", True))

    def test_cut_answer(self) -> None:
        """If the upstream breaks off in the middle, so does the answer: the client must notice."""
        gateway = self.simple()
        client, _ = gateway.request("GET", "/x")
        response = gateway.dispatcher.answer(FakeResponse())
        response.data(b"ab")
        response.end(UpstreamError(reasons.UPSTREAM_CLOSED, sent=True, detail="it ended"))
        self.assertEqual((client.finished, client.aborted), (False, True))
        self.assertEqual(self.outcome(gateway), (200, "upstream", reasons.UPSTREAM_CLOSED))

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

    def test_snapshot_is_kept(self) -> None:
        """A request in flight keeps its configuration; the next one gets the new."""
        gateway = self.simple()
        client, _ = gateway.request("GET", "/x")
        gateway.runner.snapshot = Compiler(self.plugins, "default").empty()
        gateway.dispatcher.answer(FakeResponse()).end()
        self.assertEqual(client.status, 200)
        self.assertEqual(gateway.request("GET", "/x")[0].status, 404)


class RetryTests(RunnerTestCase):
    def refuse(self, gateway: InMemoryGateway, *, sent: bool = False) -> None:
        gateway.dispatcher.fail(UpstreamError(reasons.UPSTREAM_CONNECT_FAILED, sent=sent, detail="refused"))

    def test_next_node(self) -> None:
        """A node that refuses the connection is passed over; the client does not notice."""
        gateway = self.simple(nodes=2)
        client, _ = gateway.request("GET", "/x")
        self.refuse(gateway)
        gateway.dispatcher.answer(FakeResponse()).end()
        self.assertEqual([node.port for node, _ in gateway.dispatcher.sent], [8000, 8001])
        self.assertEqual(client.status, 200)
        self.assertNotIn(b"x-apisix-upstream-status", client.fields)

    def test_all_refuse(self) -> None:
        """If every node fails: 502, and the statuses of all tries are told."""
        gateway = self.simple(nodes=2)
        client, _ = gateway.request("GET", "/x")
        self.refuse(gateway)
        self.refuse(gateway)
        self.assertEqual((client.status, client.fields[b"x-apisix-upstream-status"]), (502, b"502, 502"))
        self.assertEqual(self.outcome(gateway), (502, "upstream", reasons.UPSTREAM_CONNECT_FAILED))

    def test_names_without_address(self) -> None:
        """If no node's name leads to an address: 503; where one was reached, what that one failed of."""
        for first, last, status in (
            (reasons.NO_NODES, reasons.NO_NODES, 503),
            (reasons.UPSTREAM_READ_TIMEOUT, reasons.NO_NODES, 504),
            (reasons.NO_NODES, reasons.UPSTREAM_CONNECT_FAILED, 502),
        ):
            gateway = self.simple(nodes=2)
            client, _ = gateway.request("GET", "/x")
            for kind in (first, last):
                gateway.dispatcher.fail(UpstreamError(kind, sent=False, detail="failed"))
            self.assertEqual(client.status, status)
            self.assertEqual(self.outcome(gateway)[0], status)

    def test_timeout(self) -> None:
        """A timeout on the last try is a 504."""
        gateway = self.simple()
        client, _ = gateway.request("GET", "/x")
        gateway.dispatcher.fail(UpstreamError(reasons.UPSTREAM_READ_TIMEOUT, sent=True, detail="slow"))
        self.assertEqual(client.status, 504)
        self.assertEqual(self.outcome(gateway), (504, "upstream", reasons.UPSTREAM_READ_TIMEOUT))

    def test_post_is_not_sent_twice(self) -> None:
        """A POST that may have arrived is not tried elsewhere."""
        gateway = self.simple(nodes=2)
        client, _ = gateway.request("POST", "/x")
        gateway.dispatcher.fail(UpstreamError(reasons.UPSTREAM_CLOSED, sent=True, detail="closed"))
        self.assertEqual((client.status, len(gateway.dispatcher.sent)), (502, 1))

    def test_retries_zero(self) -> None:
        """``retries: 0`` means one try."""
        gateway = self.simple(nodes=2, retries=0)
        client, _ = gateway.request("GET", "/x")
        self.refuse(gateway)
        self.assertEqual((client.status, len(gateway.dispatcher.sent)), (502, 1))

    def test_retry_timeout(self) -> None:
        """After ``retry_timeout`` no further try is started: 502."""
        gateway = self.simple(nodes=3, retry_timeout=2)
        client, _ = gateway.request("GET", "/x")
        self.clock.advance(3)
        self.refuse(gateway)
        self.assertEqual((client.status, len(gateway.dispatcher.sent)), (502, 1))
        self.assertEqual(self.outcome(gateway), (502, "balancer", reasons.RETRY_TIMEOUT))

    def test_errors_of_the_upstream_pass(self) -> None:
        """A 500 of the upstream is its answer, not a reason to try again; its status is told."""
        gateway = self.simple(nodes=2)
        client, _ = gateway.request("GET", "/x")
        gateway.dispatcher.answer(FakeResponse(500)).end()
        self.assertEqual((client.status, len(gateway.dispatcher.sent)), (500, 1))
        self.assertEqual(client.fields[b"x-apisix-upstream-status"], b"500")


class PluginOrderTests(RunnerTestCase):
    def with_hooks(self, **plugins: dict[str, Any]) -> InMemoryGateway:
        self.plugins.hooks = {name: hooks for name, hooks in plugins.items() if name != "general"}
        general = plugins.get("general")
        changes = [service("s"), route("r", "/x", plugins={name: {} for name in self.plugins.hooks})]
        if general is not None:
            self.plugins.hooks["general"] = general
            changes.append(change("global_rule", "general", {"plugins": {"general": {}}}))
        return self.gateway(*changes)

    def all_phases(self, name: str) -> dict[str, Any]:
        phases = ("rewrite", "access", "before_proxy", "header_filter", "log")
        return {phase: self.note(f"{name} {phase}") for phase in phases}

    def test_order(self) -> None:
        """Every rewrite before any access, global rules first in each phase, log last."""
        gateway = self.with_hooks(own=self.all_phases("own"), general=self.all_phases("general"))
        gateway.request("GET", "/x")
        gateway.dispatcher.answer(FakeResponse()).end()
        phases = ("rewrite", "access", "before_proxy", "header_filter", "log")
        self.assertEqual(self.seen, [f"{who} {phase}" for phase in phases for who in ("general", "own")])

    def test_global_rules_without_route(self) -> None:
        """Global rules run for unmatched requests too, before the 404."""
        gateway = self.with_hooks(own=self.all_phases("own"), general=self.all_phases("general"))
        client, _ = gateway.request("GET", "/nothing")
        self.assertEqual(client.status, 404)
        self.assertEqual(self.seen, [f"general {p}" for p in ("rewrite", "access", "header_filter", "log")])

    def test_a_plugin_answers(self) -> None:
        """A plugin's answer ends the phases before the upstream; header_filter and log still run."""
        stop = {
            "rewrite": lambda exchange: Reply.text(403, "no", reason="stopped"),
            "access": self.note("access"),
        }
        gateway = self.with_hooks(stop=stop, other=self.all_phases("other"))
        client, _ = gateway.request("GET", "/x")
        self.assertEqual((client.status, client.content, gateway.dispatcher.sent), (403, b"no", []))
        self.assertEqual(self.seen, ["other rewrite", "other header_filter", "other log"])
        self.assertEqual(self.outcome(gateway), (403, "plugin:stop", "stopped"))

    def test_a_global_rule_answers_first(self) -> None:
        """A rejection by a global rule's rewrite comes before the route's plugins: none of them runs."""
        general = {"rewrite": lambda exchange: Reply.text(403, "no", reason="stopped")}
        gateway = self.with_hooks(own=self.all_phases("own"), general=general)
        gateway.request("GET", "/x")
        self.assertEqual(self.seen, [])

    def test_waiting(self) -> None:
        """A hook may wait; the rest goes on where it stopped."""
        waiting: Deferred[None] = Deferred()

        async def wait(exchange: Exchange) -> Reply | None:
            await waiting
            self.seen.append("waited")
            return None

        gateway = self.with_hooks(
            a={"rewrite": wait}, b={"rewrite": self.note("b"), "access": self.note("b access")}
        )
        client, _ = gateway.request("GET", "/x")
        self.assertEqual((self.seen, gateway.dispatcher.sent), ([], []))
        waiting.callback(None)
        self.assertEqual(self.seen, ["waited", "b", "b access"])
        gateway.dispatcher.answer(FakeResponse()).end()
        self.assertEqual(client.status, 200)

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

    def test_header_filter(self) -> None:
        """A header filter changes the head before any of it is sent."""

        def change_head(exchange: Exchange) -> None:
            exchange.status = 299
            exchange.response_fields.set(b"x-new", b"1")

        gateway = self.with_hooks(head={"header_filter": change_head})
        client, _ = gateway.request("GET", "/x")
        gateway.dispatcher.answer(FakeResponse()).end()
        self.assertEqual((client.status, client.fields[b"x-new"]), (299, b"1"))


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

    def test_idle(self) -> None:
        """A gateway that stops can wait for what is in flight, or cut it."""
        gateway = self.simple()
        self.successResultOf(gateway.runner.when_idle())
        client, run = gateway.request("GET", "/x")
        idle = gateway.runner.when_idle()
        self.assertNoResult(idle)
        run.stop()
        self.successResultOf(idle)
        self.assertTrue(client.aborted)
        self.assertEqual(self.outcome(gateway), (503, "gateway", reasons.SHUTTING_DOWN))
