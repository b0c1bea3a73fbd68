"""Plugins and schemas as the apisix dialect tells them (Admin API contract §4.7)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.plugins import multi_auth
from gateway.registry import PluginRegistry
from tests.admin.apisix_kit import UPSTREAM, ApisixGateway


class PageTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.gateway = ApisixGateway()

    def test_plugins(self) -> None:
        """The list is in the order they run; the page of all has their schemas."""
        names = ["jwt-auth", "key-auth", "limit-count"]
        for query in ("", "?subsystem=http"):
            self.assertEqual(self.gateway.send("GET", f"/plugins/list{query}").json, names)
        self.assertEqual(self.gateway.send("GET", "/plugins/list?subsystem=stream").json, [])
        reply = self.gateway.send("GET", "/plugins/list?subsystem=mail")
        self.assertEqual((reply.status, reply.raw), (400, b"invalid subsystem passed"))
        pages = self.gateway.send("GET", "/plugins?all=true").json
        self.assertEqual(list(pages), names)
        members = {"version", "priority", "schema"}
        self.assertEqual(set(pages["limit-count"]), members)
        self.assertEqual(set(pages["jwt-auth"]), members | {"type", "consumer_schema"})
        self.assertEqual(self.gateway.send("GET", "/plugins?all=true&subsystem=stream").json, {})
        self.assertEqual(self.gateway.refused("GET", "/plugins"), "not found plugin name")
        self.assertEqual(self.gateway.send("POST", "/plugins").status, 404)

    def test_without_credentials(self) -> None:
        """A plugin that authenticates is of that type though it has no credentials of its own."""
        gateway = ApisixGateway(plugins=PluginRegistry([(multi_auth.plugin, "tests")]))
        page = gateway.send("GET", "/plugins?all=true").json["multi-auth"]
        self.assertEqual((page["type"], "consumer_schema" in page), ("auth", False))

    def test_one_plugin(self) -> None:
        """A plugin's page is its schema, with what every plugin may carry."""
        for path in ("/plugins/jwt-auth", "/schema/plugins/jwt-auth"):
            schema = self.gateway.send("GET", path).json
            self.assertIn("header", schema["properties"])
            self.assertEqual(schema["properties"]["_meta"]["additionalProperties"], False)
            schema = self.gateway.send("GET", f"{path}?schema_type=consumer").json
            self.assertIn("secret", schema["properties"])
        for path, status, text in (
            ("/plugins/nothing", 404, "plugin not found in subsystem http"),
            ("/schema/plugins/nothing", 404, "plugin not found in subsystem http"),
            ("/plugins/jwt-auth?subsystem=stream", 404, "plugin not found in subsystem stream"),
            ("/plugins/jwt-auth?subsystem=mail", 400, "unsupported subsystem: mail"),
            ("/plugins/limit-count?schema_type=consumer", 400, "not found schema"),
        ):
            self.assertEqual(self.gateway.refused("GET", path, status=status), text)

    def test_reload(self) -> None:
        """A reload is answered at once; another method is told what to use."""
        reply = self.gateway.send("PUT", "/plugins/reload")
        self.assertEqual((reply.status, reply.raw), (200, b"done"))
        text = "please use PUT method to reload the plugins, GET method is not allowed."
        self.assertEqual(self.gateway.refused("GET", "/plugins/reload", status=405), text)

    def test_schemas(self) -> None:
        """Each kind's schema can be had by its name."""
        names = "route service upstream consumer consumer_group credential ssl proto global_rule stream_route"
        for name in (*names.split(), "plugin_config", "plugins", "secret/vault"):
            schema = self.gateway.send("GET", f"/schema/{name}").json
            self.assertEqual(schema["type"], "object", name)
        self.assertEqual(self.gateway.refused("GET", "/schema/noway"), "not found schema: noway")
        self.assertEqual(self.gateway.send("GET", "/schema").status, 404)

    def test_validate(self) -> None:
        """A document can be held against its schema alone: nothing in front of the text, nothing stored."""
        good = self.gateway.send("POST", "/schema/validate/routes", {"uri": "/a", "upstream_id": "nowhere"})
        self.assertEqual((good.status, good.raw), (200, b""))
        text = self.gateway.refused("POST", "/schema/validate/routes", {"uri": 1, "upstream": UPSTREAM})
        self.assertEqual(text, 'property "uri" validation failed: wrong type: expected string, got number')
        body = self.gateway.send("POST", "/schema/validate/routes", b"{")
        self.assertEqual((body.status, body.json["req_body"]), (400, "{"))
        self.assertEqual(self.gateway.send("POST", "/schema/validate/nothing", {}).status, 404)
        self.assertEqual(self.gateway.send("GET", "/schema/validate/routes").status, 404)
        self.assertEqual(self.gateway.send("GET", "/routes").json["total"], 0)
