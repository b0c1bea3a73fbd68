"""From a question in words to an exchange, and its explanation."""

from __future__ import annotations

import json
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from gateway.binding import PluginBinder
from gateway.control.explainer import Explainer
from gateway.core.addresses import AddressSet
from gateway.core.compiler import Compiler
from gateway.core.real_ip import RealIp
from gateway.model.problems import ConfigErrors
from gateway.plugins import request_validation
from gateway.registry import PluginRegistry
from gateway.testing.services import services as fake_services
from tests.core.configs import FakePlugins, records, route, service
from tests.proxy.fakes import InMemoryGateway
from tests.proxy.runner_kit import TestClock


class ExplainerTests(SynchronousTestCase):
    def setUp(self) -> None:
        compiler = Compiler(FakePlugins(), "default")
        changes = [
            service("s", hosts=["a.example"]),
            service("t"),
            route("r", "/x"),
            route("q", "/x", "t", vars=[["http_x_a", "==", "1"]]),
            route("far", "/where", "t", remote_addrs=["192.0.2.7"]),
            route("near", "/where", "t"),
            route("f", "/form", "t", vars=[["post_arg_a", "==", "é"]]),
        ]
        gateway = InMemoryGateway(compiler.load(records(*changes), 1), TestClock())
        self.gateway = gateway
        self.explainer = Explainer(gateway.runner, TestClock())

    def route(self, **query: Any) -> str | None:
        found: Any = self.successResultOf(Deferred.fromCoroutine(self.explainer.explain(query)))
        json.dumps(found)
        return found["route"] and found["route"]["id"]  # type: ignore[no-any-return]

    def test_host_of_the_url(self) -> None:
        """An absolute URL tells the host."""
        self.assertEqual(self.route(method="GET", url="http://A.example:9080/x?y=1"), "r")

    def test_host_header(self) -> None:
        """A path takes the host from the headers, and headers count in conditions."""
        self.assertEqual(self.route(method="GET", url="/x", headers=[("Host", "a.example")]), "r")
        self.assertEqual(self.route(method="GET", url="/x", headers=[("X-A", "1")]), "q")
        self.assertIsNone(self.route(method="GET", url="/x"))

    def test_proxy_in_front(self) -> None:
        """The address comes from the peer, or from the field that those who are trusted send."""
        real_ip = RealIp(b"x-real-ip", AddressSet.parse(["127.0.0.1"]), False)
        told = [("X-Real-IP", "192.0.2.7")]
        self.assertEqual(self.route(url="/where", headers=told), "near")
        self.explainer = Explainer(self.gateway.runner, TestClock(), lambda: real_ip)
        self.assertEqual(self.route(url="/where", headers=told), "far")
        self.assertEqual(self.route(url="/where", headers=told, client_ip="192.0.2.1"), "near")
        self.assertEqual(self.route(url="/where", client_ip="192.0.2.7"), "far")

    def test_content(self) -> None:
        """Variables that are read from content are there if the question has content of the right type."""
        form = [("Content-Type", "application/x-www-form-urlencoded")]
        self.assertEqual(self.route(method="POST", url="/form", headers=form, body="a=é"), "f")
        self.assertIsNone(self.route(method="POST", url="/form", headers=form, body="a=e"))
        self.assertIsNone(self.route(method="POST", url="/form", headers=form))
        self.assertIsNone(self.route(method="POST", url="/form", body="a=é"))

    def test_nothing_is_sent(self) -> None:
        """Explaining sends nothing and is no request of the gateway."""
        self.route(method="GET", url="http://a.example/x")
        self.assertEqual((self.gateway.dispatcher.sent, self.gateway.ended), ([], []))

    def test_impossible_requests(self) -> None:
        """What no client could send is refused in words."""
        for query in (
            {"url": "x"},
            {"url": "/a b"},
            {"url": "/x", "headers": [("X", "a\r\nb")]},
            {"url": "/../x"},
        ):
            self.assertRaises(ConfigErrors, self.explainer.explain, {"method": "GET", **query})


class ContentTests(SynchronousTestCase):
    """Plugins that look at content, with the content of the question."""

    def outcome(self, body: str | None) -> dict[str, Any]:
        threads: list[Any] = []

        def in_thread(work: Any) -> Deferred[Any]:
            threads.append(work)
            return succeed(work())

        services = evolve(
            fake_services(settings={"request_validation_thread_bytes": "20"}), in_thread=in_thread
        )
        binder = PluginBinder(PluginRegistry([(request_validation.plugin, "a test")]), services, {})
        schema = {"type": "object", "required": ["a"]}
        plugins = {"request-validation": {"body_schema": schema, "max_req_body_size": 100}}
        snapshot = Compiler(binder, "default").load(
            records(service("s"), route("r", "/x", plugins=plugins)), 1
        )
        gateway = InMemoryGateway(snapshot, TestClock())
        query = {"method": "POST", "url": "/x"} | ({} if body is None else {"body": body})
        asked = Explainer(gateway.runner, TestClock()).explain(query)
        found = self.successResultOf(Deferred.fromCoroutine(asked))
        self.threads = len(threads)
        outcome: dict[str, Any] = found["outcome"]
        return outcome

    def test_checked(self) -> None:
        """Content is checked as that of a request is, in a thread if it is large."""
        for body, status, reason, threads in (
            ('{"a":1}', None, "proxied", 0),
            ('{"b":1}', 400, "request_body_invalid", 0),
            (None, 400, "request_body_invalid", 0),
            ('{"b":"%s"}' % ("x" * 50), 400, "request_body_invalid", 1),
            ('{"a":"%s"}' % ("x" * 50), None, "proxied", 1),
            ("x" * 101, 413, "body_too_large", 0),
        ):
            outcome = self.outcome(body)
            self.assertEqual(
                (outcome["status"], outcome["reason"], self.threads), (status, reason, threads), body
            )
