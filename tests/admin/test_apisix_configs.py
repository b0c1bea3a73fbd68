"""Dry runs and the document of the standalone mode (Admin API contract §4.7, §6.5)."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import ConfigErrors, Problem
from tests.admin.apisix_kit import UPSTREAM, ApisixGateway
from tests.admin.kit import Reply

ROUTE = {"uri": "/a", "upstream": UPSTREAM}


class ValidateTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.gateway = ApisixGateway()

    def errors(self, body: object) -> list[tuple[str, str, int, str]]:
        reply = self.gateway.send("POST", "/configs/validate", body)
        if reply.status == 200:
            self.assertEqual(reply.json, {})
            return []
        self.assertEqual((reply.status, reply.error), (400, "Configuration validation failed"))
        return [
            (each["resource_type"], each["resource_id"], each["index"], each["error"])
            for each in reply.json["errors"]
        ]

    def test_fine(self) -> None:
        """What fits is answered with nothing; what it refers to need not exist."""
        for body in (
            {},
            {"routes": []},
            {"routes": {}},
            {"routes": [{"id": "1", "uri": "/a", "service_id": "nowhere"}], "routes_conf_version": 3},
            {
                "consumers": [
                    {"username": "a"},
                    {"id": "a/credentials/c", "plugins": {"key-auth": {"key": "k"}}},
                ]
            },
            {"global_rules": [{"id": "1", "plugins": {"limit-count": {"count": 1}}}]},
            {"plugin_metadata": [{"id": "limit-count", "a": 1}]},
            {"secrets": [{"id": "vault/1", "uri": "http://a", "prefix": "p", "token": "t"}]},
            {"nobody knows": [1]},
        ):
            self.assertEqual(self.errors(body), [], body)

    def test_errors(self) -> None:
        """Every error is told, with its section, its id and its place from 0."""
        body = {
            "routes": [
                {"id": "1", **ROUTE},
                {"id": "2", "uri": "/a", "plugins": {"limit-count": {}}},
                {"id": "1", **ROUTE},
                {"id": "3", "uri": 7},
                "x",
                {"id": "4", **ROUTE, "modifiedIndex": "x"},
            ],
            "consumers": [
                {"username": "a"},
                {"username": "a"},
                {"id": "a/credentials/c", "plugins": {"limit-count": {"count": 1}}},
                {"id": "a/credentials/c"},
            ],
            "plugin_metadata": [{"id": "nothing"}, {}],
        }
        self.assertEqual(
            self.errors(body),
            [
                (
                    "routes",
                    "2",
                    1,
                    "failed to check the configuration of plugin limit-count err: "
                    'property "count" is required',
                ),
                ("routes", "1", 2, "found duplicate id 1 in routes"),
                (
                    "routes",
                    "3",
                    3,
                    'invalid configuration: property "uri" validation failed: '
                    "wrong type: expected string, got number",
                ),
                ("routes", "", 4, "an object is needed"),
                ("routes", "4", 5, "modifiedIndex must be an integer"),
                ("consumers", "a", 1, "found duplicate username a in consumers"),
                (
                    "consumers",
                    "a/credentials/c",
                    2,
                    "only supports auth type plugins in consumer credential",
                ),
                (
                    "consumers",
                    "a/credentials/c",
                    3,
                    "found duplicate credential id a/credentials/c in consumers",
                ),
                ("plugin_metadata", "nothing", 0, "invalid plugin name"),
                ("plugin_metadata", "", 1, "missing plugin name"),
            ],
        )

    def test_bodies(self) -> None:
        """What is no configuration is refused as a whole."""
        for body, text in (
            (None, "invalid request body: empty request body"),
            ([], "invalid request body: an object is needed"),
            ({"routes": 1}, "invalid request body: routes must be an array"),
        ):
            self.assertEqual(self.gateway.refused("POST", "/configs/validate", body), text)
        yaml = b"routes:\n  - {id: 1, uri: /a, plugins: {}}\n"
        headers = {"Content-Type": "application/yaml"}
        reply = self.gateway.send("POST", "/configs/validate", yaml, headers=headers)
        self.assertEqual((reply.status, reply.json), (200, {}))
        self.assertEqual(self.gateway.send("GET", "/configs/validate").status, 404)


class StandaloneTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.gateway = ApisixGateway()

    def put(self, body: object, digest: str | None = "d", **headers: str) -> Reply:
        if digest is not None:
            headers["X-Digest"] = digest
        return self.gateway.send("PUT", "/configs", body, headers=headers)

    def refused(self, body: object) -> str:
        reply = self.put(body, "another")
        self.assertEqual(reply.status, 400, reply.raw)
        return reply.error

    def shown(self) -> dict[str, Any]:
        reply = self.gateway.send("GET", "/configs")
        self.assertEqual(reply.status, 200)
        found: dict[str, Any] = reply.json
        return found

    def test_at_first(self) -> None:
        """Nothing is there, at version 0, and no digest."""
        reply = self.gateway.send("GET", "/configs")
        self.assertEqual(set(reply.json.values()), {0})
        self.assertEqual(reply.json["routes_conf_version"], 0)
        self.assertEqual((reply.field("x-digest"), reply.field("x-last-modified")), (None, None))

    def test_put(self) -> None:
        """A whole configuration is one revision; what is not in it goes; the same digest is nothing new."""
        self.gateway.put("/routes/old", ROUTE)
        self.gateway.call("PUT", "/apisix/admin/services/e", {"name": "e"})
        self.gateway.call("PUT", "/apisix/admin/services/e/upstreams/u", {"name": "u"})
        before = self.gateway.control.state.revision
        config: dict[str, Any] = {
            "routes": [{"id": "1", **ROUTE, "modifiedIndex": 12}, {"id": "2", **ROUTE}],
            "consumers": [
                {"username": "a"},
                {"id": "a/credentials/c", "plugins": {"key-auth": {"key": "k"}}, "modifiedIndex": 3},
            ],
            "plugin_metadata": [{"id": "limit-count", "a": 1}],
        }
        reply = self.put(config)
        self.assertEqual((reply.status, reply.raw), (202, b""))
        self.assertEqual((reply.field("x-digest"), reply.field("x-last-modified")), ("d", "1000000"))
        self.assertEqual(self.gateway.control.state.revision, before + 1)
        again = self.put(config)
        self.assertEqual((again.status, again.field("x-digest")), (204, "d"))
        shown = self.shown()
        self.assertEqual({name: shown[name] for name in config}, config)
        self.assertEqual((shown["routes_conf_version"], shown["ssls_conf_version"]), (1, 1))
        self.assertNotIn("services", shown)
        self.assertEqual(self.gateway.control.state.all("default", "service_upstream"), {})
        head = self.gateway.send("HEAD", "/configs")
        self.assertEqual((head.status, head.field("x-digest"), head.raw), (200, "d", b""))
        # The same through the resources, and the digest is of what was put, not of what came later.
        self.assertEqual(self.gateway.send("GET", "/routes").json["total"], 2)
        self.gateway.put("/routes/3", ROUTE)
        self.assertEqual(self.put(config).status, 202)
        self.assertEqual(self.gateway.send("GET", "/routes").json["total"], 2)

    def test_unchanged(self) -> None:
        """What is the same as before keeps its revision."""
        config = {"routes": [{"id": "1", **ROUTE}, {"id": "2", **ROUTE}]}
        self.put(config, "a")
        index = self.gateway.send("GET", "/routes/1").json["modifiedIndex"]
        config["routes"][1]["desc"] = "changed"
        self.put(config, "b")
        self.assertEqual(self.gateway.send("GET", "/routes/1").json["modifiedIndex"], index)
        self.assertGreater(self.gateway.send("GET", "/routes/2").json["modifiedIndex"], index)

    def test_versions(self) -> None:
        """An equal version keeps what is there, a lower one is refused, a larger one replaces."""
        self.put({"routes": [{"id": "1", **ROUTE}], "routes_conf_version": 5}, "a")
        self.assertEqual(self.put({"routes": [], "routes_conf_version": 5}, "b").status, 202)
        self.assertEqual([route["id"] for route in self.shown()["routes"]], ["1"])
        text = "routes_conf_version must be greater than or equal to (5)"
        self.assertEqual(self.refused({"routes_conf_version": 4}), text)
        for number in ("6", True, 1.5):
            self.assertEqual(
                self.refused({"routes_conf_version": number}), "routes_conf_version must be a number"
            )
        self.assertEqual(self.put({"routes_conf_version": 6}, "c").status, 202)
        self.assertNotIn("routes", self.shown())
        self.put({}, "d")
        self.assertEqual(self.shown()["routes_conf_version"], 7)

    def test_refused(self) -> None:
        """The first error is told, and nothing is stored."""
        reply = self.put({}, None)
        self.assertEqual((reply.status, reply.error), (400, "missing digest header"))
        for body, text in (
            ({"routes": [{"id": "1", "uri": 7}]}, 'property "uri" validation failed'),
            ({"routes": [ROUTE]}, "missing route id"),
            ({"routes": [{"id": "1", **ROUTE}] * 2}, "found duplicate id 1 in routes"),
            ({"routes": [{"id": "1", **ROUTE, "plugins": {"x": {}}}]}, "unknown plugin [x]"),
            (b"{", "invalid request body"),
        ):
            self.assertIn(text, self.refused(body))
        self.assertEqual(self.gateway.control.state.all("default", "route"), {})
        self.assertEqual(self.put({}, "x" * 300).status, 400)
        self.assertEqual(self.gateway.send("DELETE", "/configs").status, 404)

    def test_not_served(self) -> None:
        """What could not be served is told with the document it is about."""
        problem = Problem(("route", "1", "vars"), "value", "no such thing")
        self.gateway.publisher.fault = ConfigErrors([problem])
        text = self.refused({"routes": [{"id": "1", **ROUTE}]})
        self.assertEqual(text, "invalid configuration: route/1: no such thing")

    def test_yaml(self) -> None:
        """A configuration comes and goes as YAML, too."""
        yaml = b"routes:\n  - id: r\n    uri: /a\n    plugins: {}\n#END\n"
        self.assertEqual(self.put(yaml, "y", **{"Content-Type": "application/yaml"}).status, 202)
        reply = self.gateway.send("GET", "/configs", headers={"Accept": "application/yaml"})
        self.assertEqual(reply.field("content-type"), "application/yaml")
        self.assertTrue(reply.raw.startswith(b"routes:\n- id: r\n  uri: /a\n  plugins: {}\n"), reply.raw)

    def test_others_are_served_meanwhile(self) -> None:
        """A large configuration is checked a few documents at a time."""
        reactor = Clock()
        pauses: list[Any] = []

        def call_later(delay_s: float, work: Any) -> Any:
            pauses.append(delay_s)
            return reactor.callLater(delay_s, work)

        gateway = ApisixGateway(call_later=call_later)
        routes = [{"id": str(number), "uri": "/a", "plugins": {}} for number in range(90)]
        waiting = gateway.start(
            "PUT",
            "/apisix/admin/configs",
            {"routes": routes},
            query="",
            token="an-admin-key-of-tests",
            headers={"X-Digest": "d"},
        )
        answers: list[Any] = []
        waiting.addBoth(answers.append)
        self.assertEqual((answers, len(pauses)), ([], 1))
        reactor.advance(0)
        gateway.agent.flush()
        self.assertEqual((answers[0].code, pauses), (202, [0] * 4))
        self.assertEqual(len(gateway.control.state.all("default", "route")), 90)
