from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from gateway.model.record import Change
from tests import certs
from tests.admin.kit import Gateway, done

ADMIN = "/apisix/admin"
UPSTREAM = {"nodes": [{"host": "a.test", "port": 80, "weight": 1}]}


class ViewTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.gateway = Gateway()

    def _put(self, path: str, body: object) -> dict[str, Any]:
        reply = self.gateway.call("PUT", f"{ADMIN}/{path}", body)
        self.assertEqual(reply.status, 200, reply.raw)
        value: dict[str, Any] = reply.json
        return value

    def test_service_upstreams(self) -> None:
        """The inline upstream of a service is the first of its upstreams, under the service's id."""
        self._put("services/s", {"name": "s", "upstream": UPSTREAM})
        self._put("services/s/upstreams/blue", {"name": "blue", **UPSTREAM})
        listed = self.gateway.call("GET", f"{ADMIN}/services/s/upstreams").json
        self.assertEqual(listed["total"], 2)
        self.assertEqual(
            {item["id"]: item["name"] for item in listed["list"]}, {"s": "default", "blue": "blue"}
        )
        one = self.gateway.call("GET", f"{ADMIN}/services/s/upstreams/s")
        self.assertEqual((one.status, one.value["nodes"][0]["priority"]), (200, 0))
        for method in ("PUT", "DELETE"):
            self.assertEqual(
                self.gateway.call(method, f"{ADMIN}/services/s/upstreams/s", UPSTREAM).status, 400
            )
        made = self.gateway.call("POST", f"{ADMIN}/services/s/upstreams", {"name": "green"})
        self.assertEqual(made.status, 200)
        path = f"{ADMIN}/services/s/upstreams/{made.value['id']}"
        self.assertEqual(self.gateway.call("DELETE", path).json, {})
        self._put("services/bare", {"name": "bare"})
        self.assertEqual(
            self.gateway.call("GET", f"{ADMIN}/services/bare/upstreams").json, {"list": [], "total": 0}
        )
        for method in ("GET", "PUT", "POST"):
            self.assertEqual(self.gateway.call(method, f"{ADMIN}/upstreams", {}).status, 404)

    def test_stream_service(self) -> None:
        """A stream service keeps what was sent, without an HTTP service's defaults (contract §6.4 rule 4)."""
        body = {
            "name": "t",
            "type": "stream",
            "upstream": {"scheme": "tcp", "pass_host": "pass", "nodes": []},
        }
        value = self._put("services/t", body)["value"]
        self.assertNotIn("strip_path_prefix", value)
        self.assertEqual(value["upstream"]["pass_host"], "pass")
        self.assertEqual(
            self._put("services/t", {**body, "strip_path_prefix": True})["value"]["strip_path_prefix"], True
        )
        value = self._put("stream_routes/r", {"stream_route_id": "r", "name": "r", "service_id": "t"})[
            "value"
        ]
        self.assertEqual((value["id"], value["service_id"]), ("r", "t"))
        self.assertNotIn("stream_route_id", value)
        self._put("services/h", {"name": "h"})
        for service, words in (
            ("none", "service not found"),
            ("h", "the service is of type http, a stream route needs one of type stream"),
        ):
            reply = self.gateway.call("PUT", f"{ADMIN}/stream_routes/x", {"name": "x", "service_id": service})
            self.assertEqual((reply.status, reply.error), (400, words))

    def test_not_used_yet(self) -> None:
        """Who stores what no request looks at is told so."""
        self.assertIn(
            "the data plane does not use it yet",
            self._put("protos/p", {"content": "message A {}"})["warning_msg"],
        )
        self.assertNotIn("warning_msg", self._put("services/s", {"name": "s"}))
        stream = self._put("services/t", {"name": "t", "type": "stream"})
        self.assertIn("TCP and UDP are not proxied yet", stream["warning_msg"])

    def test_plugin_metadata(self) -> None:
        """Metadata is shown as it was sent, without an id or times; the list is a map by plugin."""
        document = {"log_format": {"host": "$host"}}
        self.assertEqual(self._put("plugin_metadata/limit-count", document)["value"], document)
        listed = self.gateway.call("GET", f"{ADMIN}/plugin_metadata").json
        self.assertEqual(listed, {"value": {"limit-count": document}})
        self.assertEqual(
            self.gateway.call("GET", f"{ADMIN}/plugin_metadata/limit-count").json, {"value": document}
        )
        self.assertEqual(
            self.gateway.call("PUT", f"{ADMIN}/plugin_metadata/none", {}).error, "unknown plugin [none]"
        )
        self.assertEqual(self.gateway.call("GET", f"{ADMIN}/plugin_metadata/jwt-auth").status, 400)
        self.assertEqual(self.gateway.call("DELETE", f"{ADMIN}/plugin_metadata/limit-count").status, 200)
        self.assertEqual(self.gateway.call("GET", f"{ADMIN}/plugin_metadata").json, {"value": {}})

    def test_secret_providers(self) -> None:
        """A provider is called by manager and id; the older path means the same."""
        body = {"uri": "http://127.0.0.1:8200", "prefix": "kv", "token": "t"}
        self.assertEqual(self._put("secret_providers/vault/v", body)["value"]["id"], "vault/v")
        self.assertEqual(self.gateway.call("GET", f"{ADMIN}/secrets/vault/v").value["prefix"], "kv")
        self.assertEqual(self.gateway.call("GET", f"{ADMIN}/secret_providers").json["total"], 1)
        self.assertEqual(self.gateway.call("GET", f"{ADMIN}/secret_providers/vault").status, 404)
        reply = self.gateway.call("PUT", f"{ADMIN}/secret_providers/vault/w", {"uri": "u"})
        self.assertEqual((reply.status, reply.json["errors"][0]["pointer"]), (400, "/prefix"))
        reply = self.gateway.call("PUT", f"{ADMIN}/secret_providers/safe/w", body)
        self.assertEqual((reply.status, reply.error), (400, "invalid secret manager: safe"))
        self.assertEqual(self.gateway.call("DELETE", f"{ADMIN}/secret_providers/vault/v").status, 200)

    def test_hidden(self) -> None:
        """A private key goes in and never comes out, not even by a patch."""
        pair = certs.pair("a.test")
        value = self._put("certificates/c", {"cert": pair.cert, "key": pair.key})["value"]
        self.assertEqual({"cert"}, {"cert", "key"} & value.keys())
        path = f"{ADMIN}/certificates/c"
        self.assertNotIn("key", self.gateway.call("GET", path).value)
        for operation in (
            {"op": "copy", "from": "/key", "path": "/desc"},
            {"op": "move", "from": "", "path": "/labels"},
        ):
            self.assertEqual(self.gateway.call("PATCH", path, [operation]).status, 400)
        for source in ("key", "nowhere", 1):
            copy = {"op": "copy", "from": source, "path": "/desc"}
            self.assertEqual(self.gateway.call("PATCH", path, [copy]).status, 400)
        patched = self.gateway.call("PATCH", path, [{"op": "add", "path": "/desc", "value": "d"}])
        self.assertEqual((patched.status, patched.value["desc"]), (200, "d"))
        record = self.gateway.control.state.get("default", "certificate", "c")
        assert record is not None
        self.assertEqual(record.value["key"], pair.key)

    def test_hidden_and_written_back(self) -> None:
        """What was read can be written back: the key stays, unless the certificate is another."""
        pair, other = certs.pair("a.test"), certs.pair("b.test")
        body = {"cert": pair.cert, "key": pair.key, "snis": ["a.test"]}
        for path in ("ssls/1", "certificates/1"):
            document = body if path == "ssls/1" else {"cert": pair.cert, "key": pair.key}
            self._put(path, document)
            read = self.gateway.call("GET", f"{ADMIN}/{path}").value
            self._put(path, {**read, "labels": {"a": "b"}})
            record = self.gateway.control.state.get("default", path[: -len("s/1")], "1")
            assert record is not None
            self.assertEqual(record.value["key"], pair.key)
            reply = self.gateway.call("PUT", f"{ADMIN}/{path}", {**read, "cert": other.cert})
            self.assertEqual((reply.status, reply.json["errors"][0]["pointer"]), (400, "/key"))

    def test_publish_info(self) -> None:
        """Who asks for publish information gets the versions of a route and its service."""
        self._put("services/s", {"name": "s"})
        self._put("routes/r", {"name": "r", "paths": ["/"], "service_id": "s"})
        query = {"gateway_group_id": "default", "with_publish_info": "true"}
        (item,) = self.gateway.call("GET", f"{ADMIN}/routes", query=query).json["list"]
        service = self.gateway.call("GET", f"{ADMIN}/services/s").value
        self.assertEqual(item["service_version_id"], service["service_version_id"])
        self.assertEqual(self._put("routes/r", item)["value"]["id"], "r")


class OtherDialectTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.gateway = Gateway()

    def _store(self, kind: str, id: str, value: dict[str, Any]) -> None:
        change = Change("default", kind, id, value, "apisix")
        done(Deferred.fromCoroutine(self.gateway.control.write(lambda state: [change], author="test")))

    def test_route_and_service(self) -> None:
        """What the other dialect wrote is shown in this one's members, with its defaults."""
        self._store(
            "service",
            "s",
            {"hosts": ["a.test"], "upstream": {"nodes": {"b.test:81": 2}, "type": "roundrobin"}},
        )
        self._store(
            "route", "r", {"uri": "/x", "host": "h", "service_id": "s", "status": 1, "upstream_id": "1"}
        )
        service = self.gateway.call("GET", f"{ADMIN}/services/s").value
        self.assertEqual(
            (service["type"], service["upstream"]["nodes"]),
            ("http", [{"host": "b.test", "port": 81, "weight": 2, "priority": 0}]),
        )
        route = self.gateway.call("GET", f"{ADMIN}/routes/r").value
        del route["created_at"], route["updated_at"]
        self.assertEqual(route, {"id": "r", "name": "r", "paths": ["/x"], "service_id": "s", "priority": 0})
        record = self.gateway.control.state.get("default", "route", "r")
        assert record is not None
        self.assertEqual(record.value["host"], "h")

    def test_global_rule_of_many(self) -> None:
        """A rule with several plugins is shown as one rule a plugin (contract §7.2)."""
        self._store("global_rule", "1", {"plugins": {"limit-count": {"count": 1}, "key-auth": {}}})
        listed = self.gateway.call("GET", f"{ADMIN}/global_rules").json
        self.assertEqual(
            {item["id"]: item["plugins"] for item in listed["list"]},
            {"limit-count": {"limit-count": {"count": 1}}, "key-auth": {"key-auth": {}}},
        )
        self.assertEqual(
            self.gateway.call("GET", f"{ADMIN}/global_rules/key-auth").value["plugins"], {"key-auth": {}}
        )
        self.assertEqual(self.gateway.call("GET", f"{ADMIN}/global_rules/jwt-auth").status, 404)
        self.assertEqual(self.gateway.call("DELETE", f"{ADMIN}/global_rules/key-auth").json, {})
        listed = self.gateway.call("GET", f"{ADMIN}/global_rules").json
        self.assertEqual([item["id"] for item in listed["list"]], ["limit-count"])
        self.assertEqual(self.gateway.call("DELETE", f"{ADMIN}/global_rules/limit-count").json, {})
        self.assertEqual(self.gateway.call("GET", f"{ADMIN}/global_rules").json["total"], 0)
        self.assertEqual(self.gateway.call("DELETE", f"{ADMIN}/global_rules/limit-count").status, 404)
