"""Tests for gateway.core.secrets."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.core.secrets import ManagedSecret, UnresolvedReference, managed_references, resolve

ENV = {
    "PLAIN": "s3cret",
    "EMPTY": "",
    "JSON": '{"jwt": {"deep": 1}, "secret": "from-json", "a/b": "slash", "empty": "", "n": 7}',
    "LIST": '["x"]',
    "INDIRECT": "$env://PLAIN",
}


class ResolveTests(SynchronousTestCase):
    def test_whole_variable(self) -> None:
        """A reference gives way to the variable's value; the prefix is matched in any letter case."""
        for prefix in ("$env://", "$ENV://", "$Env://"):
            self.assertEqual(resolve({"secret": f"{prefix}PLAIN"}, ENV), {"secret": "s3cret"})

    def test_json_member(self) -> None:
        """A second part picks a member of a variable that holds a JSON object."""
        self.assertEqual(
            resolve({"a": "$env://JSON/secret", "b": "$env://JSON/a/b"}, ENV),
            {"a": "from-json", "b": "slash"},
        )

    def test_nested(self) -> None:
        """Objects and arrays are walked; everything else stays, and the original is untouched."""
        config = {
            "a": [{"b": "$env://PLAIN"}, 1, None],
            "c": {"d": True, "e": "plain $env://PLAIN"},
            "f": 1.5,
        }
        before = repr(config)
        self.assertEqual(
            resolve(config, ENV),
            {"a": [{"b": "s3cret"}, 1, None], "c": {"d": True, "e": "plain $env://PLAIN"}, "f": 1.5},
        )
        self.assertEqual(repr(config), before)

    def test_unresolved(self) -> None:
        """What leads nowhere is an error that names the reference, never a literal value."""
        for reference in (
            "$env://MISSING",
            "$env://plain",
            "$env://",
            "$env:///secret",
            "$env://EMPTY",
            "$env://JSON/none",
            "$env://JSON/",
            "$env://JSON/jwt",
            "$env://JSON/n",
            "$env://JSON/empty",
            "$env://PLAIN/secret",
            "$env://LIST/0",
            "$secret://vault/1/jack/key",
            "$SECRET://vault/1/jack/key",
        ):
            error = self.assertRaises(UnresolvedReference, resolve, {"x": [{"key": reference}]}, ENV)
            self.assertIsInstance(error, ValueError)
            self.assertIn(reference, str(error))

    def test_no_value_in_the_error(self) -> None:
        """The error never shows a value of the environment, not even as its cause."""
        error = self.assertRaises(UnresolvedReference, resolve, {"x": "$env://PLAIN/member"}, ENV)
        self.assertNotIn("s3cret", str(error))
        self.assertIsNone(error.__cause__)
        self.assertTrue(error.__suppress_context__)

    def test_once(self) -> None:
        """A value that looks like a reference itself is not followed."""
        self.assertEqual(resolve({"x": "$env://INDIRECT"}, ENV), {"x": "$env://PLAIN"})


class ManagedTests(SynchronousTestCase):
    def test_parts(self) -> None:
        """A reference names a manager, the id of its settings, and a path; in any letter case."""
        secret = ManagedSecret.parse("$Secret://vault/1/team/jack/key")
        self.assertEqual(
            (secret.manager, secret.provider, secret.path), ("vault", "vault/1", "team/jack/key")
        )
        for bad in (
            "$secret://",
            "$secret://vault",
            "$secret://vault/1",
            "$secret://vault/1/",
            "$secret:///1/a",
        ):
            self.assertRaises(UnresolvedReference, ManagedSecret.parse, bad)

    def test_found(self) -> None:
        """References are found wherever they stand, but not inside a longer text."""
        value = {
            "a": ["$secret://v/1/a", {"b": "$SECRET://v/1/b"}],
            "c": "x $secret://v/1/c",
            "d": 1,
            "e": None,
        }
        self.assertEqual(sorted(managed_references(value)), ["$SECRET://v/1/b", "$secret://v/1/a"])
        self.assertEqual(managed_references(None), [])

    def test_resolved(self) -> None:
        """What somebody knows stands in the place of the reference, and is not looked at again."""
        known = {"$secret://v/1/a": "$env://PLAIN"}
        got = resolve({"x": ["$secret://v/1/a", "$env://PLAIN"]}, ENV, known.__getitem__)
        self.assertEqual(got, {"x": ["$env://PLAIN", "s3cret"]})
