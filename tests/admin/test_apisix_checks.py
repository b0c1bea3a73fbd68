"""References, duplicates, plugins, and who keeps what from being deleted (contract §4.2, §4.5, §5)."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway.plugins import limit_count
from gateway.registry import PluginRegistry
from tests.admin.apisix_kit import UPSTREAM, ApisixGateway

ROUTE = {"uri": "/a", "plugins": {}}


class ReferenceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.gateway = ApisixGateway()

    def refused(self, path: str, body: dict[str, Any], text: str) -> None:
        self.assertEqual(self.gateway.refused("PUT", path, body), text)

    def test_missing(self) -> None:
        """What a document refers to must be there."""
        missing = "failed to fetch {0} info by {0} id [{1}], response code: 404"
        for member, what in (
            ("upstream_id", "upstream"),
            ("service_id", "service"),
            ("plugin_config_id", "plugin config"),
        ):
            for id in ("x", 7):
                self.refused("/routes/1", {**ROUTE, member: id}, missing.format(what, id))
        self.refused("/services/1", {"upstream_id": "x"}, missing.format("upstream", "x"))
        self.refused("/stream_routes/1", {"upstream_id": "x"}, missing.format("upstream", "x"))
        self.refused("/stream_routes/1", {"service_id": "x"}, missing.format("service", "x"))
        self.refused("/consumers", {"username": "a", "group_id": "x"}, missing.format("consumer group", "x"))
        tls = {**UPSTREAM, "tls": {"client_cert_id": "x"}}
        self.refused("/upstreams/1", tls, missing.format("ssl", "x"))
        self.refused("/routes/1", {"uri": "/a", "upstream": tls}, missing.format("ssl", "x"))

    def test_there(self) -> None:
        """A whole number is an id like its text."""
        self.gateway.put("/upstreams/7", UPSTREAM)
        self.gateway.put("/services/7", {"upstream_id": 7})
        self.gateway.put("/plugin_configs/7", {"plugins": {}})
        self.gateway.put("/routes/1", {"uri": "/a", "service_id": 7, "plugin_config_id": "7"})

    def test_superior(self) -> None:
        """A stream route stands below another one of its protocol."""
        self.gateway.put("/stream_routes/1", {"protocol": {"name": "redis"}})
        self.gateway.put("/stream_routes/2", {"protocol": {"name": "redis", "superior_id": "1"}})
        for id, protocol, text in (
            (
                "3",
                {"name": "redis", "superior_id": "9"},
                "failed to fetch stream routes[9], response code: 404",
            ),
            ("3", {"name": "redis", "superior_id": 3}, "stream route can not set itself as superior_id"),
            (
                "3",
                {"name": "dubbo", "superior_id": "1"},
                "protocol mismatch: subordinate protocol [dubbo] does not match superior protocol [redis]",
            ),
        ):
            self.refused(f"/stream_routes/{id}", {"protocol": protocol}, text)
        text = "can not delete this stream route directly, stream route [2] is still using it as superior_id"
        self.assertEqual(self.gateway.refused("DELETE", "/stream_routes/1"), text)

    def test_rules(self) -> None:
        """No plugin stands in two global rules."""
        plugins = {"plugins": {"limit-count": {"count": 1}}}
        self.gateway.put("/global_rules/1", plugins)
        self.gateway.put("/global_rules/1", plugins)
        text = "plugin 'limit-count' already exists in global rule with id '1'"
        self.refused("/global_rules/2", plugins, text)

    def test_keys(self) -> None:
        """A key has one owner."""
        with_key = {"plugins": {"key-auth": {"key": "k"}}}
        self.gateway.put("/consumers", {"username": "a", **with_key})
        self.gateway.put("/consumers", {"username": "a", **with_key})
        found = "duplicate key of plugin key-auth found with "
        self.refused("/consumers", {"username": "b", **with_key}, found + "consumer: a")
        self.refused("/consumers/a/credentials/c", with_key, found + "consumer: a")
        other = {"plugins": {"key-auth": {"key": "other"}}}
        self.gateway.put("/consumers/a/credentials/c", other)
        self.gateway.put("/consumers/a/credentials/c", other)
        self.refused("/consumers/a/credentials/d", other, found + "credential: c of consumer: a")
        self.gateway.put("/consumers", {"username": "a", **other})
        reference = {"plugins": {"key-auth": {"key": "$env://K"}}}
        self.gateway.put("/consumers", {"username": "b", **reference})
        self.gateway.put("/consumers", {"username": "c", **reference})


class PluginTests(SynchronousTestCase):
    def test_words(self) -> None:
        """A plugin that is not known, or whose settings do not fit, is refused in the known words."""
        gateway = ApisixGateway()
        bad = 'failed to check the configuration of plugin limit-count err: property "count" is required'
        of_consumer = "invalid plugins configuration: "
        for plugins, text in (
            ({"nope": {}}, "unknown plugin [nope]"),
            ({"limit-count": {}}, bad),
            ({"limit-count": {"count": 13}}, bad.rpartition("property")[0] + "13 brings bad luck"),
            ({"limit-count": [1]}, "invalid plugin conf [1] for plugin [limit-count]"),
            ({"limit-count": "a"}, 'invalid plugin conf "a" for plugin [limit-count]'),
        ):
            self.assertEqual(gateway.refused("PUT", "/routes/1", {"uri": "/a", "plugins": plugins}), text)
            body = {"username": "a", "plugins": plugins}
            self.assertEqual(gateway.refused("PUT", "/consumers", body), of_consumer + text)
        gateway.put("/routes/1", {"uri": "/a", "plugins": {"limit-count": {"_meta": {"disable": True}}}})
        gateway.put("/consumers", {"username": "a"})
        text = gateway.refused(
            "PUT", "/consumers/a/credentials/1", {"plugins": {"limit-count": {"count": 1}}}
        )
        self.assertEqual(text, "only supports auth type plugins in consumer credential")
        text = gateway.refused("PUT", "/consumers/a/credentials/1", {"plugins": {"key-auth": {}}})
        self.assertEqual(
            text,
            "invalid plugins configuration: failed to check the configuration of plugin key-auth err: "
            'property "key" is required',
        )

    def test_filters(self) -> None:
        """An expression in _meta.filter that can never be evaluated is refused; not where nothing runs."""
        gateway = ApisixGateway()
        plugins = {"limit-count": {"count": 1, "_meta": {"filter": [["a", "xx", "b"]]}}}
        text = "failed to validate the 'vars' expression: invalid operator 'xx'"
        self.assertEqual(gateway.refused("PUT", "/routes/1", {"uri": "/a", "plugins": plugins}), text)
        plugins["limit-count"]["_meta"] = {"filter": [["a", "xx", "b"]], "disable": True}
        gateway.put("/routes/1", {"uri": "/a", "plugins": plugins})

    def test_shared(self) -> None:
        """Places that share counters have the same settings."""
        gateway = ApisixGateway()
        gateway.put("/routes/1", {"uri": "/a", "plugins": {"limit-count": {"count": 1, "group": "g"}}})
        gateway.put("/routes/2", {"uri": "/b", "plugins": {"limit-count": {"count": 1, "group": "g"}}})
        other = {"uri": "/c", "plugins": {"limit-count": {"count": 2, "group": "g"}}}
        text = "failed to check the configuration of plugin limit-count err: group conf mismatched"
        self.assertEqual(gateway.refused("PUT", "/routes/3", other), text)

    def test_shared_as_meant(self) -> None:
        """A default that is written down makes no difference; who is off is in the group, too."""
        gateway = ApisixGateway(plugins=PluginRegistry([(limit_count.plugin, "tests")]))

        def limited(**settings: Any) -> dict[str, Any]:
            return {"uri": "/a", "plugins": {"limit-count": {"count": 1, "time_window": 60, **settings}}}

        gateway.put("/routes/1", limited(group="g"))
        gateway.put("/routes/2", limited(group="g", key="remote_addr", policy="local", _meta={"priority": 1}))
        text = "failed to check the configuration of plugin limit-count err: group conf mismatched"
        self.assertEqual(gateway.refused("PUT", "/routes/3", limited(group="g", key="server_addr")), text)
        gateway.put("/routes/4", limited(group="h", count=[1], rules=5, _meta={"disable": True}))
        self.assertEqual(gateway.refused("PUT", "/routes/5", limited(group="h")), text)


class FieldTests(SynchronousTestCase):
    def test_words(self) -> None:
        """What no schema can say has words of its own."""
        gateway = ApisixGateway()
        for path, body, text in (
            ("/routes/1", {**ROUTE, "host": "a", "hosts": ["b"]}, "only one of host or hosts is allowed"),
            (
                "/routes/1",
                {**ROUTE, "remote_addr": "::1", "remote_addrs": ["::1"], "desc": 1},
                "only one of remote_addr or remote_addrs is allowed",
            ),
            (
                "/routes/1",
                {**ROUTE, "vars": ["a", "==", "b"]},
                "failed to validate the 'vars' expression: rule should be wrapped inside brackets",
            ),
            ("/upstreams/1", {**UPSTREAM, "type": "chash"}, "missing key"),
            (
                "/upstreams/1",
                {**UPSTREAM, "pass_host": "rewrite"},
                "`upstream_host` can't be empty when `pass_host` is `rewrite`",
            ),
            ("/upstreams/1", {"nodes": {"127.0.0.1:0": 1}}, "invalid port 0"),
            ("/upstreams/1", {"nodes": {"127.0.0.1:65536": 1}}, "invalid port 65536"),
            (
                "/routes/1",
                {"uri": "/a", "upstream": {"nodes": [{"host": "::1", "port": 80, "weight": 1}]}},
                "invalid configuration: IPv6 address must be enclosed with '[' and ']'",
            ),
        ):
            with self.subTest(text=text):
                self.assertEqual(gateway.refused("PUT", path, body), text)
        for lua in ("function(vars) return true end",):
            text = gateway.refused("PUT", "/routes/1", {**ROUTE, "filter_func": lua})
            self.assertIn("does not run Lua", text)
        gateway.put("/upstreams/1", {**UPSTREAM, "type": "chash", "hash_on": "consumer"})
        gateway.put("/upstreams/1", {**UPSTREAM, "type": "chash", "key": "arg_device-id"})


class DeleteTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.gateway = ApisixGateway()

    def test_used(self) -> None:
        """What is in use stays, unless its removal is forced."""
        self.gateway.put("/upstreams/u", UPSTREAM)
        self.gateway.put("/services/s", {"upstream_id": "u"})
        self.gateway.put("/plugin_configs/p", {"plugins": {}})
        self.gateway.put("/consumer_groups/g", {"plugins": {}})
        self.gateway.put("/routes/r", {"uri": "/a", "service_id": "s", "plugin_config_id": "p"})
        self.gateway.put("/routes/q", {"uri": "/a", "upstream_id": "u"})
        self.gateway.put("/stream_routes/t", {"service_id": "s"})
        self.gateway.put("/consumers", {"username": "c", "group_id": "g"})
        for path, text in (
            ("/upstreams/u", "can not delete this upstream, route [q] is still using it now"),
            ("/services/s", "can not delete this service directly, route [r] is still using it now"),
            ("/plugin_configs/p", "can not delete this plugin config, route [r] is still using it now"),
            ("/consumer_groups/g", "can not delete this consumer group, consumer [c] is still using it now"),
        ):
            self.assertEqual(self.gateway.refused("DELETE", path), text)
            self.assertEqual(self.gateway.refused("DELETE", f"{path}?force=yes"), text)
        self.gateway.send("DELETE", "/routes/q")
        text = "can not delete this upstream, service [s] is still using it now"
        self.assertEqual(self.gateway.refused("DELETE", "/upstreams/u"), text)
        self.gateway.send("DELETE", "/routes/r")
        text = "can not delete this service directly, stream_route [t] is still using it now"
        self.assertEqual(self.gateway.refused("DELETE", "/services/s"), text)
        forced = self.gateway.send("DELETE", "/services/s?force=true")
        self.assertEqual((forced.status, forced.json["deleted"]), (200, "1"))
        self.assertEqual(self.gateway.send("DELETE", "/upstreams/u").status, 200)

    def test_free(self) -> None:
        """What nobody checks can always go."""
        self.gateway.put("/routes/r", ROUTE)
        self.gateway.put("/global_rules/1", {"plugins": {}})
        for path in ("/routes/r", "/global_rules/1"):
            self.assertEqual(self.gateway.send("DELETE", path).status, 200)
