"""Field types of the apisix dialect."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.model.apisix import fields
from gateway.model.schema import Checker


class FieldTests(SynchronousTestCase):
    def test_addresses(self) -> None:
        """Addresses and blocks of both families are taken, and hardly anything else."""
        checker = Checker(fields.address)
        good = "127.0.0.1 0.0.0.0/0 10.1.2.3/32 ::1 :: fe80::1 2001:db8::/32 ::ffff:1.2.3.4 ::1/128"
        for text in good.split():
            self.assertEqual(checker.problems(text), [], text)
        for text in ("", "1.2.3", "256.0.0.1", "1.2.3.4/33", "::1/129", "a.test", "1.2.3.4 ", "::1\n"):
            self.assertTrue(checker.problems(text), text)

    def test_hosts(self) -> None:
        """A host may start with a star, be one, and carry a port."""
        checker = Checker(fields.host)
        for text in ("*", "*.a.test", "a.test", "a.test:80", "[::1]:80"):
            self.assertEqual(checker.problems(text), [], text)
        for text in ("a.*.test", "a b", "a/b", ""):
            self.assertTrue(checker.problems(text), text)

    def test_resource(self) -> None:
        """A stored document has its id and its times, and no members nobody knows."""
        schema = fields.resource({"a": fields.name}, ("a",))
        document = {"id": 1, "a": "b", "create_time": 1, "update_time": 2}
        self.assertEqual(Checker(schema).problems(document), [])
        self.assertTrue(Checker(schema).problems({**document, "b": 1}))
