"""The apisix dialect: statuses, envelopes, ids, times, deletion (Admin API contract §4.2, §4.3)."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import ConfigErrors, Problem
from gateway.model.record import Record
from tests.admin.apisix_kit import ADMIN, UPSTREAM, ApisixGateway

ROUTE = {"uri": "/hello", "upstream": UPSTREAM}
WRITABLE: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("/routes/1", "/apisix/routes/1", ROUTE),
    ("/services/1", "/apisix/services/1", {"upstream": UPSTREAM}),
    ("/upstreams/1", "/apisix/upstreams/1", UPSTREAM),
    ("/consumers/jack", "/apisix/consumers/jack", {"username": "jack"}),
    ("/global_rules/1", "/apisix/global_rules/1", {"plugins": {"limit-count": {"count": 2}}}),
    ("/plugin_configs/1", "/apisix/plugin_configs/1", {"plugins": {}}),
    ("/consumer_groups/1", "/apisix/consumer_groups/1", {"plugins": {}}),
    ("/protos/1", "/apisix/protos/1", {"content": 'syntax = "proto3";'}),
    ("/stream_routes/1", "/apisix/stream_routes/1", {"server_port": 9100, "upstream": UPSTREAM}),
    (
        "/secrets/vault/1",
        "/apisix/secrets/vault/1",
        {"uri": "http://127.0.0.1:8200", "prefix": "kv/a", "token": "t"},
    ),
    ("/plugin_metadata/limit-count", "/apisix/plugin_metadata/limit-count", {"a": 1}),
)


class ResourceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.gateway = ApisixGateway()

    def test_put_get_list_delete(self) -> None:
        """Each kind is made with 201, replaced with 200, read, listed and deleted, in the known envelopes."""
        for path, key, body in WRITABLE:
            with self.subTest(path=path):
                made = self.gateway.send("PUT", path, body)
                self.assertEqual(
                    (made.status, set(made.json), made.json["key"]), (201, {"key", "value"}, key)
                )
                again = self.gateway.send("PUT", path, body)
                self.assertEqual((again.status, set(again.json)), (200, {"key", "value"}))
                one = self.gateway.send("GET", path)
                self.assertEqual(one.status, 200)
                self.assertEqual(set(one.json), {"key", "value", "createdIndex", "modifiedIndex"})
                self.assertEqual(one.json["value"], again.json["value"])
                self.assertLess(one.json["createdIndex"], one.json["modifiedIndex"])
                kept = {name: member for name, member in one.json["value"].items() if name in body}
                self.assertEqual(kept, body)
                all_of = self.gateway.send("GET", "/" + path.split("/")[1])
                self.assertEqual(all_of.json, {"total": 1, "list": [one.json]})
                gone = self.gateway.send("DELETE", path)
                self.assertEqual((gone.status, gone.json), (200, {"deleted": "1", "key": key}))
                for method in ("GET", "DELETE"):
                    missing = self.gateway.send(method, path)
                    self.assertEqual((missing.status, missing.json), (404, {"message": "Key not found"}))

    def test_what_is_added(self) -> None:
        """A value is what was sent, its id and its times: no defaults, whatever they are."""
        value = self.gateway.put("/routes/1", ROUTE)["value"]
        times = {"create_time": 1_000_000, "update_time": 1_000_000}
        self.assertEqual(value, {**ROUTE, "id": "1", **times})
        self.gateway.clock.now += 5
        value = self.gateway.put("/routes/1", {**ROUTE, "id": 1})["value"]
        self.assertEqual(value, {**ROUTE, "id": "1", "create_time": 1_000_000, "update_time": 1_000_005})
        record = self.gateway.control.state.get("default", "route", "1")
        assert isinstance(record, Record)
        self.assertEqual((record.value, record.dialect), (ROUTE, "apisix"))
        value = self.gateway.put("/consumers/jack", {"username": "jack"})["value"]
        self.assertEqual(set(value), {"username", "create_time", "update_time"})
        value = self.gateway.put("/plugin_metadata/limit-count", {"a": 1})["value"]
        self.assertEqual(value, {"id": "limit-count", "a": 1})
        self.gateway.put("/secrets/vault/x", WRITABLE[9][2])
        self.assertEqual(self.gateway.send("GET", "/secrets/vault/x").json["value"]["id"], "vault/x")

    def test_post(self) -> None:
        """A POST makes an id of 20 digits that grows and is never taken."""
        first = self.gateway.send("POST", "/routes", ROUTE)
        self.assertEqual(first.status, 201)
        self.assertRegex(first.json["value"]["id"], r"^[0-9]{20}$")
        self.gateway.put(f"/routes/{int(first.json['value']['id']) + 2:020d}", ROUTE)
        second = self.gateway.send("POST", "/routes", ROUTE)
        self.assertEqual(second.json["key"], f"/apisix/routes/{second.json['value']['id']}")
        self.assertGreater(second.json["value"]["id"], first.json["value"]["id"])
        self.assertEqual(self.gateway.send("GET", "/routes").json["total"], 3)

    def test_ids_in_the_body(self) -> None:
        """PUT takes the id from the path or the body, POST from neither."""
        self.assertEqual(self.gateway.put("/routes", {**ROUTE, "id": "a"})["key"], "/apisix/routes/a")
        self.assertEqual(self.gateway.put("/consumers", {"username": "u"})["key"], "/apisix/consumers/u")
        secret = self.gateway.put("/secrets/vault", {**WRITABLE[9][2], "id": "s"})
        self.assertEqual(secret["key"], "/apisix/secrets/vault/s")
        for method, path, body, text in (
            ("PUT", "/routes", ROUTE, "missing route id"),
            ("PUT", "/plugin_configs", {"plugins": {}}, "missing plugin config id"),
            ("PUT", "/routes/1", {**ROUTE, "id": "2"}, "wrong route id"),
            ("PUT", "/global_rules/1", {"plugins": {}, "id": 2}, "wrong global rule id"),
            ("POST", "/routes/1", ROUTE, "wrong route id, do not need it"),
            ("POST", "/routes", {**ROUTE, "id": "2"}, "wrong route id, do not need it"),
            ("PUT", "/consumers/jack", {"username": "jill"}, "wrong username"),
            ("PUT", "/plugin_metadata", {}, "missing plugin name"),
            ("PUT", "/plugin_metadata/nothing", {}, "invalid plugin name"),
            ("PUT", "/secrets/bank/1", {}, "invalid secret manager: bank"),
            ("DELETE", "/routes", None, "missing route id"),
            ("DELETE", "/stream_routes", None, "missing stream route id"),
        ):
            with self.subTest(method=method, path=path):
                self.assertEqual(self.gateway.refused(method, path, body), text)

    def test_bodies(self) -> None:
        """What cannot be read, or is not there, is told; nothing is stored."""
        bad = self.gateway.send("PUT", "/routes/1", b"{")
        self.assertEqual((bad.status, set(bad.json)), (400, {"error_msg", "req_body"}))
        self.assertTrue(bad.error.startswith("invalid request body: "))
        self.assertEqual(bad.json["req_body"], "{")
        for method, path, body, text in (
            ("PUT", "/routes/1", None, "missing configurations"),
            ("POST", "/routes", b"", "missing configurations"),
            ("PUT", "/routes/1", [], "invalid configuration: wrong type: expected object, got table"),
            ("PUT", "/routes/1?ttl=x", ROUTE, "invalid argument ttl: should be a number"),
            ("PUT", "/routes/1", {**ROUTE, "create_time": 1}, "the property is forbidden:  create_time"),
            (
                "PUT",
                "/routes/1",
                {**ROUTE, "upstream": {**UPSTREAM, "update_time": 1}},
                "the property is forbidden:  upstream.update_time",
            ),
        ):
            with self.subTest(text=text):
                self.assertEqual(self.gateway.refused(method, path, body), text)
        large = self.gateway.send("PUT", "/routes/1", b'{"desc": "%s"}' % (b"x" * 100_000))
        text = "invalid request body: request size 100012 is greater than the maximum size 100000 allowed"
        self.assertEqual((large.status, large.json), (400, {"error_msg": text}))
        self.assertEqual(self.gateway.send("GET", "/routes").json, {"total": 0, "list": []})

    def test_methods_and_paths(self) -> None:
        """A kind that is not there is 404, a method not for a kind 405; the words are known."""
        for method, path, status, text in (
            ("GET", "/nothing", 404, "Unsupported resource type: nothing"),
            ("GET", "/credentials", 404, "Unsupported resource type: credentials"),
            ("POST", "/consumers", 405, "not supported `POST` method for consumer"),
            ("PATCH", "/consumers/a", 405, "not supported `PATCH` method for consumer"),
            ("POST", "/consumers/a/credentials", 405, "not supported `POST` method for credential"),
            ("PATCH", "/consumers/a/credentials/b", 405, "not supported `PATCH` method for credential"),
            ("POST", "/global_rules", 405, "not supported `POST` method for global rule"),
            ("POST", "/plugin_configs", 405, "not supported `POST` method for plugin config"),
            ("POST", "/consumer_groups", 405, "not supported `POST` method for consumer group"),
            ("POST", "/secrets/vault", 405, "not supported `POST` method for secret"),
            ("POST", "/plugin_metadata", 405, "not supported `POST` method for plugin_metadata"),
            ("PATCH", "/plugin_metadata/a", 405, "not supported `PATCH` method for plugin_metadata"),
            ("PATCH", "/protos/1", 405, "not supported `PATCH` method for proto"),
            ("PATCH", "/stream_routes/1", 405, "not supported `PATCH` method for stream route"),
            ("TRACE", "/routes", 404, "not found"),
        ):
            with self.subTest(method=method, path=path):
                reply = self.gateway.send(method, path, {})
                self.assertEqual((reply.status, reply.error), (status, text))

    def test_no_stream_routes(self) -> None:
        """A gateway that is told to have no stream routes says so, even to a GET."""
        gateway = ApisixGateway({"stream_routes": False})
        text = "stream mode is disabled, can not add stream routes"
        self.assertEqual(gateway.refused("GET", "/stream_routes"), text)
        self.assertEqual(gateway.refused("PUT", "/stream_routes/1", {}), text)

    def test_headers(self) -> None:
        """Every answer names the product, says who may read it, and the version if it is about resources."""
        for path, version in (("/routes", "v3"), ("/routes/none", "v3"), ("/plugins/list", None)):
            reply = self.gateway.send("GET", path)
            self.assertEqual(reply.field("x-api-version"), version)
            self.assertEqual(reply.field("server"), "APISIX/3.18.0")
            self.assertEqual(reply.field("access-control-allow-origin"), "*")
            self.assertEqual(reply.field("access-control-max-age"), "3600")
            self.assertEqual(reply.field("content-type"), "application/json")
        plain = ApisixGateway({"cors": False, "version_shown": False}).send("GET", "/routes")
        self.assertEqual(
            (plain.field("server"), plain.field("access-control-allow-origin")), ("APISIX", None)
        )

    def test_conditions(self) -> None:
        """A write can ask for the revision it read, and is 412 when that is no longer there."""
        tag = self.gateway.send("PUT", "/routes/1", ROUTE).field("etag")
        assert tag is not None
        self.gateway.put("/routes/1", {**ROUTE, "desc": "second"})
        stale = self.gateway.send("PUT", "/routes/1", ROUTE, headers={"If-Match": tag})
        self.assertEqual(stale.status, 412)
        self.assertEqual(self.gateway.send("GET", "/routes/1").json["value"]["desc"], "second")

    def test_no_500(self) -> None:
        """Ids and paths of any form are refused in words."""
        for path in ("/routes/%2F", "/routes/%00", "/routes/" + "a" * 65, "/routes/a%20b", "/routes/%C3%A9"):
            reply = self.gateway.send("PUT", path, ROUTE)
            self.assertEqual(reply.status, 400, path)
            self.assertIn("object matches none of the required", reply.error)
        self.assertEqual(self.gateway.send("PUT", "/routes/a/b", ROUTE).status, 404)

    def test_compile_errors(self) -> None:
        """What could not be served is refused in plain words, without kind and id in front."""
        problem = Problem(("route", "1", "vars"), "value", "no such thing")
        self.gateway.publisher.fault = ConfigErrors([problem])
        self.assertEqual(self.gateway.refused("PUT", "/routes/1", ROUTE), "no such thing")


class CredentialTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.gateway = ApisixGateway()
        self.gateway.put("/consumers", {"username": "jack"})

    def test_life(self) -> None:
        """Credentials live below their consumer; an empty list is 404, and the consumer takes them along."""
        path = "/consumers/jack/credentials"
        empty = self.gateway.send("GET", path)
        self.assertEqual((empty.status, empty.json), (404, {"message": "Key not found"}))
        body = {"plugins": {"key-auth": {"key": "k"}}}
        made = self.gateway.send("PUT", f"{path}/c1", body)
        self.assertEqual((made.status, made.json["key"]), (201, "/apisix/consumers/jack/credentials/c1"))
        self.assertEqual(made.json["value"]["id"], "c1")
        self.assertEqual(self.gateway.put(path, {**body, "id": "c1"})["key"], made.json["key"])
        self.assertEqual(self.gateway.send("GET", path).json["total"], 1)
        self.assertEqual(self.gateway.send("GET", "/consumers").json["total"], 1)
        self.assertEqual(self.gateway.send("DELETE", "/consumers/jack").status, 200)
        self.assertEqual(self.gateway.control.state.all("default", "credential"), {})

    def test_removal_after_the_consumer(self) -> None:
        """A client that deletes a consumer and then its credentials gets what it wants, and no error."""
        path = "/consumers/jack/credentials/c1"
        self.gateway.put(path, {"plugins": {"key-auth": {"key": "k"}}})
        self.assertEqual(self.gateway.send("DELETE", "/consumers/jack/credentials/c2").status, 404)
        self.assertEqual(self.gateway.send("DELETE", "/consumers/jack").status, 200)
        gone = self.gateway.send("DELETE", path)
        self.assertEqual((gone.status, gone.json), (200, {"deleted": "0", "key": f"/apisix{path}"}))

    def test_no_consumer(self) -> None:
        """A credential needs its consumer."""
        path = "/consumers/jill/credentials"
        body = {"plugins": {"key-auth": {"key": "k"}}}
        self.assertEqual(self.gateway.refused("PUT", f"{path}/c", body, 404), "consumer not found")
        for where in (path, f"{path}/c"):
            reply = self.gateway.send("GET", where)
            self.assertEqual((reply.status, reply.json), (404, {"message": "Key not found"}))

    def test_secrets(self) -> None:
        """What a write is answered shows secrets encrypted, what is read shows them in clear."""
        path = "/consumers/jack/credentials/c1"
        body = {"plugins": {"jwt-auth": {"key": "k", "secret": "a-secret-of-32-characters-at-least"}}}
        echoed = self.gateway.put(path, body)["value"]["plugins"]["jwt-auth"]
        self.assertEqual(echoed, {"key": "k", "secret": "sealed"})
        shown = self.gateway.send("GET", path).json["value"]
        self.assertEqual(shown["plugins"], body["plugins"])


class FreshTests(SynchronousTestCase):
    def test_groups(self) -> None:
        """What is written with the static key is in the group default, in both dialects."""
        gateway = ApisixGateway()
        gateway.put("/services/s", {"name": "s", "upstream": UPSTREAM})
        reply = gateway.call("GET", "/apisix/admin/services/s", token=ADMIN)
        self.assertEqual((reply.status, reply.value["id"], reply.value["type"]), (200, "s", "http"))
