from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.model.schema import fill_scalars
from gateway.model.token import SCHEMA
from tests.model.shapes import faults, refused


class TokenTests(SynchronousTestCase):
    def test_members(self) -> None:
        """A token has a name of 1 to 256 characters and may expire; 0 is never (contract §3.6)."""
        self.assertEqual(faults(SCHEMA, {}), [("/name", "required")])
        self.assertEqual(refused(SCHEMA, {}, "name", ["ci", "x" * 256, "", "x" * 257]), ["", "x" * 257])
        bad = [-1, 1.5, "0", True, None]
        self.assertEqual(refused(SCHEMA, {"name": "ci"}, "expires_at", [0, 1800000000, *bad]), bad)
        self.assertEqual(fill_scalars(SCHEMA, {"name": "ci"}), {"name": "ci", "expires_at": 0})

    def test_no_secret(self) -> None:
        """Nobody chooses a token's text."""
        self.assertEqual(
            faults(SCHEMA, {"name": "ci", "token": "a7ee-x"}), [("/token", "additionalProperties")]
        )
