"""An ssl of the apisix dialect (Admin API contract §5.5)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.model.apisix.ssl import SCHEMA
from gateway.model.schema import Checker

PAIR = {"cert": "c" * 128, "key": "k" * 64}


class SslTests(SynchronousTestCase):
    def test_forms(self) -> None:
        """A pair is needed, and names unless it is for upstreams."""
        for schema, good, bad in (
            (
                SCHEMA,
                [
                    {**PAIR, "sni": "*.a.test"},
                    {**PAIR, "snis": ["a.test", "*"], "status": 0, "ssl_protocols": ["TLSv1.3"]},
                    {**PAIR, "type": "client"},
                ],
                [PAIR, {**PAIR, "sni": "a", "snis": ["b"]}, {"sni": "a"}, {**PAIR, "sni": "a", "client": {}}],
            ),
        ):
            checker = Checker(schema)
            for document in good:
                self.assertEqual(checker.problems(document), [], document)
            for document in bad:
                self.assertTrue(checker.problems(document), document)
