"""Resources that others refer to: what is redone when one of them changes, and what is missing."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway.core.compiler import Compiler
from gateway.core.exchange import Reply
from gateway.core.opening import match_route
from gateway.core.snapshot import CompiledRoute, Snapshot
from gateway.model.record import Change
from tests.core.configs import FakePlugins, ask, change, records, route, service

NODE = {"host": "127.0.0.1", "port": 9001, "weight": 1}


def apisix(id: str, **members: Any) -> Change:
    """A route as the APISIX dialect writes it."""
    return Change("default", "route", id, members, "apisix")


class TablesTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.plugins = FakePlugins()
        self.compiler = Compiler(self.plugins, "default")

    def load(self, *changes: Change) -> Snapshot:
        return self.compiler.load(records(*changes), 1)

    def apply(self, last: Snapshot, *changes: Change) -> Snapshot:
        return self.compiler.apply(last, changes, last.revision + 1)

    def route(self, snapshot: Snapshot, path: str) -> CompiledRoute:
        exchange = ask(snapshot, path)
        match_route(exchange)
        assert exchange.route is not None
        return exchange.route


class ApisixRouteTests(TablesTestCase):
    """Routes that stand by themselves."""

    def test_alone(self) -> None:
        """A route with its own upstream needs no service and no name."""
        got = self.route(self.load(apisix("r", uri="/x", upstream={"nodes": {"127.0.0.1:9001": 1}})), "/x")
        assert got.upstream is not None
        self.assertEqual((got.name, got.service_id, got.upstream.key), ("", None, "route/r"))

    def test_hosts_and_addresses(self) -> None:
        """host, remote_addr, uris and status count as their longer forms do."""
        snapshot = self.load(
            apisix("r", uris=["/x", "/y"], host="a.example", upstream={"nodes": []}),
            apisix("off", uri="/off", status=0, upstream={"nodes": []}),
            apisix("far", uri="/far", remote_addr="10.0.0.0/8", upstream={"nodes": []}),
        )
        for path, host, found in (("/y", "a.example", True), ("/y", "b.example", False)):
            self.assertEqual(snapshot.router.match(ask(snapshot, path, host=host)) is not None, found)
        self.assertIsNone(snapshot.router.match(ask(snapshot, "/off")))
        self.assertIsNone(snapshot.router.match(ask(snapshot, "/far")))

    def test_no_path(self) -> None:
        """A route without any path is set aside; the rest serves."""
        snapshot = self.load(apisix("bad", upstream={"nodes": []}), service("s"), route("r", "/x"))
        self.assertEqual(list(snapshot.quarantined), [("default", "route", "bad")])
        self.assertEqual(self.route(snapshot, "/x").id, "r")


class UpstreamTests(TablesTestCase):
    """Upstreams that stand by themselves."""

    def test_precedence(self) -> None:
        """upstream_id before inline, the route's before the service's (data-plane contract §7.1)."""
        standing = change("upstream", "u", {"nodes": [NODE]})
        other = change("upstream", "v", {"nodes": [NODE]})
        owner = change("service", "s", {"upstream_id": "v", "upstream": {"nodes": [NODE]}})
        inline = {"nodes": [NODE]}
        for members, key in (
            ({"upstream_id": "u", "upstream": inline}, "upstream/u"),
            ({"upstream": inline}, "route/r"),
            ({}, "upstream/v"),
        ):
            got = self.route(
                self.load(standing, other, owner, apisix("r", uri="/x", service_id="s", **members)), "/x"
            )
            assert got.upstream is not None
            self.assertEqual(got.upstream.key, key)

    def test_changed(self) -> None:
        """A change of an upstream is seen by every route that leads to it, also through a service."""
        first = self.load(
            change("upstream", "7", {"nodes": [NODE]}),
            change("service", "s", {"upstream_id": 7}),
            apisix("direct", uri="/a", upstream_id=7),
            apisix("through", uri="/b", service_id="s"),
        )
        second = self.apply(first, change("upstream", "7", {"nodes": [{**NODE, "port": 9002}]}))
        for path in ("/a", "/b"):
            old, new = self.route(first, path).upstream, self.route(second, path).upstream
            assert old is not None
            assert new is not None
            self.assertEqual([n.port for n in old.upstream.nodes], [9001])
            self.assertEqual([n.port for n in new.upstream.nodes], [9002])

    def test_missing(self) -> None:
        """A route whose upstream is gone stays in the table and knows which one it misses."""
        first = self.load(change("upstream", "u", {"nodes": [NODE]}), apisix("r", uri="/x", upstream_id="u"))
        got = self.route(self.apply(first, change("upstream", "u", None)), "/x")
        self.assertEqual((got.upstream, got.upstream_id), (None, "u"))

    def test_by_id(self) -> None:
        """A service's own extra upstream is found before one that stands by itself."""
        snapshot = self.load(
            service("s"),
            change("service_upstream", "s/canary", {"nodes": [NODE]}),
            change("upstream", "canary", {"nodes": []}),
            change("upstream", "u", {"nodes": []}),
        )
        found = [
            snapshot.upstream(*ids) for ids in (("s", "canary"), (None, "canary"), ("s", "u"), ("s", "x"))
        ]
        self.assertEqual(
            [None if u is None else u.key for u in found],
            ["service_upstream/s/canary", "upstream/canary", "upstream/u", None],
        )

    def test_in_settings(self) -> None:
        """An upstream in a plugin's settings keeps its turn while it stays the same."""
        document = {"nodes": [NODE]}
        held = self.compiler._inline("route/r#x", document)
        self.assertIs(self.compiler._inline("route/r#x", dict(document)), held)
        self.assertIsNot(self.compiler._inline("route/q#x", document), held)
        self.assertRaises(ValueError, self.compiler._inline, "route/r#x", {"type": "chash", "nodes": [NODE]})


class PluginConfigTests(TablesTestCase):
    """Plugins that several routes share."""

    def test_between_route_and_service(self) -> None:
        """Route before plugin config before service, whole settings at a time."""
        snapshot = self.load(
            service("s", plugins={"a": {"value": 1}, "b": {"value": 1}, "c": {"value": 1}}),
            change("plugin_config", "p", {"plugins": {"b": {"value": 2}, "c": {"value": 2}}}),
            apisix("r", uri="/x", service_id="s", plugin_config_id="p", plugins={"c": {"value": 3}}),
        )
        uses = self.route(snapshot, "/x").uses
        self.assertEqual(
            {name: (use.origin, use.config["value"]) for name, use in uses.items()},
            {"a": ("service/s", 1), "b": ("plugin_config/p", 2), "c": ("route/r", 3)},
        )

    def test_changed(self) -> None:
        """A change is seen by its routes; other routes keep their chains."""
        first = self.load(
            change("plugin_config", "p", {"plugins": {"a": {"value": 1}}}),
            apisix("r", uri="/x", plugin_config_id="p"),
            apisix("q", uri="/y", plugins={}),
        )
        second = self.apply(first, change("plugin_config", "p", {"plugins": {"a": {"value": 2}}}))
        self.assertEqual(self.route(second, "/x").uses["a"].config, {"value": 2})
        self.assertIs(self.route(second, "/y"), self.route(first, "/y"))

    def test_missing(self) -> None:
        """Requests of a route whose plugin config does not exist are refused with 503."""
        snapshot = self.load(apisix("r", uri="/x", plugin_config_id="gone"))
        exchange = ask(snapshot, "/x")
        ((_, hook),) = self.route(snapshot, "/x").chain.rewrite
        verdict = hook(exchange)
        assert isinstance(verdict, Reply)
        self.assertEqual((verdict.status, verdict.reason), (503, "reference_missing"))


class ConsumerGroupTests(TablesTestCase):
    """Plugins that several consumers share."""

    def chain(self, snapshot: Snapshot) -> list[tuple[str, str]]:
        merged = snapshot.consumer_chain(self.route(snapshot, "/x"), snapshot.consumers["jack"])
        return [(plugin.name, plugin.use.origin) for plugin in merged.chain.plugins]

    def test_between_consumer_and_route(self) -> None:
        """Consumer before consumer group before route; a change of the group is seen."""
        base = (
            apisix("r", uri="/x", plugins={"a": {}, "b": {}, "c": {}}),
            change("consumer", "jack", {"username": "jack", "group_id": "g", "plugins": {"c": {}}}),
        )
        first = self.load(change("consumer_group", "g", {"plugins": {"b": {}, "c": {}}}), *base)
        self.assertEqual(
            self.chain(first), [("a", "route/r"), ("b", "consumer_group/g"), ("c", "consumer/jack")]
        )
        second = self.apply(first, change("consumer_group", "g", {"plugins": {"d": {}}}))
        self.assertEqual(
            self.chain(second),
            [("a", "route/r"), ("b", "route/r"), ("c", "consumer/jack"), ("d", "consumer_group/g")],
        )

    def test_missing(self) -> None:
        """Requests of a consumer whose group does not exist are refused with 503."""
        snapshot = self.load(
            apisix("r", uri="/x"), change("consumer", "jack", {"username": "jack", "group_id": "gone"})
        )
        entry = snapshot.consumers["jack"]
        self.assertTrue(entry.adds)
        ((_, hook),) = snapshot.consumer_chain(self.route(snapshot, "/x"), entry).rewrite
        verdict = hook(ask(snapshot, "/x"))
        assert isinstance(verdict, Reply)
        self.assertEqual(verdict.status, 503)


class MetadataTests(TablesTestCase):
    """What a plugin is told once for all its configurations."""

    def told(self) -> list[tuple[str, str, Any]]:
        bound = zip(self.plugins.bound, self.plugins.metadata, strict=True)
        return sorted((use.origin, use.name, dict(metadata)) for use, metadata in bound)

    def test_made_anew(self) -> None:
        """When its metadata changes, the plugin is bound again wherever it stands; others are not."""
        first = self.load(
            apisix("r", uri="/x", plugins={"a": {}, "b": {}}),
            change("global_rule", "a", {"plugins": {"a": {}}}),
            change("plugin_metadata", "a", {"id": "a", "n": 1}),
        )
        self.assertEqual(
            self.told(), [("global_rule/a", "a", {"n": 1}), ("route/r", "a", {"n": 1}), ("route/r", "b", {})]
        )
        self.plugins.bound.clear()
        self.plugins.metadata.clear()
        self.apply(first, change("plugin_metadata", "a", {"n": 2}))
        self.assertEqual(self.told(), [("global_rule/a", "a", {"n": 2}), ("route/r", "a", {"n": 2})])
