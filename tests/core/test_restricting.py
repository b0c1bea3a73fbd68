"""Tests for gateway.core.restricting."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.core import restricting
from gateway.model.schema import Checker


class RestrictingTests(SynchronousTestCase):
    def test_refusals(self) -> None:
        """Both answers say the message; who says nothing is let in where the settings have it so."""
        missing, denied = restricting.refusals({"message": "no", "bypass_missing": False}, "m", "d")
        assert missing is not None
        self.assertEqual((missing.status, missing.body, missing.reason), (403, b'{"message":"no"}\n', "m"))
        self.assertEqual((denied.status, denied.body, denied.reason), (403, b'{"message":"no"}\n', "d"))
        missing, denied = restricting.refusals({"message": "no", "bypass_missing": True}, "m", "d")
        self.assertIsNone(missing)

    def test_schemas(self) -> None:
        """A list is not empty, and a message has a length."""
        for schema, good, bad in (
            (restricting.list_schema({"type": "string"}, "Some."), ["a"], []),
            (restricting.message_schema("no"), "x" * 1024, "x" * 1025),
            (restricting.bypass_schema("Let in."), True, "yes"),
        ):
            self.assertEqual(Checker(schema).problems(good), [])
            self.assertEqual(len(Checker(schema).problems(bad)), 1)
