"""Global rules, plugin configs and consumer groups (Admin API contract §5.6)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.model.apisix.plugin_sets import CONSUMER_GROUP, GLOBAL_RULE, PLUGIN_CONFIG
from gateway.model.schema import Checker


class PluginSetTests(SynchronousTestCase):
    def test_forms(self) -> None:
        """Each needs its plugins; a rule has no name."""
        for schema, good, bad in (
            (GLOBAL_RULE, [{"plugins": {}}], [{}, {"plugins": {}, "name": "a"}]),
            (PLUGIN_CONFIG, [{"plugins": {}, "name": "a" * 1000}], [{}, {"plugins": []}]),
            (
                CONSUMER_GROUP,
                [{"plugins": {}, "labels": {"a": "b"}}],
                [{}, {"plugins": {}, "name": "a" * 257}],
            ),
        ):
            checker = Checker(schema)
            for document in good:
                self.assertEqual(checker.problems(document), [], document)
            for document in bad:
                self.assertTrue(checker.problems(document), document)
