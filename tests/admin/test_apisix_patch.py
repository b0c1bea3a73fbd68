"""PATCH in the apisix dialect (Admin API contract §4.6)."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway.admin.apisix_patch import merged, placed
from gateway.admin.refusals import BadBody
from tests.admin.apisix_kit import UPSTREAM, ApisixGateway

ROUTE: dict[str, Any] = {"uri": "/a", "methods": ["GET"], "labels": {"a": "1"}, "upstream": UPSTREAM}


class ValueTests(SynchronousTestCase):
    def test_merged(self) -> None:
        """Objects merge, null deletes, arrays replace whole."""
        before = {"a": {"b": 1, "c": 2}, "d": [1, 2]}
        self.assertEqual(
            merged(before, {"a": {"b": None, "e": 3}, "d": [4]}), {"a": {"c": 2, "e": 3}, "d": [4]}
        )

    def test_placed(self) -> None:
        """A value goes to its place, and what is missing on the way is made."""
        before = {"a": {"b": 1}, "l": [1]}
        self.assertEqual(placed(before, ["a", "b"], [2])["a"], {"b": [2]})
        self.assertEqual(placed(before, ["x", "y", "z"], 1)["x"], {"y": {"z": 1}})
        self.assertEqual(placed(before, ["a", "b"], None)["a"], {})
        self.assertEqual(before, {"a": {"b": 1}, "l": [1]})
        for path, text in ((["l", "0"], "/l"), (["a", "b", "c", "d"], "/a/b")):
            error = self.assertRaises(BadBody, placed, before, path, 1)
            self.assertEqual(str(error), f"invalid sub-path: {text}")
        self.assertRaises(BadBody, placed, {}, ["a"] * 100, 1)


class PatchTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.gateway = ApisixGateway()
        self.gateway.put("/routes/1", ROUTE)

    def patch(self, path: str, body: object) -> Any:
        reply = self.gateway.send("PATCH", path, body)
        self.assertEqual(reply.status, 200, reply.raw)
        self.assertEqual(set(reply.json), {"key", "value"})
        return reply.json["value"]

    def test_merge(self) -> None:
        """An object is merged into what is stored; the answer is the whole."""
        self.gateway.clock.now += 7
        value = self.patch("/routes/1", {"labels": {"b": "2"}, "methods": None, "upstream": {"retries": 1}})
        expected = {
            "id": "1",
            "uri": "/a",
            "labels": {"a": "1", "b": "2"},
            "upstream": {**UPSTREAM, "retries": 1},
            "create_time": 1_000_000,
            "update_time": 1_000_007,
        }
        self.assertEqual(value, expected)
        self.assertEqual(self.gateway.send("GET", "/routes/1").json["value"], expected)

    def test_sub_path(self) -> None:
        """Any value goes to a sub-path."""
        self.assertEqual(self.patch("/routes/1/methods", ["POST"])["methods"], ["POST"])
        nodes = {"127.0.0.1:1981": 3}
        self.assertEqual(self.patch("/routes/1/upstream/nodes", nodes)["upstream"]["nodes"], nodes)
        self.assertNotIn("labels", self.patch("/routes/1/labels", b"null"))
        self.assertEqual(self.gateway.refused("PATCH", "/routes/1/uri/x/y", 1), "invalid sub-path: /uri")

    def test_times(self) -> None:
        """Times may be patched; a later PUT keeps that of creation, any later write sets the other."""
        value = self.patch("/routes/1", {"create_time": 5, "update_time": 6})
        self.assertEqual((value["create_time"], value["update_time"]), (5, 6))
        value = self.patch("/routes/1", {"desc": "x"})
        self.assertEqual((value["create_time"], value["update_time"]), (5, 1_000_000))
        value = self.gateway.put("/routes/1", ROUTE)["value"]
        self.assertEqual((value["create_time"], value["update_time"]), (5, 1_000_000))
        shown = self.gateway.call("GET", "/apisix/admin/routes/1").value
        self.assertEqual((shown["created_at"], "create_time" in shown), (1_000_000, False))

    def test_secret(self) -> None:
        """A secret manager's settings are found by manager and id."""
        self.gateway.put("/secrets/vault/1", {"uri": "http://a", "prefix": "p", "token": "t"})
        self.assertEqual(self.patch("/secrets/vault/1", {"token": "u"})["token"], "u")
        self.assertEqual(self.patch("/secrets/vault/1/token", "v")["token"], "v")
        self.assertEqual(self.gateway.refused("PATCH", "/secrets/vault", {}), "no secret id")

    def test_refused(self) -> None:
        """What is no patch, or would leave what is not allowed, changes nothing."""
        for path, body, text in (
            ("/routes/1", None, "missing new configuration"),
            ("/routes/1", [], "invalid configuration"),
            ("/routes/1", "x", "invalid configuration"),
            ("/routes", {}, "missing route id"),
            ("/routes/1", {"id": "2"}, "wrong route id"),
            ("/routes/1", {"x": 1}, "invalid configuration: additional properties forbidden, found x"),
            (
                "/routes/1/uri",
                7,
                'invalid configuration: property "uri" validation failed: '
                "wrong type: expected string, got number",
            ),
        ):
            self.assertEqual(self.gateway.refused("PATCH", path, body), text)
        missing = self.gateway.send("PATCH", "/routes/2", {"desc": "x"})
        self.assertEqual((missing.status, missing.json), (404, {"message": "Key not found"}))
        value = self.gateway.send("GET", "/routes/1").json["value"]
        self.assertEqual({name: value[name] for name in ROUTE}, ROUTE)
