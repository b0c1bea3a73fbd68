"""Tests for gateway.plugins.workflow."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from gateway.binding import PluginBinder
from gateway.core.chain import BoundPlugin
from gateway.core.explanation import Explanation
from gateway.core.limiting import SKIPPED
from gateway.core.merge import PluginUse
from gateway.interfaces import IAccessPhase, ILogPhase, IPluginFactory
from gateway.plugins import limit_conn, limit_count, workflow
from gateway.registry import PluginRegistry
from gateway.testing.exchanges import exchange
from tests.plugins.limits_kit import World, access, explained, headers

A = ["arg_a", "==", "1"]


class WorkflowTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        plugins = (workflow.plugin, limit_count.plugin, limit_conn.plugin)
        self.registry = PluginRegistry([(plugin, plugin.name) for plugin in plugins])
        self.binder = PluginBinder(self.registry, self.world.services(), os.environ)

    def bound(self, name: str, config: Mapping[str, Any]) -> BoundPlugin:
        return self.binder.bind(PluginUse(name, config, "route/r1"))

    def plugin(self, *rules: Any) -> Any:
        return self.bound("workflow", {"rules": list(rules)})

    def test_interfaces(self) -> None:
        """It is a plugin for the access and log phases."""
        verifyObject(IPluginFactory, workflow.plugin)
        made = workflow.plugin.make({"rules": []}, self.world.services())
        for interface in (IAccessPhase, ILogPhase):
            verifyObject(interface, made)

    def test_return(self) -> None:
        """The first rule that holds answers; a rule without a case always holds."""
        plugin = self.plugin(
            {"case": [A, ["arg_b", "==", "2"]], "actions": [["return", {"code": 403}]]},
            {"case": [A], "actions": [["return", {"code": 404}], ["return", {"code": 405}]]},
        )
        for target, status in (("/?a=1&b=2", 403), ("/?a=1", 404), ("/", None)):
            reply = access(plugin, exchange(target=target))
            self.assertEqual(None if reply is None else reply.status, status)
        reply = access(self.plugin({"actions": [["return", {"code": 403}]]}), exchange())
        assert reply is not None
        self.assertEqual(
            (reply.body, reply.reason), (b'{"error_msg":"rejected by workflow"}\n', "workflow_rejected")
        )

    def test_no_interim_answer(self) -> None:
        """A status that cannot end a request is answered as 503."""
        reply = access(self.plugin({"actions": [["return", {"code": 100}]]}), exchange())
        assert reply is not None
        self.assertEqual(reply.status, 503)

    def test_limit(self) -> None:
        """A limit holds for the requests of its rule, and tells clients as always."""
        settings = {"count": 1, "time_window": 60, "rejected_code": 429}
        plugin = self.plugin({"case": [A], "actions": [["limit-count", settings]]})
        request = exchange(target="/?a=1")
        self.assertIsNone(access(plugin, request))
        self.assertEqual(headers(request)["x-ratelimit-remaining"], "0")
        reply = access(plugin, exchange(target="/?a=1"))
        assert reply is not None
        self.assertEqual(reply.status, 429)
        other = exchange()
        self.assertIsNone(access(plugin, other))
        self.assertEqual(headers(other), {})

    def test_rules_count_apart(self) -> None:
        """Two rules with the same limit have a counter each."""
        settings = {"count": 1, "time_window": 60}
        plugin = self.plugin(
            {"case": [A], "actions": [["limit-count", settings]]}, {"actions": [["limit-count", settings]]}
        )
        found = [access(plugin, exchange(target=target)) is None for target in ("/?a=1", "/", "/?a=1", "/")]
        self.assertEqual(found, [True, True, False, False])

    def test_instead(self) -> None:
        """The same plugin on the route keeps out of requests that a rule's limit is for, and of no others."""
        own = self.bound("limit-count", {"count": 1, "time_window": 60})
        plugin = self.plugin({"case": [A], "actions": [["limit-count", {"count": 2, "time_window": 60}]]})

        def ask(target: str) -> tuple[bool, str]:
            request = exchange(target=target)
            passed = all(access(one, request) is None for one in (plugin, own))
            return passed, headers(request)["x-ratelimit-limit"]

        self.assertEqual([ask("/?a=1"), ask("/?a=1")], [(True, "2"), (True, "2")])
        self.assertEqual([ask("/"), ask("/")], [(True, "1"), (False, "1")])

    def test_places_are_given_back(self) -> None:
        """limit-conn by a rule gives its place back when the request ends."""
        settings = {"conn": 1, "burst": 0, "default_conn_delay": 0.1, "key": "remote_addr"}
        plugin = self.plugin({"actions": [["limit-conn", settings]]})
        assert plugin.log is not None
        for _ in range(3):
            request = exchange()
            self.assertIsNone(access(plugin, request))
            self.assertIsNotNone(access(plugin, exchange()))
            plugin.log(request)

    def test_settings(self) -> None:
        """What is accepted as settings, and in which words it is refused."""

        def problems(*actions: Any, **rule: Any) -> list[str]:
            config = {"rules": [{"actions": list(actions), **rule}]}
            return [one.message for one in self.registry.check("workflow", config)]

        self.assertEqual(problems(["return", {"code": 403}], case=[A]), [])
        self.assertEqual(problems(["sleep", {}]), ["unsupported action: sleep"])
        self.assertEqual(problems(["return", {"code": 403}], ["sleep", {}]), ["unsupported action: sleep"])
        for action, text in (
            (["return"], "the 'return' action: property \"code\" is required"),
            (["return", {"code": "403"}], "wrong type: expected integer, got string"),
            (["return", {"code": 600}], "expected 600 to be at most 599"),
            (["return", {"code": 99}], "expected 99 to be at least 100"),
            (["limit-count", 1], "the settings of the action limit-count must be an object"),
            (
                ["limit-count", {"count": 1, "time_window": 1, "group": "g"}],
                "failed to validate the 'limit-count' action: group is not supported",
            ),
            (["limit-count", {"count": 1}], "the 'limit-count' action: value should match only one schema"),
            (["limit-conn", {"conn": 1}], "the 'limit-conn' action: value should match only one schema"),
        ):
            for actions in ((action,), (["return", {"code": 403}], action)):
                (found,) = problems(*actions)
                self.assertIn(text, found)
        self.assertNotEqual(problems(["return", {"code": 403}], case=[["a", "like", "b"]]), [])
        self.assertNotEqual(problems(), [])
        self.assertNotEqual(self.registry.check("workflow", {}), [])
        error = self.assertRaises(ValueError, self.plugin, {"actions": [["limit-count", {"count": 0}]]})
        self.assertIn("plugin limit-count check schema failed", str(error))

    def test_no_effect(self) -> None:
        """Settings of a limit that have no effect are told as elsewhere."""
        sentinel = {"redis_sentinels": [{"host": "a.b", "port": 1}], "redis_master_name": "m"}
        settings = {"count": 1, "time_window": 1, "policy": "redis-sentinel", **sentinel}
        config = {"rules": [{"actions": [["limit-count", {**settings, "redis_role": "slave"}]]}]}
        (told,) = self.registry.unused("workflow", config)
        self.assertIn("limit-count.redis_role", told)

    def test_explained(self) -> None:
        """Which rule holds, and what it does; limits are looked at, and nothing is counted."""
        limit = {"count": 1, "time_window": 60, "rejected_code": 429}
        plugin = self.plugin(
            {"case": [["uri", "==", "/no"]], "actions": [["return", {"code": 403}]]},
            {"case": [["uri", "==", "/few"]], "actions": [["limit-count", limit]]},
        )
        found = explained(plugin, exchange(target="/no"))
        assert found.reply is not None
        self.assertEqual((found.reply.status, found.words), (403, "rule 1 answers 403"))
        self.assertEqual(explained(plugin, exchange()), Explanation(None, "no rule is for this request"))
        for _ in range(3):
            made = exchange(target="/few")
            self.assertEqual(explained(plugin, made).words, "rule 2, limit-count: all 1 left")
            self.assertEqual(made.context[SKIPPED], {"limit-count"})
        self.assertIsNone(plugin.access(exchange(target="/few")))
        found = explained(plugin, exchange(target="/few"))
        assert found.reply is not None
        self.assertEqual(
            (found.reply.status, found.words), (429, "rule 2, limit-count: none of 1 left for 60 s")
        )
