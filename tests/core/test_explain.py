"""``explain``: the same decisions as live traffic, told instead of acted on."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway.core.compiler import Compiler
from gateway.core.explain import explain
from gateway.core.snapshot import Snapshot
from gateway.model.record import Change
from tests.core.configs import FakePlugins, ask, change, records, route, service


class ExplainTests(SynchronousTestCase):
    def snapshot(self, *changes: Change) -> Snapshot:
        return Compiler(FakePlugins(), "default").load(records(*changes), 3)

    def explain(self, snapshot: Snapshot, path: str, method: str = "GET") -> dict[str, Any]:
        return explain(ask(snapshot, path, method))

    def test_proxied(self) -> None:
        """For a request that would be proxied it names the route, the chain's origins, and the next node."""
        snapshot = self.snapshot(
            service("s", plugins={"tag": {"value": 1}}), route("r", "/x", plugins={"other": {"value": 2}})
        )
        got = self.explain(snapshot, "/x")
        self.assertEqual((got["revision"], got["route"]["id"]), (3, "r"))
        self.assertEqual(
            [(p["name"], p["origin"], p["result"]) for p in got["plugins"]],
            [("other", "route/r", "passed"), ("tag", "service/s", "passed")],
        )
        self.assertEqual(got["upstream"]["picked"], "127.0.0.1:8080")
        self.assertEqual((got["outcome"]["status"], got["outcome"]["reason"]), (None, "proxied"))

    def test_first_failed_predicate(self) -> None:
        """A route that is passed over is listed with the predicate that failed."""
        snapshot = self.snapshot(service("s"), route("r", "/x", methods=["POST"]))
        got = self.explain(snapshot, "/x")
        self.assertEqual([(c["route"], c["failed"]) for c in got["considered"]], [("r", "method")])
        self.assertEqual((got["outcome"]["status"], got["outcome"]["reason"]), (404, "route_not_found"))
        self.assertIsNone(got["route"])

    def test_a_plugin_answers(self) -> None:
        """A plugin's refusal is the outcome; plugins behind it are not reached, and no node is named."""
        snapshot = self.snapshot(service("s"), route("r", "/x", plugins={"stop": {"status": 403}}))
        got = self.explain(snapshot, "/x")
        self.assertEqual(
            got["outcome"], {"status": 403, "decided_by": "plugin:stop", "reason": "stopped", "detail": ""}
        )
        self.assertIsNone(got["upstream"])

    def test_filtered(self) -> None:
        """A plugin that its filter keeps from running is told apart from one that lets the request pass."""
        tag = {"_meta": {"filter": [["uri", "==", "/y"]]}}
        got = self.explain(self.snapshot(service("s"), route("r", "/*", plugins={"tag": tag})), "/x")
        self.assertEqual(got["plugins"][0]["result"], "not run: its filter does not hold")
        got = self.explain(self.snapshot(service("s"), route("r", "/*", plugins={"tag": tag})), "/y")
        self.assertEqual(got["plugins"][0]["result"], "passed")

    def test_impure_plugins_are_not_run(self) -> None:
        """A plugin that reaches outside is named and passed over."""
        snapshot = self.snapshot(service("s"), route("r", "/x", plugins={"impure": {}}))
        got = self.explain(snapshot, "/x")
        self.assertIn("not run", got["plugins"][0]["result"])
        self.assertEqual(got["outcome"]["reason"], "proxied")

    def test_a_plugin_with_a_bug(self) -> None:
        """A plugin that raises is named, and the outcome is the 500 that a client would get."""
        snapshot = self.snapshot(service("s"), route("r", "/x", plugins={"stop": {}}))
        got = self.explain(snapshot, "/x")
        self.assertEqual(got["plugins"][0]["result"], "failed: KeyError: 'status'")
        self.assertEqual((got["outcome"]["status"], got["outcome"]["reason"]), (500, "internal_error"))

    def test_a_consumers_plugin_that_cannot_be_made(self) -> None:
        """A consumer's plugin that was stored and cannot be made is the 500 that a client would get."""
        snapshot = self.snapshot(
            service("s"),
            change("consumer", "jack", {"username": "jack", "plugins": {"refused": {}}}),
            route("r", "/x", plugins={"nobody": {"username": "jack"}}),
        )
        got = self.explain(snapshot, "/x")
        self.assertEqual((got["outcome"]["status"], got["outcome"]["reason"]), (500, "internal_error"))
        self.assertEqual(got["outcome"]["detail"], "ValueError: refused will not be bound")

    def test_takes_no_turn(self) -> None:
        """Explaining again and again does not move the balancer."""
        nodes = [{"host": "127.0.0.1", "port": port, "weight": 1} for port in (1, 2)]
        snapshot = self.snapshot(service("s", upstream={"nodes": nodes}), route("r", "/x"))
        picks = {self.explain(snapshot, "/x")["upstream"]["picked"] for _ in range(4)}
        self.assertEqual(picks, {"127.0.0.1:1"})

    def test_without_nodes(self) -> None:
        """No upstream and no nodes are told apart."""
        snapshot = self.snapshot(
            change("service", "s", {"name": "s"}),
            service("t", upstream={"nodes": []}),
            route("r", "/x"),
            route("q", "/y", "t"),
        )
        self.assertEqual(self.explain(snapshot, "/x")["outcome"]["reason"], "no_upstream")
        self.assertEqual(self.explain(snapshot, "/y")["outcome"]["reason"], "no_nodes")

    def test_global_rules(self) -> None:
        """Global rules are part of the chain, and come first."""
        snapshot = self.snapshot(
            service("s"),
            change("global_rule", "tag", {"plugins": {"tag": {}}}),
            route("r", "/x", plugins={"other": {}}),
        )
        got = self.explain(snapshot, "/x")
        self.assertEqual([p["origin"] for p in got["plugins"]], ["global_rule/tag", "route/r"])

    def test_anonymous(self) -> None:
        """A request that goes on as the anonymous consumer tells why."""
        snapshot = self.snapshot(
            service("s"),
            change("consumer", "jack", {"username": "jack"}),
            route("r", "/x", plugins={"nobody": {"username": "jack"}}),
        )
        got = self.explain(snapshot, "/x")
        self.assertEqual(got["plugins"][0]["result"], "passed as the anonymous consumer: key_missing")
        self.assertEqual(got["consumer"]["username"], "jack")

    def test_missing_resources(self) -> None:
        """A plugin config and a consumer group that do not exist are the 503 that a client would get."""
        snapshot = self.snapshot(
            service("s"),
            change("consumer", "jack", {"username": "jack", "group_id": "gone"}),
            Change("default", "route", "r", {"uri": "/x", "plugin_config_id": "gone"}, "apisix"),
            route("q", "/y", plugins={"nobody": {"username": "jack"}}),
        )
        for path, what in (("/x", "plugin_config"), ("/y", "consumer_group")):
            got = self.explain(snapshot, path)["outcome"]
            self.assertEqual(
                (got["status"], got["decided_by"], got["reason"]),
                (503, f"plugin:{what}", "reference_missing"),
            )
