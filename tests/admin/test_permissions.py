"""What a call asks for, and which statements cover it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.admin.permissions import Statement, Wish, wish_of
from gateway.admin.principal import Principal
from gateway.admin.refusals import Denied
from gateway.model.user import VIEWER

GROUP = "arn:api7:gateway:gatewaygroup/g"


def statement(actions: str, resources: str, *, allows: bool = True) -> Statement:
    return Statement(allows, tuple(actions.split()), tuple(resources.split()))


class WishTests(SynchronousTestCase):
    def test_names(self) -> None:
        """Every call has one name, whatever way its path is written."""
        for method, path, action, resource in (
            ("GET", "/apisix/admin/routes", "gateway:GetRoute", f"{GROUP}/route/*"),
            ("HEAD", "/apisix/admin/routes/r/", "gateway:GetRoute", f"{GROUP}/route/r"),
            ("PUT", "/apisix/admin/%72outes/%72", "gateway:UpdateRoute", f"{GROUP}/route/r"),
            ("PATCH", "/apisix/admin/services/s", "gateway:UpdateService", f"{GROUP}/service/s"),
            (
                "DELETE",
                "/apisix/admin/services/s/upstreams/u",
                "gateway:DeleteUpstream",
                f"{GROUP}/service/s/upstream/u",
            ),
            (
                "POST",
                "/apisix/admin/consumers/c/credentials",
                "gateway:CreateCredential",
                f"{GROUP}/consumer/c/credential/*",
            ),
            (
                "PUT",
                "/apisix/admin/secrets/vault/1",
                "gateway:UpdateSecretProvider",
                f"{GROUP}/secretprovider/vault/1",
            ),
            ("POST", "/api/gateway_groups", "gateway:CreateGatewayGroup", "arn:api7:gateway:gatewaygroup/*"),
            ("POST", "/api/gateway_groups/g/instance_token", "gateway:UpdateGatewayGroup", GROUP),
            ("DELETE", "/api/gateway_groups/g/services/s", "gateway:DeleteService", f"{GROUP}/service/s"),
            ("POST", "/api/services/publish", "gateway:PublishService", "arn:api7:gateway:gatewaygroup/*"),
            (
                "PUT",
                "/api/routes/template/t",
                "gateway:UpdateServiceTemplate",
                "arn:api7:gateway:servicetemplate/t",
            ),
            ("PUT", "/api/users/u/assigned_roles", "iam:UpdateUser", "arn:api7:iam:user/u"),
            ("POST", "/api/invites", "iam:CreateUser", "arn:api7:iam:user/*"),
            ("GET", "/api/revisions", "iam:GetOrganization", "arn:api7:iam:organization/revisions"),
            ("POST", "/api/explain", "iam:GetOrganization", "arn:api7:iam:organization/explain"),
        ):
            self.assertEqual(wish_of(method, path, "g"), Wish(action, resource), path)

    def test_free(self) -> None:
        """What clients ask before anything else takes no more than a role."""
        for method, path in (
            ("GET", "/api/version"),
            ("GET", "/api/schema/core"),
            ("GET", "/api/gateway_groups"),
            ("GET", "/apisix/admin/plugins/list"),
            ("POST", "/apisix/admin/configs/validate"),
        ):
            wish = wish_of(method, path, None)
            assert wish is not None
            self.assertTrue(wish.is_free, path)

    def test_without_a_name(self) -> None:
        """What nobody knows is named by nothing, so no statement can cover it."""
        for method, path in (
            ("GET", "/apisix/admin"),
            ("GET", "/apisix/admin/upstream"),
            ("GET", "/apisix/admin//routes"),
            ("GET", "/apisix/admin/services/s/routes"),
            ("GET", "/apisix/admin/routes%2Fr"),
            ("TRACE", "/apisix/admin/routes"),
            ("GET", "/api"),
            ("GET", "/status"),
        ):
            self.assertIsNone(wish_of(method, path, "g"), path)


class StatementTests(SynchronousTestCase):
    def test_patterns(self) -> None:
        """``*`` and ``<.*>`` stand for any text, everything else for itself."""
        wish = Wish("gateway:GetRoute", f"{GROUP}/route/r.1")
        for actions, resources, covers in (
            ("gateway:GetRoute", f"{GROUP}/route/r.1", True),
            ("gateway:*", f"{GROUP}/*", True),
            ("<.*>", "<.*>", True),
            ("iam:GetUser *Route", "arn:*/r.1", True),
            ("gateway:GetRoute", f"{GROUP}/route/r?1", False),
            ("gateway:GetRout", "*", False),
            ("*", "arn:api7:gateway:gatewaygroup/other/*", False),
            ("gateway:getroute", "*", False),
        ):
            self.assertEqual(statement(actions, resources).covers(wish), covers, (actions, resources))

    def test_deny_wins(self) -> None:
        """What one statement denies no other allows, nor does the role that reads everything."""
        editor = statement("gateway:*", f"{GROUP}/*")
        no_secrets = statement("gateway:GetCredential", "*", allows=False)
        for roles in (frozenset({"r"}), frozenset({"r", VIEWER})):
            someone = Principal("p", roles, "u", statements=(editor, no_secrets))
            someone.check("PUT", "/apisix/admin/routes/r", "g")
            path = "/apisix/admin/consumers/c/credentials"
            self.assertRaises(Denied, someone.check, "GET", path, "g")
            self.assertRaises(Denied, someone.check, "PUT", "/apisix/admin/routes/r", "other")
            self.assertRaises(Denied, someone.check, "POST", "/api/tokens", None)
