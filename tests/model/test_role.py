"""The shapes of roles and permission policies."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.model.role import ATTACHED, POLICY, ROLE
from gateway.model.schema import fill_scalars
from tests.model.shapes import faults

STATEMENT = {"actions": ["gateway:*", "<.*>"], "resources": ["arn:api7:gateway:gatewaygroup/default/*"]}


class RoleTests(SynchronousTestCase):
    def test_shapes(self) -> None:
        """A policy has statements, a role policies; patterns have no signs but for any text."""
        self.assertEqual(faults(POLICY, {"name": "p", "statement": [STATEMENT]}), [])
        for actions, rule in ((["<[ab]>"], "pattern"), ([], "minItems"), ([""], "minLength"), ([1], "type")):
            found = faults(POLICY, {"name": "p", "statement": [{**STATEMENT, "actions": actions}]})
            self.assertIn(rule, [each for _, each in found])
        self.assertEqual(faults(POLICY, {"name": "p", "statement": []}), [("/statement", "minItems")])
        self.assertEqual(faults(ROLE, {"name": "r", "permission_policies": ["a", "b"]}), [])
        self.assertEqual(faults(ROLE, {}), [("/name", "required")])
        self.assertEqual(
            faults(ATTACHED, {"permission_policies": ["a", "a"]}), [("/permission_policies", "uniqueItems")]
        )

    def test_effect(self) -> None:
        """A statement allows unless it says otherwise."""
        filled = fill_scalars(POLICY, {"name": "p", "statement": [STATEMENT]})
        self.assertEqual(filled["statement"][0]["effect"], "allow")
