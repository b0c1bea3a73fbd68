"""Secret managers of the apisix dialect (Admin API contract §5.6)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.model.apisix.secret import MANAGERS
from gateway.model.schema import Checker


class ManagerTests(SynchronousTestCase):
    def test_forms(self) -> None:
        """Each manager has its own members."""
        account = {"client_email": "a@b", "private_key": "k", "project_id": "p"}
        for manager, document in (
            ("vault", {"uri": "https://a.test:8200", "prefix": "kv", "token": "t", "namespace": "n"}),
            ("aws", {"access_key_id": "a", "secret_access_key": "s", "region": "r"}),
            ("gcp", {"auth_config": account, "ssl_verify": False}),
            ("gcp", {"auth_file": "/f"}),
        ):
            checker = Checker(MANAGERS[manager])
            self.assertEqual(checker.problems(document), [])
            self.assertTrue(checker.problems({**document, "unknown": 1}))
            self.assertTrue(checker.problems({}))
        self.assertTrue(Checker(MANAGERS["gcp"]).problems({"auth_config": account, "auth_file": "/f"}))
