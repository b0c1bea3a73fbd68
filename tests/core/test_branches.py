from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.core.branches import expand
from gateway.model.schema import Checker

NODES = {
    "anyOf": [
        {"type": "array", "items": {"type": "object", "required": ["host"]}},
        {"type": "object", "additionalProperties": {"type": "integer"}},
    ],
    "items": {"type": "object", "required": ["host"]},
}
KEYS = {
    "oneOf": [
        {"properties": {"alg": {"enum": ["HS"]}, "secret": {"minLength": 3}}, "required": ["secret"]},
        {"properties": {"alg": {"enum": ["RS"]}}, "required": ["public", "size"]},
    ]
}


class ExpandTests(SynchronousTestCase):
    def _told(self, schema: object, document: object) -> list[tuple[str, str]]:
        return [(p.pointer, p.rule) for p in expand(Checker(schema).problems(document))]  # type: ignore[arg-type]

    def test_the_alternative_meant(self) -> None:
        """Of several alternatives, the one of the value's type is explained, and once."""
        self.assertEqual(self._told(NODES, [{"host": 1}, {}]), [("/1/host", "required")])
        self.assertEqual(self._told(NODES, {"a": "x"}), [("/a", "type")])

    def test_no_alternative(self) -> None:
        """A value of none of the types is told about all of them."""
        self.assertEqual(self._told(NODES, "x"), [("", "anyOf")])

    def test_discriminator(self) -> None:
        """A member that names the alternative decides which is meant."""
        self.assertEqual(self._told(KEYS, {"alg": "RS"}), [("/public", "required"), ("/size", "required")])

    def test_what_is_missing_least(self) -> None:
        """Where alternatives differ in what they need, the one that misses least is explained."""
        schema = {"oneOf": [{"required": ["a", "b"]}, {"required": ["c", "b"]}]}
        self.assertEqual(self._told(schema, {"a": 1}), [("/b", "required")])
        self.assertEqual(self._told(schema, {}), [("", "oneOf")])
