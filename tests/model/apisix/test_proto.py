"""A proto of the apisix dialect (Admin API contract §5.6)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.model.apisix.proto import SCHEMA
from gateway.model.schema import Checker


class ProtoTests(SynchronousTestCase):
    def test_forms(self) -> None:
        """It needs its content, of up to one mebibyte."""
        for schema, good, bad in (
            (SCHEMA, [{"content": "a" * 2**20}], [{}, {"content": ""}, {"content": "a" * (2**20 + 1)}]),
        ):
            checker = Checker(schema)
            for document in good:
                self.assertEqual(checker.problems(document), [], document)
            for document in bad:
                self.assertTrue(checker.problems(document), document)
