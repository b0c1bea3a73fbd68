from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway.admin import words_enterprise
from gateway.core.branches import expand
from gateway.model.problems import Problem
from gateway.model.schema import Checker

CASES: list[tuple[dict[str, Any], object, str]] = [
    ({"type": "string"}, 1, "value must be a string"),
    ({"type": "integer"}, "x", "value must be an integer"),
    ({"type": "number"}, "x", "value must be a number"),
    ({"type": "boolean"}, 1, "value must be a boolean"),
    ({"type": "array"}, {}, "value must be an array"),
    ({"type": "object"}, [], "value must be an object"),
    ({"type": ["boolean", "null"]}, 1, "value must be a boolean or null"),
    ({"minLength": 2}, "x", "minimum string length is 2"),
    ({"maxLength": 2}, "xxx", "maximum string length is 2"),
    ({"pattern": "^a$"}, "b", 'string doesn\'t match the regular expression "^a$"'),
    ({"enum": ["a"]}, "b", "value is not one of the allowed values"),
    ({"const": "a"}, "b", 'value must be "a"'),
    ({"minimum": 1}, 0, "number must be at least 1"),
    ({"maximum": 1}, 2, "number must be at most 1"),
    ({"exclusiveMinimum": 0}, 0, "number must be more than 0"),
    ({"exclusiveMaximum": 0.5}, 1, "number must be less than 0.5"),
    ({"multipleOf": 2}, 3, "number must be a multiple of 2"),
    ({"minItems": 1}, [], "minimum number of items is 1"),
    ({"maxItems": 1}, [1, 2], "maximum number of items is 1"),
    ({"uniqueItems": True}, [1, 1], "duplicate items found"),
    ({"contains": {"type": "string"}}, [1], "no item is of the needed kind"),
    ({"minProperties": 1}, {}, "there must be at least 1 properties"),
    ({"maxProperties": 1}, {"a": 1, "b": 2}, "there must be at most 1 properties"),
    ({"not": {"type": "string"}}, "x", "value is not allowed here"),
    ({"dependencies": {"a": ["b"]}}, {"a": 1}, 'property "b" is missing, "a" needs it'),
    ({"anyOf": [{"type": "array"}, {"type": "object"}]}, "x", "value must be an array or an object"),
    ({"anyOf": [{"required": ["a"]}, {"required": ["b", "c"]}]}, {}, 'value must have "a", or "b" and "c"'),
    (
        {"oneOf": [{"type": "string"}, {"minLength": 0}]},
        "x",
        'value matches more than one schema from "oneOf"',
    ),
    ({"propertyNames": {"maxLength": 1}}, {"ab": 1}, "maximum string length is 1"),
]


class WordsTests(SynchronousTestCase):
    def test_every_keyword(self) -> None:
        """Each schema keyword has the words that clients of this dialect know."""
        for schema, document, words in CASES:
            with self.subTest(schema=schema):
                found = list(expand(Checker(schema).problems(document)))
                self.assertEqual([words_enterprise.reason(problem) for problem in found], [words])

    def test_member_rules_point_at_the_member(self) -> None:
        """A missing or unknown member is named, and pointed at."""
        schema = {"properties": {"a": {}}, "required": ["a"], "additionalProperties": False}
        found = [words_enterprise.sentence(p) for p in Checker(schema).problems({"b/c": 1})]
        self.assertEqual(
            sorted(found),
            ['Error at "/a": property "a" is missing', 'Error at "/b~1c": property "b/c" is unsupported'],
        )

    def test_unknown_keyword_never_quotes(self) -> None:
        """A rule without words here does not repeat the value that was sent."""
        problem = Problem(("a",), "x-rule", "'hunter2' is wrong", schema_path=("x-rule",))
        self.assertEqual(words_enterprise.reason(problem), 'value doesn\'t satisfy "x-rule"')

    def test_own_rules_speak_for_themselves(self) -> None:
        """What no schema can say comes with its own words."""
        problem = Problem(("upstream", "key"), "required", "missing key", "key")
        self.assertEqual(words_enterprise.sentence(problem), 'Error at "/upstream/key": missing key')
