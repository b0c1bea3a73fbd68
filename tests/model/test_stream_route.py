from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.model.stream_route import SCHEMA, problems
from tests.model.shapes import announced, faults, refused


class StreamRouteTests(SynchronousTestCase):
    def test_schema(self) -> None:
        """A stream route needs its service; ports are 1 to 65535; no default is announced (contract §3.5)."""
        full = {
            "stream_route_id": "s",
            "name": "n",
            "desc": "",
            "labels": {"a": "b"},
            "service_id": "s",
            "plugins": {},
            "server_addr": "10.0.0.1",
            "server_port": 9100,
            "remote_addr": "10.0.0.0/8",
            "sni": "*.a.test",
        }
        self.assertEqual(faults(SCHEMA, full), [])
        self.assertEqual(faults(SCHEMA, {}), [("/service_id", "required")])
        self.assertEqual(refused(SCHEMA, full, "server_port", [1, 65535, 0, 65536]), [0, 65536])
        self.assertIsNone(announced(SCHEMA))

    def test_addresses(self) -> None:
        """What must be an address is one, or a block of them."""
        self.assertEqual(problems({"server_addr": "::1", "remote_addr": "10.1.2.3/8"}), [])
        found = problems({"server_addr": "localhost", "remote_addr": "10.0.0.0/33"})
        self.assertEqual([p.pointer for p in found], ["/server_addr", "/remote_addr"])
