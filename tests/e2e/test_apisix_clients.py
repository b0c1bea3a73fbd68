"""Clients of Apache APISIX's Admin API and a real gateway: what they write is served and compares equal."""

from __future__ import annotations

import hashlib
import json
import subprocess
from typing import Any

from tests import certs
from tests.e2e.apisix_declarative import MANAGED, Client, Config, sha1
from tests.e2e.gateway_process import LIMIT_S, EndToEndCase, GatewayProcess


class ApisixCase(EndToEndCase):
    def setUp(self) -> None:
        super().setUp()
        self.server: GatewayProcess = self.gateway().start()
        self.key = (self.server.data_dir / "apisix-admin-key").read_text().strip()
        self.client = Client(self.server.ports["apisix"], self.key)
        self.addCleanup(self.client.close)


class CurlTests(ApisixCase):
    def curl(self, *arguments: str) -> tuple[int, Any]:
        ended = subprocess.run(
            ["curl", "-sS", "-w", "\n%{http_code}", "-H", f"X-API-KEY: {self.key}", *arguments],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=True,
        )
        body, _, status = ended.stdout.rpartition("\n")
        return int(status), json.loads(body) if body.strip() else None

    def test_a_route_is_served_at_once(self) -> None:
        """The first lines of every guide: one route with its upstream, and the next request reaches it."""
        upstream = self.upstream()
        admin = f"http://127.0.0.1:{self.server.ports['apisix']}/apisix/admin"
        node = f"127.0.0.1:{upstream.port}"
        route = {"uri": "/anything/*", "upstream": {"type": "roundrobin", "nodes": {node: 1}}}
        status, body = self.curl(f"{admin}/routes/1", "-X", "PUT", "-d", json.dumps(route))
        self.assertEqual((status, body["key"]), (201, "/apisix/routes/1"))
        answer = self.server.get("/anything/a?b=c")
        self.assertEqual((answer.status, answer.json["args"]), (200, {"b": "c"}))
        status, _ = self.curl(f"{admin}/routes/1/status", "-X", "PATCH", "-d", "0")
        self.assertEqual((status, self.server.get("/anything/a").status), (200, 404))
        self.curl(f"{admin}/routes/1", "-X", "PATCH", "-d", '{"status": 1, "methods": ["POST"]}')
        self.assertEqual(self.server.get("/anything/a").status, 404)
        self.assertEqual(self.server.get("/anything/a", method="POST").status, 200)
        # An upstream, a service and a plugin config of their own, and a consumer with a key.
        for path, document in (
            ("upstreams/u", {"nodes": [{"host": "127.0.0.1", "port": upstream.port, "weight": 1}]}),
            ("services/s", {"upstream_id": "u", "hosts": ["a.test"]}),
            ("plugin_configs/p", {"plugins": {"key-auth": {}}}),
            ("routes/2", {"uri": "/get", "service_id": "s", "plugin_config_id": "p"}),
            ("consumers/jack", {"username": "jack"}),
            ("consumers/jack/credentials/none", {}),
            ("consumers/jack/credentials/c", {"plugins": {"key-auth": {"key": "jacks-key"}}}),
        ):
            status, body = self.curl(f"{admin}/{path}", "-X", "PUT", "-d", json.dumps(document))
            self.assertEqual(status, 201, body)
        host = {"Host": "a.test"}
        self.assertEqual(self.server.get("/get", headers=host).status, 401)
        answer = self.server.get("/get", headers={**host, "apikey": "jacks-key"})
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.json["headers"]["X-Consumer-Username"], "jack")
        for path in ("routes/1", "routes/2", "services/s", "upstreams/u"):
            status, body = self.curl(f"{admin}/{path}", "-X", "DELETE")
            self.assertEqual((status, body["deleted"]), (200, "1"))
        self.assertEqual(self.server.get("/get", headers=host).status, 404)
        self.server.end()
        self.server.start()
        again = Client(self.server.ports["apisix"], self.key)
        self.addCleanup(again.close)
        self.assertEqual(again.call("GET", "/consumers/jack").status, 200)


def wanted(port: int) -> Config:
    """What a declarative client brings: two services with routes, a consumer, an ssl, a rule, metadata."""
    upstream = {
        "type": "roundrobin",
        "scheme": "http",
        "nodes": [{"host": "127.0.0.1", "port": port, "weight": 100, "priority": 0}],
        "pass_host": "pass",
        "timeout": {"connect": 5, "send": 5, "read": 5},
    }
    services = []
    for name in ("books", "films"):
        routes = [
            {
                "id": sha1(f"{name}.{method}"),
                "name": method,
                "desc": "of tests",
                "labels": MANAGED,
                "uris": [f"/{name}/*"],
                "methods": [method],
                "vars": [["arg_x", "~=", "y"]],
                "priority": 3,
                "plugins": {"key-auth": {"header": "apikey"}},
            }
            for method in ("GET", "POST")
        ]
        routes.sort(key=lambda route: str(route["id"]))
        service = {"id": sha1(name), "name": name, "labels": MANAGED, "hosts": [f"{name}.test"]}
        services.append({**service, "upstream": upstream, "routes": routes})
    pair = certs.pair("books.test")
    return {
        "services": sorted(services, key=lambda service: str(service["id"])),
        "consumers": [
            {
                "username": "jack",
                "desc": "of tests",
                "labels": MANAGED,
                "plugins": {},
                "credentials": [
                    {"id": sha1("jack.k"), "name": "k", "plugins": {"key-auth": {"key": "jacks-key"}}},
                ],
            }
        ],
        "ssls": [
            {
                "id": sha1("books.test"),
                "labels": MANAGED,
                "status": 1,
                "type": "server",
                "snis": ["books.test"],
                "cert": pair.cert,
                "key": pair.key,
            }
        ],
        "global_rules": [{"id": "jwt-auth", "plugins": {"jwt-auth": {"_meta": {"disable": True}}}}],
        "plugin_metadata": [{"id": "key-auth", "anything": {"a": 1}}],
    }


class DeclarativeTests(ApisixCase):
    def test_clients(self) -> None:
        """The calls of the known client, in both of its modes, one after the other."""
        self.sync()
        self.validate()
        self.standalone()

    def sync(self) -> None:
        """A second sync has nothing to do, a dump brings back what was put, an empty sync leaves nothing."""
        config = wanted(self.upstream().port)
        self.assertEqual(self.client.call("GET", "/routes").headers["server"], "APISIX/3.18.0")
        self.assertGreater(self.client.sync(config), 0)
        self.assertEqual(self.client.plan(config), [])
        dumped = self.client.dump()
        # Private keys are never shown, so a dump is compared without them.
        shown = {**config, "ssls": [{k: v for k, v in ssl.items() if k != "key"} for ssl in config["ssls"]]}
        self.assertEqual(dumped, shown)
        self.assertEqual(self.client.plan(dumped), [])
        headers = {"Host": "books.test", "apikey": "jacks-key"}
        self.assertEqual(self.server.get("/books/1", headers=headers).status, 404)  # the upstream's own
        self.assertEqual(self.server.get("/books/1", headers={"Host": "books.test"}).status, 401)
        # A change is one call; removing a consumer removes its credentials, and that is no failure.
        config["services"][0]["routes"][0]["desc"] = "changed"
        self.assertEqual(len(self.client.plan(config)), 1)
        self.client.sync(config)
        self.assertEqual(self.client.plan(config), [])
        self.client.sync({})
        self.assertEqual([items for items in self.client.dump().values() if items], [])

    def validate(self) -> None:
        """A dry run tells every error with its place, and stores nothing."""
        self.assertEqual(self.client.call("POST", "/configs/validate", {}).json, {})
        config = wanted(1980)
        routes = [route for service in config["services"] for route in service.pop("routes")]
        for service in config["services"]:
            service["upstream_id"] = service["id"]
        body: dict[str, Any] = {
            "routes": [{**route, "service_id": "nowhere"} for route in routes],
            "services": [{k: v for k, v in each.items() if k != "upstream"} for each in config["services"]],
            "consumers": [
                {k: v for k, v in each.items() if k != "credentials"} for each in config["consumers"]
            ],
            "global_rules": config["global_rules"],
            "plugin_metadata": config["plugin_metadata"],
        }
        answer = self.client.call("POST", "/configs/validate", body)
        self.assertEqual((answer.status, answer.body), (200, b"{}\n"))
        body["routes"][1]["uris"] = 7
        body["routes"].append(body["routes"][0])
        answer = self.client.call("POST", "/configs/validate", body)
        self.assertEqual((answer.status, answer.json["error_msg"]), (400, "Configuration validation failed"))
        places = [(each["resource_type"], each["index"]) for each in answer.json["errors"]]
        self.assertEqual(places, [("routes", 1), ("routes", 4)])
        self.assertEqual(self.client.dump()["services"], [])

    def standalone(self) -> None:
        """The standalone mode's client: ping, digest, one PUT of everything, nothing to do afterwards."""
        ping = self.client.call("HEAD", "")
        self.assertEqual((ping.status, ping.headers["server"]), (200, "APISIX/3.18.0"))
        self.assertNotIn("x-digest", self.client.call("HEAD", "/configs").headers)
        config = wanted(self.upstream().port)
        document: dict[str, Any] = {
            "services": [{k: v for k, v in each.items() if k != "routes"} for each in config["services"]],
            "routes": [
                {**route, "service_id": service["id"], "modifiedIndex": 1_700_000_000_000}
                for service in config["services"]
                for route in service["routes"]
            ],
            "consumers": [
                {"username": "jack"},
                {"id": "jack/credentials/k", "plugins": {"key-auth": {"key": "jacks-key"}}},
            ],
        }
        raw = json.dumps(document).encode()
        digest = {"X-Digest": hashlib.sha1(raw).hexdigest()}
        self.assertEqual(self.client.call("PUT", "/configs", raw, digest).status, 202)
        self.assertEqual(self.client.call("PUT", "/configs", raw, digest).status, 204)
        self.assertEqual(self.client.call("HEAD", "/configs").headers["x-digest"], digest["X-Digest"])
        shown = self.client.call("GET", "/configs").json
        self.assertEqual({name: shown[name] for name in document}, document)
        headers = {"Host": "books.test", "apikey": "jacks-key"}
        self.assertEqual(self.server.get("/books/1", headers=headers).status, 404)
        self.assertEqual(self.server.get("/books/1", headers={"Host": "books.test"}).status, 401)
        self.assertEqual(self.client.call("PUT", "/configs", b"{}", {"X-Digest": "empty"}).status, 202)
        self.assertEqual(self.client.dump()["services"], [])

        self.assertEqual(self.client.call("PUT", "/configs", b"{}", {"X-Digest": "empty"}).status, 204)


class DashboardTests(ApisixCase):
    def test_pages(self) -> None:
        """A dashboard's calls: lists by page, details, creation, edits without id and times, deletion."""
        client = self.client
        for name in (
            *("routes", "services", "upstreams", "consumers", "consumer_groups", "ssls", "stream_routes"),
            *("protos", "secrets", "plugin_configs"),
        ):
            answer = client.call("GET", f"/{name}?page=1&page_size=10")
            self.assertEqual((answer.status, answer.json), (200, {"total": 0, "list": []}), name)
        self.assertEqual(client.call("GET", "/global_rules").json["list"], [])
        nodes = [{"host": "127.0.0.1", "port": 80, "weight": 1}]
        pair = certs.pair("a.test")
        made = {}
        for name, document in (
            ("upstreams", {"name": "u", "nodes": nodes, "type": "roundrobin", "scheme": "http"}),
            ("services", {"name": "s", "upstream": {"nodes": nodes, "type": "roundrobin"}}),
            (
                "routes",
                {"name": "r", "uri": "/a", "methods": ["GET"], "upstream": {"nodes": nodes}, "status": 1},
            ),
            ("ssls", {"snis": ["a.test"], "cert": pair.cert, "key": pair.key}),
            ("stream_routes", {"server_port": 9100, "upstream": {"nodes": nodes}}),
            ("protos", {"content": 'syntax = "proto3"; message A {}'}),
        ):
            answer = client.call("POST", f"/{name}", document)
            self.assertEqual(answer.status, 201, answer.body)
            made[name] = answer.json["value"]["id"]
        for path, document in (
            ("plugin_configs/p", {"plugins": {"key-auth": {}}, "desc": "d"}),
            ("consumer_groups/g", {"plugins": {"key-auth": {}}}),
            ("global_rules/1", {"plugins": {"jwt-auth": {"_meta": {"disable": True}}}}),
            ("secrets/vault/v", {"uri": "http://127.0.0.1:8200", "prefix": "kv/a", "token": "t"}),
        ):
            self.assertEqual(client.call("PUT", f"/{path}", document).status, 201, path)
        self.assertEqual(client.call("PUT", "/consumers", {"username": "jack"}).status, 201)
        self.assertEqual(client.call("GET", "/consumers/jack/credentials").status, 404)
        credential = {"plugins": {"key-auth": {"key": "k"}}}
        self.assertEqual(client.call("PUT", "/consumers/jack/credentials/c", credential).status, 201)
        (secret,) = client.must("GET", "/secrets?page=1&page_size=10")["list"]
        self.assertEqual(secret["value"]["id"], "vault/v")
        for name in ("routes", "services", "upstreams", "stream_routes", "protos"):
            value = client.must("GET", f"/{name}/{made[name]}")["value"]
            self.assertEqual(value["create_time"], value["update_time"])
            edited = {k: v for k, v in value.items() if k not in ("id", "create_time", "update_time")}
            self.assertEqual(
                client.call("PUT", f"/{name}/{made[name]}", {**edited, "desc": "e"}).status, 200, name
            )
        found = client.must("GET", "/routes?page=1&page_size=10&name=r&label=")
        self.assertEqual(found["total"], 1)
        names = client.must("GET", "/plugins/list")
        pages = client.must("GET", "/plugins?all=true")
        self.assertEqual(names, list(pages))
        for name in names:
            self.assertIn("schema", pages[name])
            self.assertEqual(client.must("GET", f"/plugins/{name}"), pages[name]["schema"])
        self.assertEqual(client.call("GET", "/plugin_metadata/key-auth").status, 404)
        for name, id in made.items():
            self.assertEqual(client.call("DELETE", f"/{name}/{id}").status, 200, name)
        wrong = Client(self.server.ports["apisix"], "wrong")
        self.addCleanup(wrong.close)
        self.assertEqual(wrong.call("GET", "/routes").status, 401)
        # The same key and paths on the listener with TLS, which everybody's tools use too.
        self.assertEqual(self.server.admin("GET", "/apisix/admin/consumers/jack")[0], 200)
