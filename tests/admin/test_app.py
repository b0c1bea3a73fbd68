from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.admin.kit import GUIDE, Gateway

ROUTE = GUIDE[1][0]


class ContentTests(SynchronousTestCase):
    def test_bad_content(self) -> None:
        """Content that is no JSON object is 400 and stores nothing, on every path that takes one."""
        gateway = Gateway()
        gateway.seed()
        revision = gateway.control.state.revision
        for method, path in (
            ("PUT", ROUTE),
            ("POST", "/apisix/admin/services"),
            ("PUT", GUIDE[3][0]),
            ("POST", "/api/tokens"),
            ("PUT", "/api/tokens/bootstrap"),
            ("POST", "/api/gateway_groups"),
            ("PUT", "/api/gateway_groups/default"),
            ("POST", "/api/explain"),
        ):
            for raw in (
                b"",
                b"{",
                b"[]",
                b"null",
                b'{"a":1,"a":1}',
                b'{"a":NaN}',
                b"\xff",
                b"[" * 5000,
                b'{"a":1e400}',
            ):
                reply = gateway.call(method, path, raw)
                self.assertEqual(reply.status, 400, (path, raw[:20]))
                self.assertTrue(reply.error.startswith("invalid request body: "), reply.error)
        self.assertEqual(gateway.control.state.revision, revision)

    def test_too_large(self) -> None:
        """Content above the limit is 413."""
        gateway = Gateway()
        reply = gateway.call("PUT", ROUTE, b" " * 100_001)
        self.assertEqual((reply.status, reply.error), (413, "invalid request body: more than 100000 bytes"))
        self.assertEqual(gateway.call("PUT", ROUTE, b" " * 100_000).status, 400)

    def test_form_content(self) -> None:
        """A query parameter cannot be smuggled in the content."""
        reply = Gateway().call(
            "POST",
            "/apisix/admin/routes",
            b"gateway_group_id=default",
            query="",
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
        self.assertIn("gateway_group_id", reply.error)

    def test_content_type(self) -> None:
        """Content that says it is something else is 415; what clients say when nobody tells them is JSON."""
        gateway = Gateway()
        path, body = GUIDE[0]
        for type, status in (
            ("application/json; charset=utf-8", 200),
            ("application/vnd.x+json", 200),
            ("application/x-www-form-urlencoded", 200),
            ("text/plain", 200),
            ("application/yaml", 415),
            ("text/xml", 415),
        ):
            reply = gateway.call("PUT", path, body, headers={"Content-Type": type})
            self.assertEqual(reply.status, status, type)
        self.assertIn("application/json", reply.error)

    def test_wait(self) -> None:
        """A writer may go on once the change is stored, before it is served."""
        gateway = Gateway()
        path, body = GUIDE[0]
        gateway.publisher.waiting = Deferred()
        reply = gateway.call("PUT", path, body, query="gateway_group_id=default&wait=stored")
        self.assertEqual((reply.status, reply.field("X-Gateway-Revision")), (200, "2"))
        reply = gateway.call("PUT", path, body, query="gateway_group_id=default&wait=maybe")
        self.assertEqual(reply.status, 400)

    def test_always_json(self) -> None:
        """Every answer is JSON and says so."""
        gateway = Gateway()
        for path in (
            "/nowhere",
            "/status",
            "/api/version",
            "/apisix/admin/routes/x",
            "/apisix/admin/%FF",
            "/",
        ):
            reply = gateway.call("GET", path)
            self.assertEqual(reply.field("Content-Type"), "application/json", path)
            self.assertIsInstance(reply.json, dict)


class ProbeTests(SynchronousTestCase):
    def test_alive(self) -> None:
        """Whoever asks learns that the process is up, without a token."""
        gateway = Gateway(ready=lambda: "no configuration yet")
        reply = gateway.call("GET", "/status", token=None)
        self.assertEqual((reply.status, reply.json), (200, {"status": "ok"}))

    def test_ready(self) -> None:
        """Readiness is 503 with a reason until the gateway can serve."""
        faults: list[str | None] = ["no configuration yet"]
        gateway = Gateway(ready=lambda: faults[0])
        reply = gateway.call("GET", "/status/ready", token=None)
        self.assertEqual(
            (reply.status, reply.json), (503, {"status": "error", "error": "no configuration yet"})
        )
        faults[0] = None
        reply = gateway.call("GET", "/status/ready", token=None)
        self.assertEqual((reply.status, reply.json), (200, {"status": "ok"}))
        self.assertEqual(gateway.call("PUT", "/status", token=None).status, 405)


class PathTests(SynchronousTestCase):
    def test_unknown(self) -> None:
        """A path nobody knows is 404 in JSON."""
        gateway = Gateway()
        for path in (
            "/",
            "/api",
            "/api/nothing",
            "/apisix/admin",
            "/apisix",
            "/apisix/admin/routes/a/b/c",
            "//api//version",
        ):
            reply = gateway.call("GET", path)
            self.assertEqual((reply.status, reply.json), (404, {"error_msg": "resource not found"}), path)

    def test_trailing_slash(self) -> None:
        """A slash at the end does not matter."""
        gateway = Gateway()
        gateway.seed()
        for path in ("/apisix/admin/routes/", ROUTE + "/", "/api/version/"):
            self.assertEqual(
                gateway.call("GET", path, query={"gateway_group_id": "default"}).status, 200, path
            )

    def test_encoded_slash(self) -> None:
        """An encoded slash is part of an id, which allows none; it never leads to another resource."""
        gateway = Gateway()
        gateway.seed()
        for path, status in (
            ("/apisix/admin/consumers/jwt-auth-consumer%2Fcredentials%2Fjwt-auth-consumer-cred", 404),
            ("/apisix/admin%2Froutes", 404),
            ("/apisix/admin/routes%2Fjwt-auth-route", 404),
            ("/apisix/admin/routes/a%2Fb", 404),
        ):
            for method in ("GET", "DELETE"):
                self.assertEqual(gateway.call(method, path).status, status, (method, path))
        reply = gateway.call("PUT", "/apisix/admin/routes/a%2fb", GUIDE[1][1])
        self.assertEqual(reply.status, 400)
        self.assertIn('Error at "/id"', reply.error)
        self.assertEqual(gateway.call("GET", GUIDE[3][0]).status, 200)

    def test_strange_hosts(self) -> None:
        """A Host field that is no host name is the client's fault."""
        gateway = Gateway()
        for host in ("a..b", "\u20ac" * 70, "x" * 300, "[::1", "a b"):
            reply = gateway.call("GET", "/api/version", headers={"Host": host})
            self.assertIn(reply.status, (200, 400), host)


class FieldTests(SynchronousTestCase):
    def test_not_utf_8(self) -> None:
        """Fields may hold any bytes: no tag matches them, and a reason is kept as far as it can be read."""
        gateway = Gateway()
        gateway.seed()
        for name, status in (("If-Match", 412), ("If-None-Match", 200), ("X-Gateway-Reason", 200)):
            reply = gateway.call("PUT", *GUIDE[2], headers={name: b"caf\xe9 \xff"})
            self.assertEqual(reply.status, status, name)
        newest = gateway.call("GET", "/api/revisions?limit=1").json["list"][0]
        self.assertEqual(newest["reason"], "caf\ufffd \ufffd")

    def test_repeated(self) -> None:
        """A field sent in several lines counts as one list."""
        gateway = Gateway()
        gateway.seed()
        tag = gateway.call("GET", GUIDE[2][0]).field("ETag")
        reply = gateway.call("PUT", *GUIDE[2], headers={"If-Match": [tag or "", '"0"']})
        self.assertEqual(reply.status, 200)
