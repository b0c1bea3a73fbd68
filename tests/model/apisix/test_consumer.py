"""A consumer and its credentials in the apisix dialect (Admin API contract §5.4)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.model.apisix.consumer import CREDENTIAL, SCHEMA
from gateway.model.schema import Checker


class ConsumerTests(SynchronousTestCase):
    def test_forms(self) -> None:
        """A consumer needs its name; a credential has one plugin at most."""
        for schema, good, bad in (
            (
                SCHEMA,
                [{"username": "a_b-1", "group_id": 1, "plugins": {}}],
                [{}, {"username": "a b"}, {"username": ""}],
            ),
            (CREDENTIAL, [{}, {"plugins": {"a": {}}, "name": "n"}], [{"plugins": {"a": {}, "b": {}}}]),
        ):
            checker = Checker(schema)
            for document in good:
                self.assertEqual(checker.problems(document), [], document)
            for document in bad:
                self.assertTrue(checker.problems(document), document)
