from __future__ import annotations

from typing import Any

from tests.admin.test_access import ADMIN, PASSWORD, AccessCase


class UserTests(AccessCase):
    def _invite(self, name: str = "jill", **more: Any) -> str:
        reply = self.gateway.call(
            "POST", "/api/invites", {"username": name, "password": "long enough", **more}
        )
        self.assertEqual(reply.status, 200, reply.raw)
        self.assertNotIn(b"scrypt", reply.raw)
        return str(reply.value["id"])

    def test_invited(self) -> None:
        """Who is invited can log in and read; writing needs another role."""
        id = self._invite()
        session = self.cookie(name="jill", password="long enough")
        service = f"{ADMIN}/services/s"
        self.assertEqual(self.call("GET", f"{ADMIN}/services", headers=session).status, 200)
        for method in ("PUT", "PATCH", "DELETE"):
            reply = self.call(method, service, {"name": "s"}, headers=session)
            self.assertEqual((reply.status, reply.error), (403, "the role viewer may read only"))
        self.assertEqual(self.call("POST", "/api/tokens", {"name": "t"}, headers=session).status, 403)
        reply = self.gateway.call("PUT", f"/api/users/{id}/assigned_roles", {"roles": ["super_admin_id"]})
        self.assertEqual((reply.status, reply.value["roles"]), (200, ["super_admin_id"]))
        self.assertEqual(self.call("PUT", service, {"name": "s"}, headers=session).status, 200)
        self.assertEqual(self.gateway.call("GET", "/api/revisions").json["list"][0]["author"], "jill")

    def test_tokens_of_a_user(self) -> None:
        """A token may do what the user who made it may, at any time, and goes with them."""
        id = self._invite()
        self.gateway.call("PUT", f"/api/users/{id}/assigned_roles", {"roles": ["super_admin_id"]})
        session = self.cookie(name="jill", password="long enough")
        token = self.call("POST", "/api/tokens", {"name": "t"}, headers=session).value["token"]
        put = ("PUT", f"{ADMIN}/services/s", {"name": "s"})
        self.assertEqual(self.gateway.call(*put, token=token).status, 200)
        self.gateway.call("PUT", f"/api/users/{id}/assigned_roles", {"roles": ["viewer_id"]})
        self.assertEqual(self.gateway.call(*put, token=token).status, 403)
        self.assertEqual(self.gateway.call("DELETE", f"/api/users/{id}").json, {})
        self.assertEqual(self.gateway.call("GET", "/api/version", token=token).status, 401)
        self.assertEqual(self.call("GET", "/api/version", headers=session).status, 401)
        self.assertEqual(self.gateway.call("GET", "/api/tokens").json["total"], 1)

    def test_lists(self) -> None:
        """Users are listed, also by role, without anything of their passwords."""
        id = self._invite()
        listed = self.gateway.call("GET", "/api/users")
        self.assertEqual({u["username"] for u in listed.json["list"]}, {"admin", "jill"})
        self.assertNotIn(b"scrypt", listed.raw)
        viewers = self.gateway.call("GET", "/api/users", query="roles=viewer_id").json
        self.assertEqual([u["id"] for u in viewers["list"]], [id])
        one = self.gateway.call("GET", f"/api/users/{id}").value
        self.assertEqual((one["username"], one["roles"], "hash" in one), ("jill", ["viewer_id"], False))
        roles = self.gateway.call("GET", "/api/roles").json["list"]
        self.assertEqual([role["id"] for role in roles], ["super_admin_id", "viewer_id"])

    def test_refused(self) -> None:
        """Names are unique, passwords long, roles known; a refusal repeats no password."""
        self._invite()
        for body, words in (
            ({"username": "jill", "password": "long enough"}, "username is already in use"),
            ({"username": "jack", "password": "hunter2"}, 'Error at "/password": minimum string length is 8'),
            ({"username": "a:b", "password": "long enough"}, "regular expression"),
            ({"username": "jack", "password": ["hunter2"]}, "must be a string"),
        ):
            reply = self.gateway.call("POST", "/api/invites", body)
            self.assertEqual(reply.status, 400)
            self.assertIn(words, reply.error)
            self.assertNotIn(b"hunter2", reply.raw)
        reply = self.gateway.call("PUT", "/api/users/none/assigned_roles", {"roles": []})
        self.assertEqual(reply.status, 404)
        reply = self.gateway.call("PUT", "/api/users/admin/assigned_roles", {"roles": ["root"]})
        self.assertEqual(reply.status, 400)

    def test_the_last_admin(self) -> None:
        """Nobody can be left without somebody who may do everything."""
        words = "this is the last user who may do everything"
        reply = self.gateway.call("DELETE", "/api/users/admin")
        self.assertEqual((reply.status, reply.error), (400, words))
        reply = self.gateway.call("PUT", "/api/users/admin/assigned_roles", {"roles": ["viewer_id"]})
        self.assertEqual((reply.status, reply.error), (400, words))
        id = self._invite()
        self.gateway.call("PUT", f"/api/users/{id}/assigned_roles", {"roles": ["super_admin_id"]})
        self.assertEqual(self.gateway.call("DELETE", "/api/users/admin").status, 200)

    def test_password(self) -> None:
        """A password is changed by who knows the old one; a key has none."""
        headers = self.cookie()
        body = {"old_password": "wrong", "new_password": "battery staple"}
        reply = self.call("PUT", "/api/password", body, headers=headers)
        self.assertEqual((reply.status, reply.error), (400, "the old password is wrong"))
        body["old_password"] = PASSWORD
        self.assertEqual(self.gateway.call("PUT", "/api/password", body).status, 400)
        self.assertEqual(self.call("PUT", "/api/password", body, headers=headers).status, 200)
        self.assertEqual(self.log_in(password="battery staple").status, 200)

    def test_methods(self) -> None:
        """Other methods are refused."""
        for path in ("/api/invites", "/api/logout", "/api/password", "/api/users/admin/assigned_roles"):
            self.assertEqual(self.gateway.call("GET", path).status, 405, path)
        for path in ("/api/users", "/api/users/admin", "/api/roles"):
            self.assertEqual(self.gateway.call("PATCH", path, {}).status, 405, path)
