from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.model.consumer import SCHEMA, Consumer
from gateway.model.schema import fill_scalars
from tests.model.shapes import announced, faults


class SchemaTests(SynchronousTestCase):
    def test_members(self) -> None:
        """A consumer has a username; plugins, labels and a description may follow (contract §3.5)."""
        self.assertEqual(faults(SCHEMA, {"username": "jwt-auth-consumer"}), [])
        full = {"username": "j", "desc": "", "labels": {"a": "b"}, "plugins": {"key-auth": {"key": "k"}}}
        self.assertEqual(faults(SCHEMA, full), [])
        self.assertEqual(faults(SCHEMA, {}), [("/username", "required")])

    def test_bad(self) -> None:
        """A username cannot hold what would take a path or a field apart; other members are unknown."""
        for name in ("", "a/b", "a.b", "jack\n", "$env://a/b", "x" * 513, 1):
            self.assertNotEqual(faults(SCHEMA, {"username": name}), [], name)
        for member in ("id", "group_id", "name", "custom_id"):
            self.assertEqual(
                faults(SCHEMA, {"username": "j", member: "x"}), [(f"/{member}", "additionalProperties")]
            )

    def test_no_defaults(self) -> None:
        """No default is announced or stored."""
        self.assertIsNone(announced(SCHEMA))
        self.assertEqual(fill_scalars(SCHEMA, {"username": "j"}), {"username": "j"})


class ParseTests(SynchronousTestCase):
    def test_parse(self) -> None:
        """The id is the username; everything else may be absent."""
        self.assertEqual(Consumer.parse("jack", {"username": "jack"}), Consumer("jack", {}, {}, None))
        document = {"username": "jack", "plugins": {"p": {}}, "labels": {"a": "b"}, "group_id": "g"}
        self.assertEqual(Consumer.parse("jack", document), Consumer("jack", {"p": {}}, {"a": "b"}, "g"))

    def test_no_settings_in_repr(self) -> None:
        """A key kept on the consumer is not in its repr."""
        self.assertNotIn("hunter2", repr(Consumer("jack", {"key-auth": {"key": "hunter2"}}, {})))
