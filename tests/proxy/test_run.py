"""The order of things in a request: plugins, upstream, further tries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from gateway.core import reasons
from gateway.core.exchange import Exchange, Reply
from gateway.core.variables import getter
from gateway.proxy.limits import ProxyLimits
from gateway.proxy.request_body import RequestBody
from gateway.upstream.errors import UpstreamError
from tests.core.configs import change, route, service
from tests.proxy.fakes import FakeResponse, InMemoryGateway
from tests.proxy.runner_kit import RunnerTestCase


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
    def test_not_found(self) -> None:
        """Without a route: 404 with the contract's body, logged as such."""
        gateway = self.simple()
        client, _ = gateway.request("GET", "/nothing")
        self.assertEqual((client.status, client.content), (404, b'{"error_msg":"404 Route Not Found"}\n'))
        self.assertEqual(client.length, len(client.content))
        self.assertEqual(client.fields[b"content-type"], b"application/json")
        self.assertEqual(self.outcome(gateway), (404, "router", reasons.ROUTE_NOT_FOUND))

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

    def test_cut_answer(self) -> None:
        """If the upstream breaks off in the middle, so does the answer: the client must notice."""
        gateway = self.simple()
        client, _ = gateway.request("GET", "/x")
        response = gateway.dispatcher.answer(FakeResponse())
        response.data(b"ab")
        response.end(UpstreamError(reasons.UPSTREAM_CLOSED, sent=True, detail="it ended"))
        self.assertEqual((client.finished, client.aborted), (False, True))
        self.assertEqual(self.outcome(gateway), (200, "upstream", reasons.UPSTREAM_CLOSED))


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

    def test_node(self) -> None:
        """In ``before_proxy`` plugins know which node it is, at each try."""
        nodes: list[str] = []

        def look(exchange: Exchange) -> None:
            assert exchange.node is not None
            nodes.append(exchange.node.key)

        self.plugins.hooks = {"own": {"before_proxy": look}}
        some = [{"host": "127.0.0.1", "port": port, "weight": 1} for port in (8000, 8001)]
        gateway = self.gateway(service("s", upstream={"nodes": some}), route("r", "/x", plugins={"own": {}}))
        gateway.request("GET", "/x")
        gateway.dispatcher.fail(UpstreamError(reasons.UPSTREAM_CONNECT_FAILED, sent=False))
        self.assertEqual(nodes, [node.key for node, _ in gateway.dispatcher.sent])
        self.assertEqual(len(set(nodes)), 2)

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
