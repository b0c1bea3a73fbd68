"""Keys, roles and what needs neither, in the apisix dialect (Admin API contract §4.1, §7.1)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.admin.static_keys import StaticKeys
from tests.admin.apisix_kit import ADMIN, UPSTREAM, VIEWER, ApisixGateway
from tests.admin.kit import TOKEN

PATH = "/apisix/admin/routes"


class KeyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.gateway = ApisixGateway()

    def check(self, status: int, description: str | None = None, **more: object) -> None:
        options = {"query": "", "token": None, **more}
        reply = self.gateway.call(str(options.pop("method", "GET")), PATH, **options)  # type: ignore[arg-type]
        self.assertEqual(reply.status, status, reply.raw)
        if description is not None:
            expected = {"error_msg": "failed to check token", "description": description}
            self.assertEqual(reply.json, expected)
            self.assertEqual(reply.field("server"), "APISIX/3.18.0")
            self.assertIsNone(reply.field("x-api-version"))

    def test_transport(self) -> None:
        """A key may come as a field, as a parameter or as a cookie; the parameter is looked at first."""
        self.check(200, token=ADMIN)
        self.check(200, query=f"api_key={ADMIN}")
        self.check(200, headers={"Cookie": f"a=b; x_api_key={ADMIN}"})
        self.check(200, query=f"api_key={ADMIN}", token="wrong")
        self.check(401, "wrong apikey", query="api_key=wrong", token=ADMIN)
        self.check(401, "missing apikey", query="api_key=")

    def test_refused(self) -> None:
        """Without a key, with a wrong one and with one for reading the reason is told."""
        self.check(401, "missing apikey")
        self.check(401, "wrong apikey", token="x" * 3000)
        self.check(200, token=VIEWER)
        self.check(200, token=VIEWER, method="HEAD")
        for method in ("PUT", "POST", "PATCH", "DELETE"):
            self.check(401, "invalid method for role viewer", token=VIEWER, method=method)

    def test_cookies_of_other_sites(self) -> None:
        """Another site's page cannot use the cookie of a browser."""
        headers = {"Cookie": f"x_api_key={ADMIN}", "Sec-Fetch-Site": "cross-site"}
        self.check(401, "missing apikey", headers=headers)
        self.check(200, headers={**headers, "Sec-Fetch-Site": "same-origin"})
        headers = {"Cookie": f"x_api_key={ADMIN}", "Origin": "http://elsewhere.test"}
        self.check(401, "missing apikey", headers=headers, method="DELETE")

    def test_no_key_needed(self) -> None:
        """A gateway that asks for no key takes every call of this dialect, and of this alone."""
        gateway = ApisixGateway({"keys": StaticKeys(ADMIN, None, "default", required=False)})
        self.assertEqual(gateway.call("GET", PATH, query="", token=None).status, 200)
        self.assertEqual(
            gateway.call("PUT", f"{PATH}/1", {"uri": "/a", "plugins": {}}, query="", token=None).status, 201
        )
        self.assertEqual(gateway.call("GET", PATH, token=None).status, 401)

    def test_open_to_all(self) -> None:
        """OPTIONS and the ping need no key, whatever the path."""
        for method, path in (
            ("OPTIONS", PATH),
            ("OPTIONS", "/apisix/admin/a/b/c"),
            ("HEAD", "/apisix/admin"),
        ):
            reply = self.gateway.call(method, path, query="", token=None)
            self.assertEqual((reply.status, reply.raw), (200, b""), path)
            methods = "POST, GET, PUT, OPTIONS, DELETE, PATCH" if method == "OPTIONS" else None
            self.assertEqual(reply.field("access-control-allow-methods"), methods)
            self.assertEqual(reply.field("access-control-allow-origin"), "*")


class DialectTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.gateway = ApisixGateway()

    def test_group_parameter(self) -> None:
        """With a gateway group the enterprise dialect answers, whatever the key; an empty one is missing."""
        reply = self.gateway.call("GET", PATH, token=ADMIN)
        self.assertEqual((reply.status, reply.json), (200, {"list": [], "total": 0}))
        self.assertIsNone(reply.field("access-control-allow-origin"))
        made = self.gateway.call("PUT", "/apisix/admin/services/s", {"name": "s"}, token=ADMIN)
        self.assertEqual((made.status, set(made.json)), (200, {"value"}))
        for query in ("gateway_group_id=", "gateway_group_id"):
            reply = self.gateway.call("GET", PATH, query=query, token=ADMIN)
            self.assertEqual(reply.status, 400)
            self.assertIn("gateway_group_id", reply.error)

    def test_access_tokens(self) -> None:
        """An access token speaks the enterprise dialect, where a group is needed; so does a bad one."""
        self.assertEqual(self.gateway.call("GET", PATH, query="", token=TOKEN).status, 400)
        reply = self.gateway.call("GET", PATH, query="", token="a7ee-unknown")
        self.assertEqual((reply.status, reply.json), (401, {"error_msg": "unauthorized"}))

    def test_static_keys_elsewhere(self) -> None:
        """A static key opens its own group only, reads only if it is for that, and no control plane."""
        group = self.gateway.call("POST", "/api/gateway_groups", {"name": "other"}).value["id"]
        reply = self.gateway.call("GET", PATH, query={"gateway_group_id": group}, token=ADMIN)
        self.assertEqual(reply.status, 403)
        self.assertEqual(self.gateway.call("GET", PATH, token=VIEWER).status, 200)
        path = "/apisix/admin/services/s"
        self.assertEqual(self.gateway.call("PUT", path, {"name": "s"}, token=VIEWER).status, 403)
        self.assertEqual(self.gateway.call("GET", "/api/tokens", token=ADMIN).status, 401)

    def test_deep_paths(self) -> None:
        """Paths that only the apisix dialect has are not found in the other one."""
        reply = self.gateway.call("PATCH", "/apisix/admin/routes/1/upstream/nodes", {})
        self.assertEqual(reply.status, 404)

    def test_author(self) -> None:
        """History tells which key made a change."""
        self.gateway.put("/routes/1", {"uri": "/a", "upstream": UPSTREAM})
        revisions = self.gateway.call("GET", "/api/revisions").json["list"]
        self.assertEqual(revisions[0]["author"], "apisix-admin")
