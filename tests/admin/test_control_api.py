"""The control API, in memory."""

from __future__ import annotations

import json
from typing import Any

from treq.testing import StubTreq
from twisted.trial.unittest import SynchronousTestCase

from gateway.admin.control_api import ControlAPI
from gateway.control.state import State
from gateway.model.record import Record, StoreView
from gateway.registry import load_plugins

NODE = {"ip": "10.0.0.1", "port": 80, "hostname": "<a>", "status": "unhealthy", "counter": {"success": 0}}
CHECKED = {"name": "/apisix/services/s", "type": "http", "nodes": [NODE]}


def record(kind: str, id: str, value: dict[str, Any], group: str = "default") -> Record:
    return Record(group, kind, id, value, "enterprise", 0, 0, 3, 5)


class Control:
    plugins = {"http-logger": {"uri": "http://a.example/", "auth_header": "secret-a"}}
    nested = {"workflow": {"rules": [{"actions": [["limit-count", {"redis_password": "secret-c", "n": 1}]]}]}}
    state = State.of(
        StoreView(
            7,
            [
                record("route", "r", {"paths": ["/x"], "plugins": plugins}),
                record("route", "other", {"paths": ["/x"]}, "another-group"),
                record(
                    "service",
                    "s",
                    {"upstream": {"nodes": [], "tls": {"client_cert": "c", "client_key": "secret-b"}}},
                ),
                record("service", "unchecked", {"plugins": nested}),
                record("plugin_metadata", "http-logger", {"log_format": {"a": "b"}}),
            ],
        )
    )


class ControlAPITests(SynchronousTestCase):
    def setUp(self) -> None:
        async def health() -> list[dict[str, Any]]:
            return [CHECKED]

        control: Any = Control()
        self.client = StubTreq(ControlAPI(control, load_plugins(None), "default", health).resource())

    def call(self, method: str, path: str, **headers: str) -> tuple[int, bytes]:
        response = self.successResultOf(
            self.client.request(method, f"http://127.0.0.1{path}", headers=headers)
        )
        return response.code, self.successResultOf(response.content())

    def json(self, path: str) -> Any:
        status, content = self.call("GET", path)
        self.assertEqual(status, 200, content)
        self.assertNotIn(b"secret-", content)
        return json.loads(content)

    def refusal(self, path: str) -> tuple[int, Any]:
        status, content = self.call("GET", path)
        return status, json.loads(content)["error_msg"]

    def test_loaded(self) -> None:
        """What is loaded is shown with its revisions, of the group that is served, without secrets."""
        (route,) = self.json("/v1/routes")
        self.assertEqual(
            (route["key"], route["createdIndex"], route["modifiedIndex"]), ("/apisix/routes/r", 3, 5)
        )
        config = {"uri": "http://a.example/", "auth_header": "******"}
        self.assertEqual(route["value"], {"id": "r", "paths": ["/x"], "plugins": {"http-logger": config}})
        self.assertEqual(self.json("/v1/route/r"), route)
        self.assertEqual(len(self.json("/v1/services")), 2)
        self.assertEqual(self.json("/v1/service/s")["value"]["upstream"]["tls"]["client_key"], "******")
        (rule,) = self.json("/v1/service/unchecked")["value"]["plugins"]["workflow"]["rules"]
        self.assertEqual(rule, {"actions": [["limit-count", {"redis_password": "******", "n": 1}]]})
        self.assertEqual(self.json("/v1/upstreams"), [])
        metadata = {"id": "http-logger", "log_format": {"a": "b"}}
        self.assertEqual(self.json("/v1/plugin_metadatas"), [metadata])
        self.assertEqual(self.json("/v1/plugin_metadata/http-logger"), metadata)

    def test_missing(self) -> None:
        """What is not there is 404, in the words users know."""
        for path, words in (
            ("/v1/route/other", "route[other] not found"),
            ("/v1/service/x", "service[x] not found"),
            ("/v1/upstream/x", "upstream[x] not found"),
            ("/v1/plugin_metadata/x", "plugin metadata[x] not found"),
            ("/v1/healthcheck/routes/x", "routes[x] not found"),
            ("/v1/healthcheck/services/unchecked", "no checker for services[unchecked]"),
            ("/v1/nothing", "not found"),
        ):
            self.assertEqual(self.refusal(path), (404, words))
        self.assertEqual(self.refusal("/v1/healthcheck/things/x"), (400, "invalid src type things"))
        self.assertEqual(self.call("DELETE", "/v1/routes")[0], 405)

    def test_health(self) -> None:
        """The health of upstreams, all or one, for programs and for people."""
        self.assertEqual(self.json("/v1/healthcheck"), [CHECKED])
        self.assertEqual(self.json("/v1/healthcheck/services/s"), CHECKED)
        status, page = self.call("GET", "/v1/healthcheck", Accept="text/html,*/*")
        self.assertEqual(status, 200)
        self.assertIn(b"<td>10.0.0.1:80</td><td>unhealthy</td>", page)

    def test_schema(self) -> None:
        """Every schema is published."""
        found = self.json("/v1/schema")
        self.assertIn("route", found["main"])
        self.assertEqual(found["plugins"]["key-auth"]["priority"], 2500)
        self.assertEqual(
            sorted(found["plugins"]["key-auth"]), ["consumer_schema", "priority", "schema", "type", "version"]
        )
        self.assertIn("metadata_schema", found["plugins"]["http-logger"])

    def test_errands(self) -> None:
        """What others ask for is answered."""
        self.assertEqual(self.call("POST", "/v1/gc"), (200, b""))
        self.assertEqual(self.call("PUT", "/v1/plugins/reload"), (200, b"done"))
