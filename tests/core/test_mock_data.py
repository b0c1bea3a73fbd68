"""Tests for gateway.core.mock_data."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import jsonschema
from twisted.trial.unittest import SynchronousTestCase

from gateway.core.mock_data import MAX_VALUES, Generator, to_xml


def made(schema: Any) -> Any:
    return Generator(Random(7).random).value(schema)


class GeneratorTests(SynchronousTestCase):
    def test_types(self) -> None:
        """Each type gets a value of it, within its limits."""
        schema = {
            "type": "object",
            "required": ["s", "i", "n", "b", "l", "o"],
            "properties": {
                "s": {"type": "string"},
                "i": {"type": "integer", "minimum": 3, "maximum": 4},
                "n": {"type": "number", "minimum": -1, "maximum": 1},
                "b": {"type": "boolean"},
                "l": {"type": "array", "minItems": 1, "items": {"type": "integer"}},
                "o": {"properties": {"x": {"enum": ["a", "b"]}}},
                "z": {"type": "null"},
            },
        }
        for seed in range(20):
            jsonschema.validate(Generator(Random(seed).random).value(schema), schema)

    def test_examples(self) -> None:
        """Examples are honoured."""
        schema = {
            "type": "object",
            "properties": {"a": {"type": "integer", "example": 7}, "b": {"const": [1]}},
        }
        self.assertEqual(made(schema), {"a": 7, "b": [1]})

    def test_examples_of_another_type(self) -> None:
        """An example of another type does not count, but that an integer's fraction is cut."""
        for kind, example, wanted in (
            ("integer", 155.55, 155),
            ("number", 155.55, 155.55),
            ("string", "5", "5"),
            ("boolean", False, False),
            (["string", "null"], "x", "x"),
            ("array", [1], [1]),
            ("object", {"a": 1}, {"a": 1}),
            (None, 5, 5),
        ):
            self.assertEqual(made({"type": kind, "example": example}), wanted)
        for kind, bad, types in (
            ("integer", "x", int),
            ("integer", True, int),
            ("integer", float("inf"), int),
            ("number", "x", float),
            ("string", 5, str),
            ("boolean", 1, bool),
        ):
            self.assertIs(type(made({"type": kind, "example": bad})), types)

    def test_bounded(self) -> None:
        """However a schema is nested, a document stays small."""
        schema: Any = {"type": "string"}
        for _ in range(60):
            schema = {"type": "array", "items": schema}
        self.assertLess(len(json.dumps(made(schema))), 20 * MAX_VALUES)
        for odd in (
            None,
            5,
            {"type": []},
            {"type": "what"},
            {"type": "object", "properties": 3},
            {"enum": []},
        ):
            json.dumps(made(odd))


class XmlTests(SynchronousTestCase):
    def test_elements(self) -> None:
        """Members are elements, lists repeat theirs, text is escaped."""
        value = {"a": 1, "b": ["<x>", True], "1 c": None}
        self.assertEqual(to_xml(value), "<data><a>1</a><b>&lt;x&gt;</b><b>true</b><_1_c></_1_c></data>")
