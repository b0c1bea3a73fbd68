from __future__ import annotations

import time
from typing import Any

import jsonschema
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.model import rules
from gateway.model.schema import MAX_PROBLEMS, Checker, Schema
from tests.limits import cpu_s

HUGE = 200_000


def fits(schema: Schema, document: object, *, references: bool = False) -> bool:
    return not Checker(schema, references=references).problems(document)


class NumberTests(SynchronousTestCase):
    def test_integers(self) -> None:
        """True is no integer; 1.0 is one, as JSON has one kind of number (draft 7, 6.1.1)."""
        good: tuple[Any, ...] = (0, 1, -1, 1.0, 2**70)
        bad: tuple[Any, ...] = (True, False, 1.5, "1", None, float("nan"), float("inf"), [], {})
        for value in good:
            self.assertTrue(fits({"type": "integer"}, value), value)
        for value in bad:
            self.assertFalse(fits({"type": "integer"}, value), value)

    def test_numbers(self) -> None:
        """What no float can hold is no number, so that a time limit can always be used as one."""
        good: tuple[Any, ...] = (0, 0.5, -3, 10**300)
        bad: tuple[Any, ...] = (True, "1", None, float("nan"), float("inf"), -float("inf"), 10**400)
        for value in good:
            self.assertTrue(fits({"type": "number"}, value), value)
        for value in bad:
            self.assertFalse(fits({"type": "number"}, value), value)


class PatternTests(SynchronousTestCase):
    def test_end(self) -> None:
        """``$`` is the end of the text: a line end after it would end up in a field or a file name."""
        for pattern in (r"^[a-z]+$", r"^(a|bc$)", r"^\w+$"):
            self.assertTrue(fits({"pattern": pattern}, "a" if "|" not in pattern else "bc"))
            self.assertFalse(fits({"pattern": r"^bc$"}, "bc\n"))
        self.assertFalse(fits({"pattern": r"^[a-z]+$"}, "abc\n"))

    def test_literal_dollars(self) -> None:
        """An escaped ``$``, and one in a character class, stand for themselves."""
        self.assertTrue(fits({"pattern": r"^\$[$]x$"}, "$$x"))
        self.assertFalse(fits({"pattern": r"^\$[$]x$"}, "$$x\n"))
        self.assertTrue(fits({"pattern": r"^[\]$]+$"}, "$]"))

    def test_member_names(self) -> None:
        """The same holds for patterns of member names."""
        schema = {"patternProperties": {r"^[a-z]+$": {"type": "integer"}}, "additionalProperties": False}
        self.assertTrue(fits(schema, {"abc": 1}))
        self.assertFalse(fits(schema, {"abc\n": 1}))

    def test_bad_pattern(self) -> None:
        """A schema whose pattern is no regular expression is refused when it is declared."""
        self.assertRaises(jsonschema.SchemaError, Checker, {"pattern": "("})


class MemberTests(SynchronousTestCase):
    def test_additional_properties(self) -> None:
        """A member is known by its name or by a pattern; each unknown one is a problem of its own."""
        schema = {"properties": {"a": {}}, "patternProperties": {"^x-": {}}, "additionalProperties": False}
        found = Checker(schema).problems({"b": 1, "a": 1, "x-1": 1, "c/d": 1})
        self.assertEqual(
            [(p.pointer, p.got, p.expected) for p in found], [("/b", "b", ["a"]), ("/c~1d", "c/d", ["a"])]
        )

    def test_additional_schema(self) -> None:
        """Members of any name can have a schema; it is not applied to those that are known."""
        schema = {"properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "integer"}}
        found = Checker(schema).problems({"a": "x", "b": "x", "c": 1})
        self.assertEqual([(p.pointer, p.rule) for p in found], [("/b", "type")])

    def test_required_names(self) -> None:
        """Each missing member is named exactly, whatever characters its name has."""
        names = ["it's", 'say "hi"', "both ' and \"", "a", "ab", "", "\\", "'a' is a required property"]
        found = Checker({"required": names}).problems({})
        self.assertEqual([p.expected for p in found], names)
        self.assertEqual([p.path for p in found], [(name,) for name in names])
        self.assertEqual(found[3].message, 'property "a" is missing')

    def test_unique_items(self) -> None:
        """Items are compared as JSON: 1 is 1.0, but not true; order of members does not matter."""
        schema = {"uniqueItems": True}
        same: list[list[Any]] = [
            [1, 1.0],
            [{"a": 1, "b": 2}, {"b": 2.0, "a": 1}],
            [[1], [1.0]],
            ["x", "x"],
            [None, None],
        ]
        different: list[list[Any]] = [[1, True], [0, False], ["1", 1], [[1, 2], [2, 1]], [], [{}, []]]
        for items in same:
            self.assertFalse(fits(schema, items), items)
        for items in different:
            self.assertTrue(fits(schema, items), items)
        self.assertTrue(fits({"uniqueItems": False}, [1, 1]))


class AlternativeTests(SynchronousTestCase):
    SCHEMA = {
        "properties": {
            "v": {
                "anyOf": [
                    {"type": "array", "items": {"type": "integer"}},
                    {"type": "object", "required": ["k"]},
                ]
            }
        }
    }

    def test_branches(self) -> None:
        """What each alternative finds wrong is told in its order, with paths from the document's root."""
        (problem,) = Checker(self.SCHEMA).problems({"v": [1, "x"]})
        self.assertEqual((problem.pointer, problem.rule), ("/v", "anyOf"))
        self.assertEqual(
            [[(p.pointer, p.rule) for p in b] for b in problem.branches],
            [[("/v/1", "type")], [("/v", "type")]],
        )

    def test_any(self) -> None:
        """One fitting alternative is enough."""
        self.assertTrue(fits(self.SCHEMA, {"v": {"k": 1}}))
        self.assertTrue(fits({"anyOf": [{}, {}]}, 1))

    def test_one(self) -> None:
        """Of ``oneOf`` exactly one alternative fits; several are told apart from none."""
        schema = {"oneOf": [{"minimum": 5}, {"maximum": 9}, {"type": "string"}]}
        self.assertTrue(fits(schema, 3))
        (both,) = Checker(schema).problems(7)
        self.assertEqual(both.branches, ())
        (none,) = Checker({"oneOf": [{"type": "string"}, {"minimum": 5}]}).problems(3)
        self.assertEqual([[p.rule for p in branch] for branch in none.branches], [["type"], ["minimum"]])

    def test_older_form(self) -> None:
        """A value in the form of ``x-or`` is checked by that; others are told the announced one."""
        schema = {
            "type": "array",
            "items": {"type": "integer"},
            "x-or": {"type": "object", "additionalProperties": {"type": "integer"}},
        }
        self.assertTrue(fits(schema, [1]))
        self.assertTrue(fits(schema, {"a": 1}))
        self.assertEqual(
            [(p.pointer, p.rule) for p in Checker(schema).problems({"a": "x"})], [("/a", "type")]
        )
        (problem,) = Checker(schema).problems("x")
        self.assertEqual((problem.rule, problem.expected), ("type", "array"))


class ReferenceTests(SynchronousTestCase):
    SCHEMA = {
        "properties": {
            "s": {"type": "string", "minLength": 50, "maxLength": 60, "pattern": "^a", "enum": ["b"]},
            "n": {"type": "integer"},
        }
    }

    def test_plugin_settings(self) -> None:
        """Where references are resolved, one passes every check of a text, but is no number."""
        for reference in ("$env://A", "$secret://vault/1/a", "$ENV://A", "$Secret://vault/1/a"):
            self.assertTrue(fits(self.SCHEMA, {"s": reference}, references=True), reference)
            self.assertFalse(fits(self.SCHEMA, {"n": reference}, references=True), reference)
        for text in ("env://A", "$env:/A", "x$env://A", "$environment://A"):
            self.assertFalse(fits(self.SCHEMA, {"s": text}, references=True), text)

    def test_elsewhere(self) -> None:
        """Elsewhere a text that looks like a reference is a text: it must not get past a pattern."""
        self.assertFalse(fits(self.SCHEMA, {"s": "$env://A"}))
        self.assertFalse(fits({"pattern": r"^[a-z]+$"}, "$env://\r\nx: y"))


class HugeDocumentTests(SynchronousTestCase):
    """A document as large as a request body may be costs no more than seconds and megabytes."""

    def setUp(self) -> None:
        self.limit_s = cpu_s(5)
        self.began = time.process_time()

    def tearDown(self) -> None:
        self.assertLess(time.process_time() - self.began, self.limit_s)

    def test_too_long(self) -> None:
        """Of an array that is too long only as many items are looked at as it may have."""
        schema = {"maxItems": 3, "items": {"type": "string"}, "uniqueItems": True}
        found = Checker(schema).problems(list(range(HUGE)))
        self.assertEqual(sorted(p.pointer for p in found), ["", "/0", "/1", "/2"])

    def test_many_problems(self) -> None:
        """A document that is wrong everywhere is told so up to a limit."""
        self.assertEqual(len(Checker({"items": {"type": "string"}}).problems([1] * HUGE)), MAX_PROBLEMS)
        unknown = {str(number): 1 for number in range(HUGE)}
        self.assertEqual(len(Checker({"additionalProperties": False}).problems(unknown)), MAX_PROBLEMS)

    def test_many_problems_of_an_alternative(self) -> None:
        """The same holds inside alternatives."""
        (problem,) = Checker({"anyOf": [{"items": {"type": "string"}}, {"type": "object"}]}).problems(
            [1] * HUGE
        )
        self.assertEqual([len(branch) for branch in problem.branches], [rules.MAX_TOLD, 1])

    def test_unique_objects(self) -> None:
        """Unsortable items are not compared with each other one."""
        self.assertTrue(fits({"uniqueItems": True}, [{"a": number} for number in range(20_000)]))


SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "ab", "b"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abx"), inner, max_size=3),
    max_leaves=6,
)
SCHEMAS = st.recursive(
    st.sampled_from(
        [
            {"type": "integer"},
            {"type": ["string", "null"]},
            {"type": "object", "required": ["a", "b"]},
            {"pattern": "^a"},
            {"uniqueItems": True, "maxItems": 2},
            {"minProperties": 1},
            {"enum": [1, "a", None]},
        ]
    ),
    lambda inner: (
        st.fixed_dictionaries({"items": inner})
        | st.fixed_dictionaries(
            {
                "properties": st.fixed_dictionaries({"a": inner}),
                "additionalProperties": inner | st.just(False),
            }
        )
        | st.fixed_dictionaries({"patternProperties": st.fixed_dictionaries({"^[ab]$": inner})})
        | st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=2)})
        | st.fixed_dictionaries({"oneOf": st.lists(inner, min_size=1, max_size=3)})
    ),
    max_leaves=4,
)


class LibraryTests(SynchronousTestCase):
    @settings(deadline=None, max_examples=300)
    @given(schema=SCHEMAS, value=VALUES)
    def test_same_verdict(self, schema: dict[str, Any], value: Any) -> None:
        """Ours and the library's validator agree on what fits, wherever ours has no reason to differ."""
        self.assertEqual(fits(schema, value), jsonschema.Draft7Validator(schema).is_valid(value))


class MessageTests(SynchronousTestCase):
    def test_no_value(self) -> None:
        """No message quotes what was sent: it may be a secret."""
        secret = "hunter2 hunter2"
        schemas: list[Schema] = [
            {"type": "integer"},
            {"minLength": 50},
            {"maxLength": 3},
            {"pattern": "^x"},
            {"enum": ["a", 1]},
            {"const": "a"},
            {"format": "ipv4"},
            {"not": {}},
            {"anyOf": [{"type": "integer"}]},
            {"oneOf": [{}, {}]},
        ]
        for schema in schemas:
            for problem in Checker({"properties": {"s": schema}}).problems({"s": secret}):
                self.assertNotIn("hunter2", problem.message)
                self.assertNotIn("hunter2", repr(problem))
        found = Checker({"required": ["k"], "maxProperties": 0, "dependencies": {"s": ["t"]}}).problems(
            {"s": secret}
        )
        self.assertEqual(len(found), 3)
        self.assertNotIn("hunter2", " ".join(problem.message for problem in found))

    def test_words(self) -> None:
        """Messages name the limit."""
        told: list[tuple[Schema, Any, str]] = [
            ({"type": ["string", "object"]}, 1, "must be of type string or object"),
            ({"enum": ["a", 1, None]}, 2, 'must be one of "a", 1, null'),
            ({"minimum": 3}, 2, "must be at least 3"),
            ({"exclusiveMinimum": 0}, 0, "must be more than 0"),
            ({"pattern": "^{x}$"}, "a", 'must match "^{x}$"'),
            ({"additionalProperties": False}, {"b": 1}, 'property "b" is unsupported'),
            ({"propertyNames": {"const": "a"}}, {"b": 1}, 'must be "a"'),
            ({"contains": {"const": 1}}, [], 'does not satisfy "contains"'),
        ]
        for schema, value, words in told:
            (problem,) = Checker(schema).problems(value)
            self.assertEqual(problem.message, words)


_NEEDED: st.SearchStrategy[Any] = st.recursive(
    st.fixed_dictionaries({"required": st.lists(st.sampled_from("abc"), max_size=2, unique=True)})
    | st.sampled_from(
        [{"type": "object"}, {"properties": {"a": {"type": "string"}}}, {}, {"maxProperties": 1}]
    ),
    lambda inner: (
        st.fixed_dictionaries({"not": inner})
        | st.sampled_from(["anyOf", "allOf", "oneOf"]).flatmap(
            lambda word: st.fixed_dictionaries({word: st.lists(inner, min_size=1, max_size=3)})
        )
    ),
    max_leaves=8,
)


class NeededMemberTests(SynchronousTestCase):
    @settings(deadline=None, max_examples=200)
    @given(_NEEDED, st.dictionaries(st.sampled_from("abc"), st.sampled_from([1, "x"])) | st.integers())
    def test_as_the_library(self, schema: Schema, document: object) -> None:
        """What says only which members there must be is decided quickly, and as the library does."""
        self.assertEqual(fits(schema, document), jsonschema.Draft7Validator(schema).is_valid(document))
