"""Roles that people make, and what those who have them may do."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.admin.kit import GUIDE, Gateway, Reply

STATEMENT = {
    "actions": ["gateway:*Route", "gateway:GetService"],
    "resources": ["arn:api7:gateway:gatewaygroup/default/*"],
}


class RoleTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.gateway = Gateway()
        self.gateway.seed()
        boss = self.made("/api/invites", username="boss", password="long enough")
        self.gateway.call("PUT", f"/api/users/{boss}/assigned_roles", {"roles": ["super_admin_id"]})

    def made(self, path: str, **document: Any) -> str:
        reply = self.gateway.call("POST", path, document)
        self.assertEqual(reply.status, 200, reply.raw)
        return str(reply.value["id"])

    def user(self, *roles: str) -> str:
        """A user with these roles; a token of theirs."""
        id = self.made("/api/invites", username="jane", password="long enough")
        reply = self.gateway.call("PUT", f"/api/users/{id}/assigned_roles", {"roles": ["super_admin_id"]})
        basic = {"Authorization": "Basic amFuZTpsb25nIGVub3VnaA=="}
        made = self.gateway.call("POST", "/api/tokens", {"name": "t"}, token=None, headers=basic)
        token = str(made.value["token"])
        reply = self.gateway.call("PUT", f"/api/users/{id}/assigned_roles", {"roles": list(roles)})
        self.assertEqual(reply.status, 200, reply.raw)
        return token

    def ask(self, token: str, method: str, path: str, body: object = None) -> Reply:
        return self.gateway.call(method, path, body, token=token)

    def test_what_a_role_allows(self) -> None:
        """A policy is attached to a role, a role is assigned, and from then on it counts, at once."""
        policy = self.made("/api/permission_policies", name="routes", statement=[STATEMENT])
        role = self.made("/api/roles", name="Route editor", permission_policies=[policy])
        token = self.user(role)
        (service, _), (route, body) = GUIDE[:2]
        self.assertEqual(self.ask(token, "PUT", route, body).status, 200)
        self.assertEqual(self.ask(token, "GET", service).status, 200)
        self.assertEqual(self.ask(token, "GET", "/api/gateway_groups").status, 200)
        for method, path in (("DELETE", service), ("GET", "/api/users"), ("POST", "/api/roles")):
            reply = self.ask(token, method, path, {} if method == "POST" else None)
            self.assertEqual((reply.status, reply.error), (403, "you have no role that allows this"))
        deny = {**STATEMENT, "effect": "deny", "actions": ["gateway:DeleteRoute"]}
        changed = {"name": "routes", "statement": [STATEMENT, deny]}
        self.gateway.call("PUT", f"/api/permission_policies/{policy}", changed)
        reply = self.ask(token, "DELETE", route)
        text = (
            "a permission policy denies gateway:DeleteRoute on arn:api7:gateway:gatewaygroup/default/route/"
        )
        self.assertEqual((reply.status, reply.error.startswith(text)), (403, True))
        # Without its policy the role says nothing.
        reply = self.gateway.call(
            "PUT", f"/api/roles/{role}/permission_policies", {"permission_policies": []}
        )
        self.assertEqual((reply.status, reply.value["permission_policies"]), (200, []))
        self.assertEqual(self.ask(token, "GET", service).status, 403)

    def test_lists(self) -> None:
        """The built-in roles are in the list, before the others, and cannot be changed."""
        policy = self.made("/api/permission_policies", name="p", statement=[STATEMENT])
        role = self.made("/api/roles", name="R", permission_policies=[policy])
        listed = self.gateway.call("GET", "/api/roles").json
        self.assertEqual([one["id"] for one in listed["list"]], ["super_admin_id", "viewer_id", role])
        self.assertEqual(listed["total"], 3)
        self.assertEqual(self.gateway.call("GET", "/api/roles/viewer_id").value["name"], "Viewer")
        self.assertEqual(self.gateway.call("DELETE", "/api/roles/viewer_id").status, 400)
        attached = self.gateway.call("GET", f"/api/roles/{role}/permission_policies").json
        self.assertEqual([one["name"] for one in attached["list"]], ["p"])
        shown = self.gateway.call("GET", f"/api/permission_policies/{policy}").value
        self.assertEqual(shown["statement"], [{**STATEMENT, "effect": "allow"}])

    def test_in_use(self) -> None:
        """A policy that a role has stays, and so does a role that somebody has."""
        policy = self.made("/api/permission_policies", name="p", statement=[STATEMENT])
        role = self.made("/api/roles", name="R", permission_policies=[policy])
        self.user(role)
        for path, words in (
            (f"/api/permission_policies/{policy}", f"the role {role} has this policy"),
            (f"/api/roles/{role}", "the user jane has this role"),
        ):
            reply = self.gateway.call("DELETE", path)
            self.assertEqual((reply.status, reply.error), (400, words))
        users = self.gateway.call("GET", "/api/users?roles=" + role).json["list"]
        self.gateway.call("DELETE", f"/api/users/{users[0]['id']}")
        for path in (f"/api/roles/{role}", f"/api/permission_policies/{policy}"):
            self.assertEqual(self.gateway.call("DELETE", path).json, {})
            self.assertEqual(self.gateway.call("GET", path).status, 404)

    def test_refused(self) -> None:
        """What is malformed, or refers to what is not there, is 400 and names its place."""
        for path, document, pointer in (
            ("/api/roles", {}, "/name"),
            ("/api/roles", {"name": "r", "permission_policies": ["none"]}, "/permission_policies/0"),
            ("/api/permission_policies", {"name": "p"}, "/statement"),
            (
                "/api/permission_policies",
                {"name": "p", "statement": [{**STATEMENT, "actions": ["<[a-z]+>"]}]},
                "/statement/0/actions/0",
            ),
            (
                "/api/permission_policies",
                {"name": "p", "statement": [{**STATEMENT, "effect": "maybe"}]},
                "/statement/0/effect",
            ),
        ):
            reply = self.gateway.call("POST", path, document)
            self.assertEqual((reply.status, reply.json["errors"][0]["pointer"]), (400, pointer), reply.raw)
        reply = self.gateway.call("PUT", "/api/users/admin/assigned_roles", {"roles": ["none"]})
        self.assertEqual(reply.status, 404)
        for path in ("/api/roles/none", "/api/permission_policies/none"):
            self.assertEqual(
                self.gateway.call("PUT", path, {"name": "x", "statement": [STATEMENT]}).status // 100, 4
            )
