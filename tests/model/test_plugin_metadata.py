from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.model.plugin_metadata import SCHEMA
from tests.model.shapes import announced, faults


class PluginMetadataTests(SynchronousTestCase):
    def test_any_object(self) -> None:
        """Metadata is any object here; no default is announced (contract §6.4)."""
        self.assertEqual(faults(SCHEMA, {"log_format": {"host": "$host"}}), [])
        self.assertEqual(faults(SCHEMA, []), [("", "type")])
        self.assertIsNone(announced(SCHEMA))
