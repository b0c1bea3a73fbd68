from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway.core import schema_words
from gateway.model.problems import Problem
from gateway.model.schema import Checker

CASES: list[tuple[dict[str, Any], object, str]] = [
    ({"required": ["x"]}, {}, 'property "x" is required'),
    ({"type": "string"}, 1, "wrong type: expected string, got number"),
    ({"type": "string"}, None, "wrong type: expected string, got nil"),
    ({"type": "string"}, True, "wrong type: expected string, got boolean"),
    ({"type": "string"}, [], "wrong type: expected string, got table"),
    ({"type": "integer"}, 1.5, "wrong type: expected integer, got number"),
    ({"type": ["string", "object"]}, 1, "wrong type: expected one of string, object, got number"),
    ({"additionalProperties": False}, {"x": 1}, "additional properties forbidden, found x"),
    ({"minLength": 2}, "x", "string too short, expected at least 2, got 1"),
    ({"maxLength": 1}, "abc", "string too long, expected at most 1, got 3"),
    ({"pattern": "^a"}, "b", 'failed to match pattern "^a" with "b"'),
    ({"enum": ["a"]}, "b", "matches none of the enum values"),
    ({"minimum": 1}, 0, "expected 0 to be at least 1"),
    ({"maximum": 1}, 2, "expected 2 to be at most 1"),
    ({"exclusiveMinimum": 0}, 0, "expected 0 to be greater than 0"),
    ({"minItems": 1}, [], "expect array to have at least 1 items"),
    ({"maxItems": 1}, [1, 2], "expect array to have at most 1 items"),
    ({"uniqueItems": True}, ["a", "b", "b"], "expected unique items but items 2 and 3 are equal"),
    ({"maxProperties": 1}, {"a": 1, "b": 2}, "expect object to have at most 1 properties"),
    ({"anyOf": [{"type": "string"}]}, 1, "object matches none of the required"),
    (
        {"anyOf": [{"required": ["a"]}, {"required": ["a", "b"]}]},
        {},
        'object matches none of the required: ["a"] or ["a","b"]',
    ),
    ({"oneOf": [{"type": "string"}]}, 1, "value should match only one schema, but matches none"),
    (
        {"oneOf": [{"type": "string"}, {"type": "number"}, {"minimum": 0}]},
        1,
        "value should match only one schema, but matches both schemas 2 and 3",
    ),
    ({"allOf": [{"required": ["x"]}]}, {}, 'allOf 1 failed: property "x" is required'),
    ({"not": {}}, 1, "value wasn't supposed to match schema"),
    ({"if": {}, "then": {"required": ["x"]}}, {}, "then clause did not match"),
    (
        {"if": {"required": ["a"]}, "else": {"if": {}, "then": {"required": ["x"]}}},
        {},
        "else clause did not match",
    ),
    (
        {"properties": {"then": {"minimum": 2}}},
        {"then": 1},
        'property "then" validation failed: expected 1 to be at least 2',
    ),
    ({"dependencies": {"a": ["b"]}}, {"a": 1}, 'property "b" is required when "a" is set'),
    (
        {"dependencies": {"a": {"required": ["b"]}}},
        {"a": 1},
        'failed to validate dependent schema for "a": property "b" is required',
    ),
    (
        {"properties": {"a": {"properties": {"b": {"type": "string"}}}}},
        {"a": {"b": 1}},
        'property "a" validation failed: property "b" validation failed: '
        "wrong type: expected string, got number",
    ),
    (
        {"properties": {"a": {"items": {"required": ["h"]}}}},
        {"a": [{"h": 1}, {}]},
        'property "a" validation failed: failed to validate item 2: property "h" is required',
    ),
    (
        {"patternProperties": {".*": {"type": "object"}}},
        {"x": 1},
        'failed to validate x (matching ".*"): wrong type: expected object, got number',
    ),
    (
        {"properties": {"a": {"additionalProperties": {"pattern": "^b"}}}},
        {"a": {"x": "c"}},
        'property "a" validation failed: failed to validate additional property x: '
        'failed to match pattern "^b" with "c"',
    ),
    (
        {"properties": {"then": {"type": "string"}}},
        {"then": 1},
        'property "then" validation failed: wrong type: expected string, got number',
    ),
]


class WordsTests(SynchronousTestCase):
    def test_every_keyword(self) -> None:
        """Each schema keyword has the words that clients of this dialect know, nested from outside in."""
        for schema, document, words in CASES:
            with self.subTest(schema=schema):
                found = Checker(schema).problems(document)
                self.assertEqual([schema_words.text(problem) for problem in found], [words])

    def test_secrets_are_not_quoted(self) -> None:
        """Words that repeat the value leave a secret out."""
        for schema, value in (({"pattern": "^a"}, "hunter2"), ({"minimum": 99}, 42)):
            (problem,) = Checker(schema).problems(value)
            text = schema_words.text(problem, hidden=True)
            self.assertNotIn(str(value), text)
            self.assertIn("******", text)

    def test_own_rules(self) -> None:
        """What a plugin's own check says is told as it is."""
        self.assertEqual(schema_words.text(Problem((), "value", "no good")), "no good")
