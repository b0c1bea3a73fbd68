from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.model.template import ROUTE, SERVICE, STREAM_ROUTE
from tests.model.shapes import faults


class TemplateTests(SynchronousTestCase):
    def test_shapes(self) -> None:
        """Templates look like what is published from them, without a status (contract §3.7)."""
        self.assertEqual(faults(SERVICE, {"name": "s", "type": "http", "plugins": {}}), [])
        self.assertEqual(faults(SERVICE, {"name": "s", "status": 1}), [("/status", "additionalProperties")])
        self.assertEqual(faults(ROUTE, {"name": "r", "service_id": "s", "paths": ["/"]}), [])
        self.assertEqual(faults(STREAM_ROUTE, {"name": "r", "service_id": "s"}), [])
