from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.admin.principal import GATEWAY, Principal
from gateway.admin.refusals import Denied
from gateway.model.user import SUPER_ADMIN, VIEWER

ROUTE = "/apisix/admin/routes/r"


class PrincipalTests(SynchronousTestCase):
    def _may(self, principal: Principal, *calls: str) -> list[str]:
        allowed = []
        for call in calls:
            try:
                principal.check(*call.split(" "))
            except Denied:
                continue
            allowed.append(call)
        return allowed

    def test_viewer(self) -> None:
        """A viewer reads, asks what would happen, and changes their own password; nothing else."""
        viewer = Principal("v", frozenset({VIEWER}), "v")
        fine = (
            f"GET {ROUTE}",
            f"HEAD {ROUTE}",
            "POST /api/explain",
            "PUT /api/password",
            "POST /api/logout",
            "POST /apisix/admin/configs/validate",
        )
        bad = (
            f"PUT {ROUTE}",
            f"DELETE {ROUTE}",
            f"PATCH {ROUTE}",
            "POST /api/tokens",
            "PUT /api/users/v/assigned_roles",
            "PUT /api/gateway_groups/default/admin_key",
            "POST /api/explainer",
        )
        self.assertEqual(self._may(viewer, *fine, *bad), list(fine))

    def test_nobody(self) -> None:
        """Without a role there is nothing but one's own password."""
        nobody = Principal("n", frozenset(), "n")
        self.assertEqual(self._may(nobody, f"GET {ROUTE}", "PUT /api/password"), ["PUT /api/password"])

    def test_admin(self) -> None:
        """A super admin, and the gateway itself, may do everything."""
        calls = (f"DELETE {ROUTE}", "POST /api/tokens", "DELETE /api/users/x")
        self.assertEqual(self._may(Principal("a", frozenset({SUPER_ADMIN})), *calls), list(calls))
        self.assertTrue(GATEWAY.is_admin)

    def test_key_of_a_group(self) -> None:
        """The key of a group reaches resources, and reads what clients ask first; nothing else."""
        key = Principal("k", frozenset({SUPER_ADMIN}), group="g")
        fine = (f"PUT {ROUTE}", "GET /api/version", "GET /api/gateway_groups", "GET /api/schema/core")
        bad = (
            "POST /api/gateway_groups",
            "GET /api/users",
            "POST /api/tokens",
            "GET /api/revisions",
            "GET /api/explain",
            "GET /%61pi/users",
            "PUT /api/gateway_groups/g/admin_key",
        )
        self.assertEqual(self._may(key, *fine, *bad), list(fine))
        self.assertFalse(key.is_admin)
