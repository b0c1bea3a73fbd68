"""One store, two dialects: what each shows of what the other wrote (Admin API contract §7.3)."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.admin.apisix_kit import UPSTREAM, ApisixGateway

NODES = [{"host": "127.0.0.1", "port": 1980, "weight": 1}]


class TranslationTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.gateway = ApisixGateway()

    def enterprise(self, method: str, path: str, body: object = None) -> Any:
        reply = self.gateway.call(method, f"/apisix/admin{path}", body)
        self.assertEqual(reply.status, 200, reply.raw)
        return reply.json

    def apisix(self, path: str) -> Any:
        value = self.gateway.send("GET", path).json["value"]
        return {name: member for name, member in value.items() if not name.endswith("_time")}

    def test_enterprise_to_apisix(self) -> None:
        """Paths get their prefix in front, what only the enterprise dialect has is left out."""
        service = {"name": "s", "hosts": ["a.test"], "path_prefix": "/v1", "upstream": {"nodes": NODES}}
        self.enterprise("PUT", "/services/s", service)
        route = {
            "name": "r",
            "service_id": "s",
            "paths": ["/a/*", "/b"],
            "methods": ["GET"],
            "labels": {"x": "y"},
        }
        self.enterprise("PUT", "/routes/r", {**route, "enable_websocket": None})
        shown = self.apisix("/services/s")
        self.assertEqual(set(shown), {"id", "name", "hosts", "upstream"})
        self.assertEqual(
            self.apisix("/routes/r"),
            {
                "id": "r",
                "name": "r",
                "service_id": "s",
                "uris": ["/v1/a/*", "/v1/b"],
                "methods": ["GET"],
                "labels": {"x": "y"},
                "priority": 0,
                "status": 1,
            },
        )

    def test_prefixes(self) -> None:
        """Whole paths of a route stay whole below a service with a prefix, and lose it in the other view."""
        service = {"name": "s", "path_prefix": "/v1", "upstream": {"nodes": NODES}}
        self.enterprise("PUT", "/services/s", service)
        self.enterprise("PUT", "/routes/r", {"name": "r", "service_id": "s", "paths": ["/a", "/b/*"]})
        shown = self.apisix("/routes/r")
        self.gateway.put("/routes/r", {**shown, "uris": [*shown["uris"], "/v1x"]})
        self.assertEqual(self.apisix("/routes/r")["uris"], ["/v1/a", "/v1/b/*", "/v1x"])
        self.assertEqual(self.enterprise("GET", "/routes/r")["value"]["paths"], ["/a", "/b/*", "/v1x"])

    def test_apisix_to_enterprise(self) -> None:
        """What only the apisix dialect has is kept in the store, and not shown."""
        self.gateway.put("/upstreams/u", {"nodes": {"127.0.0.1:1980": 1, "b.test": 2}, "scheme": "https"})
        self.gateway.put("/services/5", {"upstream_id": "u", "hosts": ["a.test"]})
        self.gateway.put(
            "/routes/r", {"uri": "/a", "service_id": 5, "host": "b.test", "methods": [], "status": 0}
        )
        service = self.enterprise("GET", "/services/5")["value"]
        self.assertEqual((service["name"], service["type"], service["status"]), ("5", "http", 1))
        self.assertEqual(service["upstream"]["scheme"], "https")
        nodes = [(node["host"], node["port"], node["weight"]) for node in service["upstream"]["nodes"]]
        self.assertEqual(nodes, [("127.0.0.1", 1980, 1), ("b.test", 443, 2)])
        route = self.enterprise("GET", "/routes/r")["value"]
        times = {"created_at": 1_000_000, "updated_at": 1_000_000}
        expected = {"id": "r", "name": "r", "service_id": "5", "paths": ["/a"], "priority": 0, **times}
        self.assertEqual(route, expected)
        listed = self.gateway.call(
            "GET", "/apisix/admin/routes", query="gateway_group_id=default&service_id=5"
        )
        self.assertEqual(listed.json["list"], [route])
        self.assertEqual(self.apisix("/routes/r")["host"], "b.test")

    def test_consumers(self) -> None:
        """Consumers and credentials look alike in both; a credential without a name is called by its id."""
        self.gateway.put("/consumer_groups/g", {"plugins": {}})
        self.gateway.put("/consumers", {"username": "a", "group_id": "g", "desc": "d"})
        self.gateway.put("/consumers/a/credentials/c", {"plugins": {"key-auth": {"key": "k"}}})
        consumer = self.enterprise("GET", "/consumers/a")["value"]
        self.assertEqual(set(consumer), {"username", "desc", "created_at", "updated_at"})
        credential = self.enterprise("GET", "/consumers/a/credentials/c")["value"]
        self.assertEqual((credential["id"], credential["name"]), ("c", "c"))

    def test_writing_through_the_other(self) -> None:
        """A write through the other dialect replaces the document; a patch starts from what it shows."""
        self.gateway.put("/routes/r", {"uri": "/a", "upstream": UPSTREAM, "host": "b.test"})
        self.enterprise("PUT", "/services/s", {"name": "s"})
        patch = [{"op": "add", "path": "/service_id", "value": "s"}]
        self.enterprise("PATCH", "/routes/r", patch)
        shown = self.apisix("/routes/r")
        self.assertEqual(set(shown), {"id", "name", "uris", "service_id", "priority", "status"})
        patched = self.gateway.send("PATCH", "/routes/r", {"host": "c.test"})
        self.assertEqual((patched.status, patched.json["value"]["host"]), (200, "c.test"))
        self.assertEqual(self.enterprise("GET", "/routes/r")["value"]["paths"], ["/a"])

    def test_cascade(self) -> None:
        """The enterprise dialect takes a service's routes along, also those the other one wrote."""
        self.gateway.put("/services/5", {})
        self.gateway.put("/routes/r", {"uri": "/a", "service_id": 5})
        self.enterprise("DELETE", "/services/5")
        self.assertEqual(self.gateway.send("GET", "/routes").json["total"], 0)
