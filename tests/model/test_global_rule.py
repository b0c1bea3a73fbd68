from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.model.global_rule import SCHEMA, GlobalRule
from tests.model.shapes import announced, faults


class GlobalRuleTests(SynchronousTestCase):
    def test_schema(self) -> None:
        """A rule is its plugins; no default is announced (contract §3.5)."""
        self.assertEqual(faults(SCHEMA, {"plugins": {"key-auth": {}}}), [])
        self.assertEqual(faults(SCHEMA, {"id": "key-auth", "plugins": {}}), [])
        self.assertEqual(
            faults(SCHEMA, {"name": "x"}), [("/plugins", "required"), ("/name", "additionalProperties")]
        )
        self.assertIsNone(announced(SCHEMA))

    def test_parse(self) -> None:
        """Id and plugins are kept; settings are not in the repr."""
        rule = GlobalRule.parse("p", {"plugins": {"p": {"secret": "hunter2"}}})
        self.assertEqual(rule, GlobalRule("p", {"p": {"secret": "hunter2"}}))
        self.assertNotIn("hunter2", repr(rule))
