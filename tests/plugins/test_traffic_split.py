"""Tests for gateway.plugins.traffic_split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from gateway.core.exchange import Exchange
from gateway.core.explanation import Explanation
from gateway.interfaces import IAccessPhase, IPluginFactory
from gateway.plugins import traffic_split
from gateway.registry import PluginRegistry
from gateway.testing.exchanges import exchange
from tests.plugins.limits_kit import World, access, explained


def upstream(port: int, **more: Any) -> dict[str, Any]:
    return {"nodes": [{"host": "127.0.0.1", "port": port, "weight": 1}], **more}


@frozen(eq=False)
class Route:
    service_id: str | None = "s"


@frozen(eq=False)
class Snapshot:
    """The upstreams that have ids."""

    known: Mapping[tuple[str | None, str], Any]

    def upstream(self, service_id: str | None, id: str) -> Any:
        return self.known.get((service_id, id))


class TrafficSplitTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.compiled: list[Mapping[str, Any]] = []
        self.known: dict[tuple[str | None, str], Any] = {}

    def compile(self, document: Mapping[str, Any]) -> Any:
        self.compiled.append(document)
        return document["nodes"][0]["port"]

    def plugin(self, *rules: Any) -> Any:
        services = World().services(upstream=self.compile)
        return traffic_split.plugin.make({"rules": list(rules)}, services)

    def request(self, **more: Any) -> Exchange:
        made: Any = exchange(**more)
        made.snapshot = Snapshot(self.known)
        made.route = Route()
        return made  # type: ignore[no-any-return]  # an Exchange, its snapshot and route aside

    def where(self, plugin: Any, count: int, **more: Any) -> Counter[Any]:
        found: Counter[Any] = Counter()
        for _ in range(count):
            request = self.request(**more)
            self.assertIsNone(access(plugin, request))
            found[request.upstream] += 1
        return found

    def test_interfaces(self) -> None:
        """It is a plugin for the access phase."""
        verifyObject(IPluginFactory, traffic_split.plugin)
        verifyObject(IAccessPhase, self.plugin())

    def test_weights(self) -> None:
        """Upstreams get their shares exactly; an entry without one is the route's own."""
        plugin = self.plugin(
            {
                "weighted_upstreams": [
                    {"upstream": upstream(1), "weight": 3},
                    {"upstream": upstream(2)},
                    {"weight": 2},
                ]
            }
        )
        self.assertEqual(self.where(plugin, 12), {1: 6, 2: 2, None: 4})

    def test_match(self) -> None:
        """The first rule with a condition that holds counts; inside a condition everything must hold."""
        plugin = self.plugin(
            {
                "match": [
                    {"vars": [["arg_a", "==", "1"], ["http_b", "==", "2"]]},
                    {"vars": [["arg_c", "==", "3"]]},
                ],
                "weighted_upstreams": [{"upstream": upstream(1)}],
            },
            {"match": [{"vars": [["arg_a", "==", "1"]]}], "weighted_upstreams": [{"upstream": upstream(2)}]},
        )
        for target, headers, wanted in (
            ("/?a=1", [("b", "2")], 1),
            ("/?c=3", [], 1),
            ("/?a=1", [], 2),
            ("/?a=2", [("b", "2")], None),
        ):
            self.assertEqual(self.where(plugin, 2, target=target, headers=headers), {wanted: 2}, target)

    def test_no_rules(self) -> None:
        """Without rules, or with a rule that names nothing, everything goes where it went."""
        self.assertEqual(self.where(self.plugin(), 2), {None: 2})
        self.assertEqual(self.where(self.plugin({"match": []}), 2), {None: 2})
        self.assertEqual(self.where(traffic_split.plugin.make({}, World().services()), 2), {None: 2})

    def test_zero(self) -> None:
        """A weight of 0 is no share; if that is all, everything goes where it went."""
        plugin = self.plugin(
            {"weighted_upstreams": [{"upstream": upstream(1), "weight": 0}, {"upstream": upstream(2)}]}
        )
        self.assertEqual(self.where(plugin, 3), {2: 3})
        plugin = self.plugin({"weighted_upstreams": [{"upstream": upstream(1), "weight": 0}]})
        self.assertEqual(self.where(plugin, 3), {None: 3})

    def test_ids(self) -> None:
        """An upstream by its id is the service's, as it is now."""
        plugin = self.plugin({"weighted_upstreams": [{"upstream_id": 7}]})
        self.known["s", "7"] = "seven"
        self.assertEqual(self.where(plugin, 1), {"seven": 1})
        self.known["s", "7"] = "another"
        self.assertEqual(self.where(plugin, 1), {"another": 1})

    def test_missing(self) -> None:
        """An id that leads nowhere is a 500 that names it."""
        reply = access(self.plugin({"weighted_upstreams": [{"upstream_id": "gone"}]}), self.request())
        assert reply is not None
        self.assertEqual(
            (reply.status, reply.body), (500, b"failed to fetch upstream info by upstream id: gone")
        )
        self.assertEqual(reply.reason, "reference_missing")

    def test_what_counts(self) -> None:
        """Of an upstream in the settings only what says where and how counts; the plugin makes it once."""
        checks = {"active": {"http_path": "/"}}
        plugin = self.plugin(
            {
                "weighted_upstreams": [
                    {"upstream": upstream(1, type="chash", key="uri", retries=9, checks=checks)}
                ]
            }
        )
        self.where(plugin, 5)
        self.assertEqual(self.compiled, [upstream(1, type="chash", key="uri")])

    def test_settings(self) -> None:
        """What is accepted as settings."""
        registry = PluginRegistry([(traffic_split.plugin, "here")])

        def problems(*entries: Any, match: Any = ()) -> list[str]:
            rule = {"match": list(match), "weighted_upstreams": list(entries)}
            return [one.message for one in registry.check("traffic-split", {"rules": [rule]})]

        for entry in (
            {"upstream": upstream(1)},
            {"upstream_id": "a"},
            {"upstream_id": 1},
            {"upstream": {"nodes": {"127.0.0.1:80": 1}, "type": "roundrobin"}},
            {"upstream": {"service_name": "a", "discovery_type": "consul"}},
            {},
        ):
            self.assertEqual(problems(entry), [], entry)
        bad: tuple[Any, ...] = (
            {"weight": -1},
            {"weight": 1.5},
            {"upstream": {"nodes": {"127.0.0.1:80": -1}}},
            {"upstream": {**upstream(1), "type": "random"}},
            {"upstream": {**upstream(1), "type": "chash"}},
            {"upstream": {"type": "roundrobin"}},
            {"upstream": {"service_name": "a"}},
        )
        for entry in bad:
            self.assertNotEqual(problems(entry), [], entry)
        self.assertNotEqual(problems(*[{}] * 21), [])
        self.assertNotEqual(problems(), [])
        words = problems({}, match=[{"vars": [["a", "like", "b"]]}])
        self.assertEqual(words, ["failed to validate the 'vars' expression: invalid operator 'like'"])

    def test_explained(self) -> None:
        """Which rule holds and where it leads; the request follows, and no turn is taken."""
        split = [
            {"upstream": {"nodes": [{"host": "127.0.0.1", "port": 1, "weight": 1}]}, "weight": 2},
            {"upstream_id": "a", "weight": 1},
            {"weight": 1},
        ]
        rules: list[Any] = [
            {
                "match": [{"vars": [["arg_x", "==", "1"]]}],
                "weighted_upstreams": [{"upstream_id": "a"}, {"weight": 0}],
            },
            {"match": [{"vars": [["arg_x", "==", "2"]]}], "weighted_upstreams": split},
            {"match": [{"vars": [["arg_x", "==", "3"]]}], "weighted_upstreams": [{"weight": 0}]},
        ]
        self.known["s", "a"] = "A"
        made_up = SimpleNamespace(upstream=SimpleNamespace(nodes=[SimpleNamespace(key="127.0.0.1:1")]))
        services = World().services(upstream=lambda document: made_up)
        plugin: Any = traffic_split.plugin.make({"rules": rules}, services)
        for x, upstream, words in (
            ("0", None, "no rule is for this request"),
            ("1", "A", "rule 1: all to upstream a"),
            ("3", None, "rule 3: nobody has a weight"),
        ):
            made = self.request(target=f"/?x={x}")
            self.assertEqual(explained(plugin, made), Explanation(None, words))
            self.assertEqual(made.upstream, upstream)
        told = "rule 2: 2 of 4 to 127.0.0.1:1, 1 of 4 to upstream a, 1 of 4 to where it goes anyway"
        for _ in range(5):
            made = self.request(target="/?x=2")
            self.assertEqual(explained(plugin, made).words, told)
            self.assertEqual(made.upstream, made_up)
        self.known.clear()
        found = explained(plugin, self.request(target="/?x=1"))
        assert found.reply is not None
        self.assertEqual((found.reply.status, found.reply.reason), (500, "reference_missing"))
