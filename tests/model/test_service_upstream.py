from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.model.service_upstream import SCHEMA
from tests.model.shapes import NODE, UPSTREAM_DEFAULTS, announced, faults, refused


class ServiceUpstreamTests(SynchronousTestCase):
    def test_schemes(self) -> None:
        """It may speak whatever its service speaks, HTTP or a stream (contract §3.3)."""
        self.assertEqual(faults(SCHEMA, {"name": "b", "nodes": [NODE]}), [])
        schemes = ["http", "https", "grpc", "grpcs", "tcp", "tls", "udp", "kafka"]
        self.assertEqual(refused(SCHEMA, {}, "scheme", schemes), ["kafka"])

    def test_defaults(self) -> None:
        """It announces the defaults of an upstream (contract §6.4)."""
        self.assertEqual(announced(SCHEMA), UPSTREAM_DEFAULTS)
