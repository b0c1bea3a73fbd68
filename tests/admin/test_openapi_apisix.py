from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.admin.apisix_kinds import APISIX_KINDS
from gateway.admin.openapi_apisix import document


class DocumentTests(SynchronousTestCase):
    def test_every_kind(self) -> None:
        """Every resource of the dialect is described, with the methods it has and no other."""
        paths = document()["paths"]
        for kind in APISIX_KINDS.values():
            base = "/apisix/admin/" + ("consumers/{username}/" if kind.parent else "") + kind.path
            own = base + ("/{manager}/{id}" if kind.name == "secret" else "/{id}")
            self.assertEqual("post" in paths[base], "POST" not in kind.refused, base)
            self.assertEqual("patch" in paths[own], "PATCH" not in kind.refused, own)
            self.assertLessEqual({"get", "put", "delete"}, paths[own].keys())

    def test_whole_configurations(self) -> None:
        """What is about everything at once is described, too."""
        paths = document()["paths"]
        self.assertEqual(set(paths["/apisix/admin/configs"]), {"get", "put"})
        for path in ("configs/validate", "schema/validate/{name}"):
            self.assertEqual(set(paths[f"/apisix/admin/{path}"]), {"post"})
