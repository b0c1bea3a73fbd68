from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.model.user import ASSIGNED_ROLES, NEW_PASSWORD, SCHEMA
from tests.model.shapes import faults


class UserTests(SynchronousTestCase):
    def test_shapes(self) -> None:
        """Names have no colon, new passwords at least eight characters, roles are those there are."""
        self.assertEqual(faults(SCHEMA, {"username": "jill@a.test", "password": "x" * 8}), [])
        self.assertEqual(
            faults(SCHEMA, {"username": "a:b", "password": "x" * 7}),
            [("/username", "pattern"), ("/password", "minLength")],
        )
        self.assertEqual(faults(NEW_PASSWORD, {"old_password": "a", "new_password": "x" * 8}), [])
        self.assertEqual(faults(ASSIGNED_ROLES, {"roles": ["super_admin_id"]}), [])
        self.assertEqual(faults(ASSIGNED_ROLES, {"roles": ["no id"]}), [("/roles/0", "pattern")])
