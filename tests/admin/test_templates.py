from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.admin.kit import Gateway, Reply

ADMIN = "/apisix/admin"
UPSTREAM = {"nodes": [{"host": "a.test", "port": 80, "weight": 1}]}


class TemplateCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.gateway = Gateway()
        self.id = self.made("services", {"name": "books", "desc": "d", "plugins": {"key-auth": {}}})
        self.route = self.made("routes", {"name": "all", "service_id": self.id, "paths": ["/books"]})

    def made(self, path: str, body: dict[str, Any]) -> str:
        reply = self.gateway.call("POST", f"/api/{path}/template", body)
        self.assertEqual(reply.status, 200, reply.raw)
        return str(reply.value["id"])

    def publish(self, version: str, *, group: str = "default", new: bool = True, **more: Any) -> Reply:
        services = [{"service_id": self.id, "version": version, **more}]
        body = {"create_new_version": new, "gateway_group_id": group, "services": services}
        return self.gateway.call("POST", "/api/services/publish", body)

    def service(self, group: str = "default") -> Any:
        return self.gateway.call(
            "GET", f"{ADMIN}/services/{self.id}", query={"gateway_group_id": group}
        ).value

    def routes(self, group: str = "default") -> dict[str, list[str]]:
        query = {"gateway_group_id": group, "service_id": self.id}
        listed = self.gateway.call("GET", f"{ADMIN}/routes", query=query).json["list"]
        return {route["name"]: route["paths"] for route in listed}


class EditTests(TemplateCase):
    def test_life(self) -> None:
        """A template is made, found, changed and removed with its routes; it takes no traffic."""
        path = f"/api/services/template/{self.id}"
        one = self.gateway.call("GET", path).value
        self.assertEqual(
            (one["name"], one["published_gateway_groups_count"], "upstream" in one), ("books", 0, False)
        )
        patched = self.gateway.call("PATCH", path, [{"op": "replace", "path": "/desc", "value": "e"}])
        self.assertEqual((patched.status, patched.value["desc"]), (200, "e"))
        self.assertEqual(
            self.gateway.call("PUT", path, {"name": "books", "labels": {"a": "b"}}).value["labels"],
            {"a": "b"},
        )
        listed = self.gateway.call(
            "GET", "/api/services/template", query="search=boo&order_by=last_published"
        ).json
        self.assertEqual([item["id"] for item in listed["list"]], [self.id])
        routes = self.gateway.call("GET", "/api/routes/template", query=f"service_id={self.id}").json
        self.assertEqual([item["id"] for item in routes["list"]], [self.route])
        self.assertEqual(self.gateway.call("GET", f"{ADMIN}/services").json["total"], 0)
        self.assertEqual(self.gateway.call("DELETE", path).json, {})
        self.assertEqual(self.gateway.call("GET", f"/api/routes/template/{self.route}").status, 404)

    def test_refused(self) -> None:
        """A route template needs a service template of its type; a PUT makes none."""
        body = {"name": "r", "service_id": "none", "paths": ["/"]}
        reply = self.gateway.call("POST", "/api/routes/template", body)
        self.assertEqual((reply.status, reply.error), (400, "service template not found"))
        reply = self.gateway.call("POST", "/api/stream_routes/template", {"name": "t", "service_id": self.id})
        self.assertEqual(reply.status, 400)
        self.assertEqual(self.gateway.call("PATCH", "/api/services/template", {}).status, 405)

    def test_import(self) -> None:
        """A service comes with its routes, all or nothing."""
        body = {"name": "i", "routes": [{"name": "r", "paths": ["/"]}]}
        id = self.gateway.call("POST", "/api/import/services/template", body).value["id"]
        listed = self.gateway.call("GET", "/api/routes/template", query=f"service_id={id}").json
        self.assertEqual(listed["total"], 1)
        before = self.gateway.control.state.revision
        for routes in ([{"name": "r"}], [1], "x"):
            self.assertEqual(
                self.gateway.call("POST", "/api/import/services/template", {**body, "routes": routes}).status,
                400,
            )
        self.assertEqual(self.gateway.control.state.revision, before)


class PublishTests(TemplateCase):
    def test_first(self) -> None:
        """What is published is served: the service and its routes, in one revision."""
        before = self.gateway.control.state.revision
        reply = self.publish("1.0.0", upstream=UPSTREAM, path_prefix="/v1")
        self.assertEqual(reply.status, 200, reply.raw)
        self.assertEqual(self.gateway.control.state.revision, before + 1)
        service = self.service()
        self.assertEqual((service["name"], service["path_prefix"]), ("books", "/v1"))
        self.assertEqual(service["upstream"]["nodes"][0]["host"], "a.test")
        self.assertEqual(self.routes(), {"all": ["/books"]})
        template = self.gateway.call("GET", f"/api/services/template/{self.id}").value
        self.assertEqual(
            (template["published_gateway_groups_count"], template["last_published"]), (1, 1_000_000)
        )

    def test_versions(self) -> None:
        """A new version replaces plugins and routes, keeps what is the group's, and can be taken back."""
        self.publish("1.0.0", upstream=UPSTREAM)
        self.gateway.call("PATCH", f"{ADMIN}/services/{self.id}", {"hosts": ["a.test"]})
        self.gateway.call("DELETE", f"/api/routes/template/{self.route}")
        self.made("routes", {"name": "new", "service_id": self.id, "paths": ["/new"]})
        self.gateway.call("PUT", f"/api/services/template/{self.id}", {"name": "books", "desc": "second"})
        self.assertEqual(self.publish("1.1.0").status, 200)
        service = self.service()
        self.assertEqual(
            (service["desc"], service["hosts"], "plugins" in service), ("second", ["a.test"], False)
        )
        self.assertIn("upstream", service)
        self.assertEqual(self.routes(), {"new": ["/new"]})
        self.assertEqual(self.publish("1.0.0", new=False).status, 200)
        self.assertEqual((self.service()["desc"], self.routes()), ("d", {"all": ["/books"]}))
        self.assertEqual(self.service()["hosts"], ["a.test"])
        versions = self.gateway.call("GET", f"/api/services/template/{self.id}/versions").json["list"]
        self.assertEqual(
            {v["version"]: v["gateway_group_ids"] for v in versions}, {"1.0.0": ["default"], "1.1.0": []}
        )

    def test_groups(self) -> None:
        """Each group has its own version and its own upstream; what is taken out is not there."""
        group = self.gateway.call("POST", "/api/gateway_groups", {"name": "g"}).value["id"]
        self.publish("1", upstream=UPSTREAM)
        self.publish("1", group=group, new=False, hosts=["g.test"])
        self.assertEqual((self.service(group)["hosts"], "hosts" in self.service()), (["g.test"], False))
        count = "published_gateway_groups_count"
        path = f"/api/services/template/{self.id}"
        self.assertEqual(self.gateway.call("GET", path).value[count], 2)
        self.gateway.call("DELETE", f"/api/gateway_groups/default/services/{self.id}")
        self.assertEqual(self.gateway.call("GET", path).value[count], 1)
        self.gateway.call("DELETE", f"/api/gateway_groups/{group}")
        self.assertEqual(self.gateway.call("GET", path).value[count], 0)

    def test_refused(self) -> None:
        """What cannot be published is told by its place, and nothing changes."""
        self.publish("1")
        before = self.gateway.control.state.revision
        for reply, words in (
            (self.publish("1"), "version 1 of this service exists already"),
            (self.publish("2", new=False), "version 2 of this service does not exist"),
            (self.publish("3", upstream={"nodes": [{"host": "h"}]}), 'property "weight" is missing'),
            (self.publish("a b"), "regular expression"),
        ):
            self.assertEqual(reply.status, 400, reply.raw)
            self.assertIn(words, reply.error)
        self.assertEqual(self.publish("4", group="none").status, 404)
        self.id = "none"
        self.assertEqual(self.publish("1").error, "service template not found")
        self.assertEqual(self.gateway.control.state.revision, before)

    def test_enforced(self) -> None:
        """A group that takes publications only refuses routes and services written to it directly."""
        body = {"name": "g", "enforce_service_publishing": True}
        group = self.gateway.call("POST", "/api/gateway_groups", body).value["id"]
        query = {"gateway_group_id": group}
        self.assertEqual(self.publish("1", group=group, upstream=UPSTREAM).status, 200)
        route = {"name": "r", "paths": ["/"], "service_id": self.id}
        for method, path in (
            ("POST", "services"),
            ("PUT", "services/s"),
            ("PUT", "routes/r"),
            ("DELETE", f"routes/{self.route}"),
        ):
            reply = self.gateway.call(method, f"{ADMIN}/{path}", route, query=query)
            self.assertEqual(reply.status, 403, (method, path))
        reply = self.gateway.call("PATCH", f"{ADMIN}/services/{self.id}", {"hosts": ["a.test"]}, query=query)
        self.assertEqual(reply.status, 200)
        self.assertEqual(self.gateway.call("PUT", f"{ADMIN}/consumers/c", {}, query=query).status, 200)
