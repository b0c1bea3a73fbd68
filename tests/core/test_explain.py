"""``explain``: the same decisions as live traffic, told instead of acted on."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from gateway.core.chain import BoundPlugin
from gateway.core.compiler import Compiler
from gateway.core.exchange import ContentTooLarge, Exchange, Reply
from gateway.core.explain import explain
from gateway.core.explanation import Explanation
from gateway.core.merge import PluginUse
from gateway.core.regex_limits import MatchTimeout
from gateway.core.snapshot import Snapshot
from gateway.model.record import Change
from tests.core.configs import FakePlugins, ask, change, records, route, service
from tests.slow_regex import PATTERN, TEXT, short_limit


class ExplainCase(SynchronousTestCase):
    def snapshot(self, *changes: Change) -> Snapshot:
        return Compiler(FakePlugins(), "default").load(records(*changes), 3)

    def explain(self, snapshot: Snapshot, path: str, method: str = "GET") -> dict[str, Any]:
        return self.told(ask(snapshot, path, method))

    def told(self, exchange: Exchange) -> dict[str, Any]:
        found: dict[str, Any] = self.successResultOf(Deferred.fromCoroutine(explain(exchange)))
        return found


class ExplainTests(ExplainCase):
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
        self.assertEqual(got["plugins"][0]["result"], "not run: it reaches outside the request")
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

    def test_slow_patterns(self) -> None:
        """A regular expression that takes too long is named, and so is the 500 that a client would get."""
        told = short_limit(self)
        snapshot = self.snapshot(service("s"), route("r", "/*", vars=[["uri", "~~", PATTERN]]))
        got = self.explain(snapshot, f"/{TEXT}")
        said = f"vars of route/r: the regular expression {PATTERN} took too long"
        self.assertEqual(
            [(c["route"], c["failed"], c["detail"]) for c in got["considered"]], [("r", "vars", said)]
        )
        self.assertEqual(
            got["outcome"],
            {"status": 500, "decided_by": "gateway", "reason": "regex_timeout", "detail": said},
        )
        hidden = route("r", "/x", host="other.test", vars=[["uri", "~~", PATTERN]])
        self.assertEqual(self.explain(self.snapshot(service("s"), hidden), "/x")["outcome"]["status"], 404)
        self.assertNotEqual(told, [])


class Explained(FakePlugins):
    """A plugin source whose plugins say what they would do, as the test has them say it."""

    def __init__(self, said: Any, phases: tuple[str, ...] = ("access",)) -> None:
        super().__init__()
        self.said, self.phases, self.asked = said, phases, list[str]()

    def bind(self, use: PluginUse, metadata: Any, upstream: Any) -> BoundPlugin:
        def run(exchange: Exchange) -> Reply:
            raise AssertionError("this is no request")

        def explained(exchange: Exchange, phase: str) -> Any:
            self.asked.append(phase)
            return self.said(exchange) if callable(self.said) else self.said

        if use.name != "explained":
            return super().bind(use, metadata, upstream)
        if use.config.get("pure"):
            return BoundPlugin(use, 900, True, False, access=self.said)
        hooks: Any = dict.fromkeys(self.phases, run)
        return BoundPlugin(use, 900, False, False, explain=explained, **hooks)


class ExplainedPluginsTests(ExplainCase):
    """Plugins that say what they would do."""

    def ask(self, said: Any, phases: tuple[str, ...] = ("access",), **config: Any) -> dict[str, Any]:
        plugins = {"explained": config, "tag": {}}
        changes = records(service("s"), route("r", "/x", plugins=plugins))
        self.plugins = Explained(said, phases)
        return self.told(ask(Compiler(self.plugins, "default").load(changes, 1), "/x"))

    def test_answer(self) -> None:
        """What it would answer is the outcome, with its reason code and its words; nothing after it runs."""
        got = self.ask(Explanation(Reply(429, reason="too_many"), "none left for 3 s"))
        step = got["plugins"][0]
        self.assertEqual((step["result"], step["detail"]), ("answered 429", "none left for 3 s"))
        self.assertEqual(
            got["outcome"],
            {
                "status": 429,
                "decided_by": "plugin:explained",
                "reason": "too_many",
                "detail": "none left for 3 s",
            },
        )

    def test_words(self) -> None:
        """One that lets the request pass says on which terms; it may have to ask for that."""

        async def later() -> Explanation:
            return await succeed(Explanation(None, "2 left"))

        for said in (Explanation(None, "2 left"), lambda exchange: later()):
            got = self.ask(said)
            self.assertEqual((got["plugins"][0]["result"], got["plugins"][0]["detail"]), ("passed", "2 left"))
            self.assertEqual(got["outcome"]["reason"], "proxied")

    def test_not_sure(self) -> None:
        """What may happen is told, and the rest is explained as if it does not."""
        got = self.ask(Explanation(Reply(503), "answers 503 for 30 % of such requests", sure=False))
        self.assertEqual(got["plugins"][0]["result"], "may answer 503")
        self.assertEqual(got["outcome"]["reason"], "proxied")
        got = self.ask(Explanation(None, "would ask GET http://127.0.0.1/", sure=False))
        self.assertEqual(got["plugins"][0]["result"], "not run: it reaches outside the request")
        self.assertEqual(got["plugins"][0]["detail"], "would ask GET http://127.0.0.1/")

    def test_phases(self) -> None:
        """It is asked about each of its hooks, in their order."""
        got = self.ask(Explanation(None, ""), ("access", "rewrite", "log"))
        self.assertEqual(self.plugins.asked, ["rewrite", "access"])
        self.assertEqual(got["outcome"]["reason"], "proxied")

    def test_its_bug(self) -> None:
        """A bug in the explanation is none of the request's: it is named, and the rest is explained."""

        def broken(exchange: Exchange) -> Explanation:
            raise KeyError("status")

        got = self.ask(broken)
        self.assertEqual(got["plugins"][0]["result"], "not run: it cannot explain itself: KeyError: 'status'")
        self.assertEqual(got["outcome"]["reason"], "proxied")

    def test_filtered(self) -> None:
        """One that its filter keeps from running is not asked."""
        got = self.ask(Explanation(Reply(429), "none left"), _meta={"filter": [["uri", "==", "/y"]]})
        self.assertEqual(got["plugins"][0]["result"], "not run: its filter does not hold")
        self.assertEqual(self.plugins.asked, [])

    def test_acts_elsewhere(self) -> None:
        """One that has no say before the request is sent is told apart from one that was not reached."""
        got = self.ask(Explanation(None, ""), ("header_filter", "log"))
        self.assertEqual(got["plugins"][0]["result"], "not asked: it acts in header_filter, log")
        self.assertEqual(self.plugins.asked, [])

    def test_wants_too_much_content(self) -> None:
        """A hook that is run and wants to hold more content than it may is the 413 a client would get."""

        async def wants(exchange: Exchange) -> None:
            raise ContentTooLarge(3, 4)

        got = self.ask(wants, pure=True)["outcome"]
        self.assertEqual(
            (got["status"], got["decided_by"], got["reason"]), (413, "gateway", "body_too_large")
        )

    def test_slow_patterns(self) -> None:
        """A plugin whose regular expression takes too long does not pass: that is the request's 500."""

        def slow(exchange: Exchange) -> Any:
            raise MatchTimeout("(a+)+$", "plugin explained of route/r")

        for config in ({}, {"pure": True}):
            got = self.ask(slow, **config)
            said = "plugin explained of route/r: the regular expression (a+)+$ took too long"
            self.assertEqual(got["plugins"][0]["result"], f"failed: {said}")
            self.assertEqual((got["outcome"]["status"], got["outcome"]["reason"]), (500, "regex_timeout"))
