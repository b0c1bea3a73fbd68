from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.admin.kit import GUIDE, Gateway, Reply

SERVICE, ROUTE, CONSUMER, CREDENTIAL = (path for path, _ in GUIDE)
SERVICE_BODY, ROUTE_BODY, CONSUMER_BODY, CREDENTIAL_BODY = (body for _, body in GUIDE)


class GuideTests(SynchronousTestCase):
    """The four calls of the setup guide, exactly."""

    def test_four_calls(self) -> None:
        """Each of the guide's calls is answered 200 with the stored object, times included."""
        gateway = Gateway()
        expected: list[dict[str, Any]] = [
            {
                "id": "jwt-auth-httpbin-service",
                "name": "jwt-auth-httpbin-service",
                "type": "http",
                "status": 1,
                "strip_path_prefix": True,
                "upstream": {
                    "name": "default",
                    "type": "roundrobin",
                    "scheme": "http",
                    "hash_on": "vars",
                    "pass_host": "pass",
                    "retry_timeout": 0,
                    "nodes": [{"host": "httpbin.org", "port": 80, "weight": 100, "priority": 0}],
                },
                "service_id": "jwt-auth-httpbin-service",
                "gateway_group_id": "default",
                "gateway_group_name": "default",
            },
            {"id": "jwt-auth-route", "priority": 0, **ROUTE_BODY},
            CONSUMER_BODY,
            {"id": "jwt-auth-consumer-cred", **CREDENTIAL_BODY},
        ]
        for (path, body), value in zip(GUIDE, expected, strict=True):
            for _ in range(2):
                reply = gateway.call("PUT", path, body)
                self.assertEqual(reply.status, 200)
                self.assertEqual(list(reply.json), ["value"])
                shown = dict(reply.value)
                shown.pop("service_version_id", None)
                self.assertEqual(shown, {**value, "created_at": 1_000_000, "updated_at": 1_000_000})

    def test_consumer_from_the_path(self) -> None:
        """An empty object, or nothing at all, makes a consumer called as the path says."""
        gateway = Gateway()
        bodies: tuple[dict[str, Any] | None, ...] = ({}, None)
        for body in bodies:
            reply = gateway.call("PUT", "/apisix/admin/consumers/jack", body)
            self.assertEqual((reply.status, reply.value["username"]), (200, "jack"))
            self.assertNotIn("id", reply.value)


class EnvelopeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.gateway = Gateway()
        self.gateway.seed()

    def test_lists(self) -> None:
        """A list holds bare objects and their number; an empty one is ``[]``."""
        for path, count in (
            ("/apisix/admin/services", 1),
            ("/apisix/admin/routes", 1),
            ("/apisix/admin/consumers", 1),
            (CONSUMER + "/credentials", 1),
            ("/apisix/admin/global_rules", 0),
        ):
            reply = self.gateway.call("GET", path)
            self.assertEqual(
                (reply.status, len(reply.json["list"]), reply.json["total"]), (200, count, count)
            )

    def test_one(self) -> None:
        """A single object reads the same as the answer to its write."""
        for path, body in GUIDE:
            written = self.gateway.call("PUT", path, body)
            read = self.gateway.call("GET", path)
            self.assertEqual((read.status, read.json), (200, written.json))
            self.assertEqual(read.field("content-type"), "application/json")

    def test_replace(self) -> None:
        """A PUT replaces the whole object, keeps its creation time, and moves its update time."""
        self.gateway.call("PUT", ROUTE, {**ROUTE_BODY, "desc": "old", "labels": {"a": "b"}})
        self.gateway.clock.now += 60
        value = self.gateway.call("PUT", ROUTE, ROUTE_BODY).value
        self.assertEqual((value["created_at"], value["updated_at"]), (1_000_000, 1_000_060))
        self.assertNotIn("desc", value)
        self.assertNotIn("labels", value)

    def test_omitted_stays_absent(self) -> None:
        """Members that were not sent are not answered, unless they have a scalar default."""
        body = {"name": "s", "upstream": {"nodes": [{"host": "h", "port": 1, "weight": 1}], "timeout": {}}}
        value = self.gateway.call("PUT", "/apisix/admin/services/s", body).value
        self.assertEqual(value["upstream"]["timeout"], {"connect": 60, "send": 60, "read": 60})
        for name in ("hosts", "path_prefix", "desc", "labels", "plugins"):
            self.assertNotIn(name, value)
        for name in ("keepalive_pool", "checks", "retries", "tls"):
            self.assertNotIn(name, value["upstream"])

    def test_stream_service(self) -> None:
        """A stream service gets its own defaults, and keeps what it was sent of the others."""
        body: dict[str, Any] = {"name": "s", "type": "stream", "upstream": {"nodes": []}}
        value = self.gateway.call("PUT", "/apisix/admin/services/s", body).value
        self.assertEqual(value["upstream"]["scheme"], "tcp")
        self.assertNotIn("strip_path_prefix", value)
        self.assertNotIn("pass_host", value["upstream"])
        body["strip_path_prefix"] = True
        body["upstream"] = {"nodes": [], "pass_host": "pass"}
        value = self.gateway.call("PUT", "/apisix/admin/services/s", body).value
        self.assertEqual((value["strip_path_prefix"], value["upstream"]["pass_host"]), (True, "pass"))

    def test_plugin_settings_are_verbatim(self) -> None:
        """Plugin settings come back exactly as sent: no defaults are added."""
        plugins = {"limit-count": {"count": 3, "unknown": [None, {}]}, "jwt-auth": {}}
        value = self.gateway.call("PUT", ROUTE, {**ROUTE_BODY, "plugins": plugins}).value
        self.assertEqual(value["plugins"], plugins)

    def test_what_was_read_can_be_written(self) -> None:
        """An object can be read, changed and written back with everything the server added."""
        for path, _ in GUIDE:
            value = self.gateway.call("GET", path).value
            reply = self.gateway.call("PUT", path, value)
            self.assertEqual(reply.status, 200, reply.raw)
            self.assertEqual({**reply.value, "service_version_id": 0}, {**value, "service_version_id": 0})

    def test_service_version(self) -> None:
        """A service's version id stays while it does, and changes when it does."""
        first, again = (self.gateway.call("GET", SERVICE).value["service_version_id"] for _ in range(2))
        changed = self.gateway.call("PUT", SERVICE, SERVICE_BODY).value["service_version_id"]
        self.assertEqual(first, again)
        self.assertNotEqual(first, changed)

    def test_delete(self) -> None:
        """A removal is answered 200 with an empty object; doing it again is 404."""
        for path in (CREDENTIAL, CONSUMER, ROUTE, SERVICE):
            self.assertEqual(self.gateway.call("DELETE", path).raw, b"{}\n")
            for method in ("DELETE", "GET"):
                reply = self.gateway.call(method, path)
                self.assertEqual(reply.status, 404)

    def test_create(self) -> None:
        """A POST makes an object under a new UUID, or under the name its document carries."""
        one = self.gateway.call("POST", "/apisix/admin/routes", ROUTE_BODY)
        two = self.gateway.call("POST", "/apisix/admin/routes", ROUTE_BODY)
        self.assertEqual((one.status, two.status), (200, 200))
        self.assertEqual(len({one.value["id"], two.value["id"]}), 2)
        self.assertEqual(len(one.value["id"]), 36)
        self.assertEqual(self.gateway.call("GET", "/apisix/admin/routes/" + one.value["id"]).json, one.json)
        consumer = self.gateway.call("POST", "/apisix/admin/consumers", {"username": "jack"})
        self.assertEqual((consumer.status, consumer.value["username"]), (200, "jack"))
        again = self.gateway.call("POST", "/apisix/admin/consumers", {"username": "jack"})
        self.assertEqual((again.status, again.error), (400, "consumer already exists"))
        rule = self.gateway.call(
            "POST", "/apisix/admin/global_rules", {"plugins": {"limit-count": {"count": 1}}}
        )
        self.assertEqual(rule.value["id"], "limit-count")
        body = {"name": "x", "plugins": {"key-auth": {"key": "k"}}}
        credential = self.gateway.call("POST", CONSUMER + "/credentials", body)
        self.assertEqual((credential.status, len(credential.value["id"])), (200, 36))
        refused = self.gateway.call("POST", "/apisix/admin/routes", {**ROUTE_BODY, "id": "x"})
        self.assertEqual(refused.status, 400)
        nameless = self.gateway.call("POST", "/apisix/admin/consumers", {})
        self.assertIn('property "username" is missing', nameless.error)

    def test_consumer_with_auth_plugin(self) -> None:
        """An auth plugin on a consumer is accepted, with a warning beside the value."""
        body = {"username": "jack", "plugins": {"key-auth": {"key": "k"}}}
        reply = self.gateway.call("PUT", "/apisix/admin/consumers/jack", body)
        self.assertEqual((reply.status, sorted(reply.json)), (200, ["value", "warning_msg"]))
        self.assertIn("key-auth", reply.json["warning_msg"])

    def test_setting_without_effect(self) -> None:
        """Settings of a plugin that have no effect are stored as they are, and told."""
        lua = {"_meta": {"pre_function": "return function() end"}}
        body = {**SERVICE_BODY, "plugins": {"jwt-auth": lua}}
        reply = self.gateway.call("PUT", "/apisix/admin/services/s9", body)
        told = "plugins.jwt-auth._meta.pre_function: programs in Lua are not run"
        self.assertEqual((reply.status, reply.json["warning_msg"]), (200, told))
        self.assertEqual(reply.value["plugins"], {"jwt-auth": lua})


class MethodTests(SynchronousTestCase):
    COLLECTIONS = {
        "/apisix/admin/services": "GET, HEAD, POST",
        "/apisix/admin/routes": "GET, HEAD, POST",
        "/apisix/admin/consumers": "GET, HEAD, POST",
        "/apisix/admin/global_rules": "GET, HEAD, POST",
        CONSUMER + "/credentials": "GET, HEAD, POST",
    }
    ITEMS = {
        SERVICE: "GET, HEAD, PUT, PATCH, DELETE",
        ROUTE: "GET, HEAD, PUT, PATCH, DELETE",
        CONSUMER: "GET, HEAD, PUT, PATCH, DELETE",
        CREDENTIAL: "GET, HEAD, PUT, DELETE",
        "/apisix/admin/global_rules/limit-count": "GET, HEAD, PUT, DELETE",
    }

    def test_not_allowed(self) -> None:
        """A method that a resource does not have is 405, and Allow tells which it has."""
        gateway = Gateway()
        gateway.seed()
        for path, allowed in {**self.COLLECTIONS, **self.ITEMS}.items():
            for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "FROB"} - set(
                allowed.split(", ")
            ):
                reply = gateway.call(method, path)
                self.assertEqual((method, path, reply.status), (method, path, 405))
                self.assertEqual(reply.field("Allow"), allowed)

    def test_head(self) -> None:
        """HEAD answers like GET, without the content."""
        gateway = Gateway()
        gateway.seed()
        for path in (*self.COLLECTIONS, SERVICE, "/api/version", "/status"):
            reply = gateway.call("HEAD", path)
            self.assertEqual((reply.status, reply.raw), (200, b""))

    def test_not_exposed(self) -> None:
        """Resources this dialect does not have are not found, as are paths nobody knows."""
        gateway = Gateway()
        for path in (
            "upstreams",
            "plugin_configs",
            "consumer_groups",
            "credentials",
            "nothing",
            "routes/a/b",
        ):
            for suffix in ("", "/1"):
                reply = gateway.call("GET", f"/apisix/admin/{path}{suffix}")
                self.assertEqual((reply.status, reply.error), (404, "resource not found"))


class PatchTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.gateway = Gateway()
        self.gateway.seed()

    def _patch(self, patch: object, path: str = ROUTE) -> Reply:
        return self.gateway.call("PATCH", path, patch)

    def test_json_patch(self) -> None:
        """An array is a JSON Patch: its operations apply to the object in order."""
        reply = self._patch(
            [
                {"op": "test", "path": "/id", "value": "jwt-auth-route"},
                {"op": "add", "path": "/paths/-", "value": "/b"},
                {"op": "add", "path": "/labels", "value": {"a/b": "1"}},
                {"op": "replace", "path": "/labels/a~1b", "value": "2"},
                {"op": "remove", "path": "/methods"},
            ]
        )
        self.assertEqual(reply.status, 200)
        self.assertEqual(reply.value["paths"], ["/anything/jwt-auth", "/b"])
        self.assertEqual(reply.value["labels"], {"a/b": "2"})
        self.assertNotIn("methods", reply.value)

    def test_merge_patch(self) -> None:
        """An object is a merge patch: null removes a member."""
        reply = self._patch({"methods": None, "priority": 7})
        self.assertEqual((reply.status, reply.value["priority"]), (200, 7))
        self.assertNotIn("methods", reply.value)

    def test_failed_operation(self) -> None:
        """A patch that cannot be applied names the operation, and nothing changes."""
        before = self.gateway.call("GET", ROUTE).json
        reply = self._patch(
            [{"op": "add", "path": "/desc", "value": "x"}, {"op": "test", "path": "/name", "value": "other"}]
        )
        self.assertEqual(reply.status, 400)
        self.assertIn("operation 1", reply.error)
        self.assertEqual(self.gateway.call("GET", ROUTE).json, before)

    def test_result_is_checked(self) -> None:
        """The result is checked like a PUT: schema, references, id."""
        for patch, words in (
            ([{"op": "replace", "path": "/paths", "value": []}], "minimum number of items is 1"),
            ([{"op": "replace", "path": "/service_id", "value": "x"}], "service not found"),
            ([{"op": "replace", "path": "/id", "value": "x"}], 'Error at "/id"'),
            ([{"op": "remove", "path": "/name"}], 'property "name" is missing'),
            ([{"op": "replace", "path": "", "value": []}], "value must be an object"),
            ({"service_id": None}, 'property "service_id" is missing'),
            ("x", "an array or an object is needed"),
            (b"", "empty request body"),
        ):
            reply = self._patch(patch)
            self.assertEqual(reply.status, 400)
            self.assertIn(words, reply.error)

    def test_consumer(self) -> None:
        """A consumer can be patched, but not renamed."""
        self.assertEqual(self._patch({"desc": "x"}, CONSUMER).value["desc"], "x")
        self.assertEqual(self._patch({"username": "other"}, CONSUMER).status, 400)

    def test_unknown(self) -> None:
        """There is nothing to patch where nothing is."""
        self.assertEqual(self._patch({"desc": "x"}, "/apisix/admin/routes/none").status, 404)


class GroupScopeTests(SynchronousTestCase):
    def test_missing(self) -> None:
        """Every resource call says which gateway group it is about."""
        gateway = Gateway()
        for query in ("", "gateway_group_id=", "other=1"):
            for method, path in (("GET", "/apisix/admin/routes"), ("PUT", ROUTE), ("DELETE", CREDENTIAL)):
                reply = gateway.call(method, path, {}, query=query)
                self.assertEqual(reply.status, 400)
                self.assertEqual(
                    reply.error,
                    'parameter "gateway_group_id" in query has an error: value is required but missing',
                )

    def test_unknown(self) -> None:
        """A group that does not exist is not found, and nothing is stored for it."""
        gateway = Gateway()
        reply = gateway.call("PUT", CONSUMER, {}, query={"gateway_group_id": "nope"})
        self.assertEqual((reply.status, reply.error), (404, "gateway group not found"))

    def test_groups_are_apart(self) -> None:
        """The same id may stand in two groups, and references stay inside one."""
        gateway = Gateway()
        gateway.seed()
        other = {"gateway_group_id": gateway.call("POST", "/api/gateway_groups", {"name": "b"}).value["id"]}
        self.assertEqual(gateway.call("PUT", ROUTE, ROUTE_BODY, query=other).error, "service not found")
        service = gateway.call("PUT", SERVICE, {**SERVICE_BODY, "name": "b"}, query=other)
        self.assertEqual(service.value["gateway_group_name"], "b")
        self.assertEqual(gateway.call("GET", SERVICE).value["name"], SERVICE_BODY["name"])
        gateway.call("PUT", CONSUMER, CONSUMER_BODY, query=other)
        self.assertEqual(gateway.call("PUT", CREDENTIAL, CREDENTIAL_BODY, query=other).status, 200)
