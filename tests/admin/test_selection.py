"""Which dialect answers (Admin API contract §7.1)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.admin.calls import Query
from gateway.admin.selection import APISIX, ENTERPRISE, dialect_of


class DialectTests(SynchronousTestCase):
    def test_table(self) -> None:
        """The path, the group parameter and the kind of credential decide, in this order."""
        for path, query, known, dialect in (
            ("/api/tokens", b"", False, ENTERPRISE),
            ("/status", b"", False, ENTERPRISE),
            ("/apisix/administrator", b"", False, ENTERPRISE),
            ("/apisix/admin/routes", b"gateway_group_id=default", False, ENTERPRISE),
            ("/apisix/admin/routes", b"gateway_group_id=", False, ENTERPRISE),
            ("/apisix/admin/routes", b"gateway_group_id", False, ENTERPRISE),
            ("/apisix/admin/routes", b"a=b", True, ENTERPRISE),
            ("/apisix/admin/routes", b"a=b", False, APISIX),
            ("/apisix/admin", b"", False, APISIX),
            ("/apisix/admin/configs", b"", False, APISIX),
        ):
            self.assertEqual(dialect_of(path, Query.parse(query), known), dialect, (path, query, known))
