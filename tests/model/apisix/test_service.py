"""A service of the apisix dialect (Admin API contract §5.2)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.model.apisix.service import SCHEMA
from gateway.model.schema import Checker


class ServiceTests(SynchronousTestCase):
    def test_forms(self) -> None:
        """Nothing is needed, and what the enterprise dialect has is unknown."""
        for schema, good, bad in (
            (
                SCHEMA,
                [{}, {"upstream_id": 1, "hosts": ["*.a.test"], "enable_websocket": True}],
                [{"path_prefix": "/"}, {"status": 1}, {"type": "http"}, {"hosts": []}],
            ),
        ):
            checker = Checker(schema)
            for document in good:
                self.assertEqual(checker.problems(document), [], document)
            for document in bad:
                self.assertTrue(checker.problems(document), document)
