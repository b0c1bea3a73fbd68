"""A stream route of the apisix dialect (Admin API contract §5.7)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.model.apisix.stream_route import SCHEMA
from gateway.model.schema import Checker


class StreamRouteTests(SynchronousTestCase):
    def test_forms(self) -> None:
        """Nothing is needed; a protocol needs its name."""
        for schema, good, bad in (
            (
                SCHEMA,
                [
                    {},
                    {
                        "server_port": 9100,
                        "remote_addr": "::1/64",
                        "protocol": {"name": "redis", "superior_id": 1},
                    },
                ],
                [{"server_port": 0}, {"protocol": {}}, {"remote_addr": "a"}, {"uri": "/"}],
            ),
        ):
            checker = Checker(schema)
            for document in good:
                self.assertEqual(checker.problems(document), [], document)
            for document in bad:
                self.assertTrue(checker.problems(document), document)
