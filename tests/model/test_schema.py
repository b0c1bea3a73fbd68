from __future__ import annotations

import copy
from typing import Any

import jsonschema
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.model.schema import (
    Checker,
    announces_default,
    fill,
    fill_any,
    fill_scalars,
    is_reference,
    type_name,
    unused_members,
    without_defaults,
    without_effect,
)

NESTED: dict[str, Any] = {
    "type": "object",
    "properties": {
        "count": {"type": "integer", "default": 3},
        "quiet": {"type": "boolean", "default": False},
        "kind": {"type": "string", "x-default": "plain"},
        "tags": {"type": "array", "default": ["a"]},
        "args": {"type": "object", "default": {}},
        "limits": {"type": "object", "properties": {"low": {"default": 1}, "high": {"default": 9}}},
        "nodes": {"type": "array", "items": {"type": "object", "properties": {"priority": {"default": 0}}}},
        "free": True,
    },
    "allOf": [{"properties": {"more": {"default": "x"}}}, True],
}


class ReferenceTests(SynchronousTestCase):
    def test_prefixes(self) -> None:
        """A reference starts with ``$secret://`` or ``$env://`` in any letter case; nothing else is one."""
        for text in ("$secret://vault/1/a", "$env://", "$ENV://A", "$SeCrEt://x"):
            self.assertTrue(is_reference(text), text)
        for value in ("", "env://A", "$env:A", " $env://A", "$secrets://x", None, 1, ["$env://A"]):
            self.assertFalse(is_reference(value), value)


class WithoutEffectTests(SynchronousTestCase):
    def test_told(self) -> None:
        """A setting without effect is told where it says something else than its default."""
        made = without_effect({"type": "integer", "default": 3}, "nothing is counted")
        self.assertEqual(made["description"], "Accepted; nothing is counted.")
        schema = {"properties": {"a": made, "b": True, "c": {}}}
        self.assertEqual(unused_members(schema, {"a": 4, "b": 1, "c": 1}), [("a", "nothing is counted")])
        self.assertEqual(unused_members(schema, {"a": 3}), [])
        self.assertEqual(unused_members(schema, {}), [])


class TypeNameTests(SynchronousTestCase):
    def test_names(self) -> None:
        """Values are called as JSON Schema calls them."""
        values: list[Any] = [None, True, 1, 1.5, "a", [], {}]
        names = ["null", "boolean", "integer", "number", "string", "array", "object"]
        self.assertEqual([type_name(value) for value in values], names)


class CheckerTests(SynchronousTestCase):
    def test_bad_schema(self) -> None:
        """A schema that is none is refused at once, not when the first document comes."""
        self.assertRaises(jsonschema.SchemaError, Checker, {"type": "text"})

    def test_fits(self) -> None:
        """A document that fits has no problems."""
        self.assertEqual(Checker({"type": "object"}).problems({}), [])

    def test_all_in_document_order(self) -> None:
        """Every problem is told, in the order of the document; what an object lacks comes first."""
        schema = {
            "required": ["m", "n"],
            "additionalProperties": False,
            "properties": {
                "a": {"type": "string"},
                "n": {},
                "m": {},
                "list": {
                    "minItems": 99,
                    "items": {"properties": {"v": {"type": "string"}}, "required": ["w"]},
                },
            },
        }
        document = {
            "z": 1,
            "list": [{"v": "", "w": 1}] * 2 + [{"v": 1, "w": 1}] + [{"v": "", "w": 1}] * 7 + [{"v": 2}],
            "a": 1,
        }
        found = [(p.pointer, p.rule) for p in Checker(schema).problems(document)]
        self.assertEqual(
            found,
            [
                ("/m", "required"),
                ("/n", "required"),
                ("/z", "additionalProperties"),
                ("/list", "minItems"),
                ("/list/2/v", "type"),
                ("/list/10/w", "required"),
                ("/list/10/v", "type"),
                ("/a", "type"),
            ],
        )

    def test_parts(self) -> None:
        """A problem says what was wanted, what came instead, and where the schema says so."""
        (problem,) = Checker({"properties": {"a": {"items": {"minimum": 3}}}}).problems({"a": [5, 2]})
        self.assertEqual(
            (problem.path, problem.rule, problem.expected, problem.got), (("a", 1), "minimum", 3, 2)
        )
        self.assertEqual(problem.schema_path, ("properties", "a", "items", "minimum"))
        self.assertEqual(problem.pointer, "/a/1")

    def test_not_an_object(self) -> None:
        """Anything JSON has may be checked."""
        values: list[Any] = [None, 1, "x", [], True]
        for value in values:
            self.assertEqual([p.rule for p in Checker({"type": "object"}).problems(value)], ["type"])


class FillScalarsTests(SynchronousTestCase):
    def test_scalars(self) -> None:
        """Absent scalars appear with their defaults, absent objects and arrays do not (contract §6.4)."""
        self.assertEqual(fill_scalars(NESTED, {}), {"count": 3, "quiet": False, "kind": "plain", "more": "x"})

    def test_present_objects(self) -> None:
        """Objects that are there are completed, at any depth, in arrays too."""
        filled = fill_scalars(
            NESTED, {"limits": {"high": 5}, "nodes": [{}, {"priority": 7}], "tags": [], "free": {}}
        )
        self.assertEqual(filled["limits"], {"low": 1, "high": 5})
        self.assertEqual(filled["nodes"], [{"priority": 0}, {"priority": 7}])
        self.assertEqual((filled["tags"], filled["free"]), ([], {}))

    def test_given_values_stay(self) -> None:
        """What a writer sent is kept, null and false included."""
        document: dict[str, Any] = {
            "count": None,
            "quiet": True,
            "kind": "",
            "more": 0,
            "nodes": {"a:1": 2},
            "limits": [],
        }
        self.assertEqual(fill_scalars(NESTED, document), document)

    def test_original_untouched(self) -> None:
        """The document that was given is not changed."""
        document: dict[str, Any] = {"limits": {}, "nodes": [{}]}
        before = copy.deepcopy(document)
        fill_scalars(NESTED, document)
        self.assertEqual(document, before)

    @settings(deadline=None, max_examples=100)
    @given(
        st.fixed_dictionaries(
            {},
            optional={
                "count": st.integers(),
                "limits": st.dictionaries(st.sampled_from(["low", "high"]), st.integers()),
                "nodes": st.lists(st.dictionaries(st.just("priority"), st.integers())),
                "tags": st.lists(st.text()),
            },
        )
    )
    def test_twice_is_once(self, document: dict[str, Any]) -> None:
        """What was read can be written back: completing a complete document changes nothing."""
        once = fill_scalars(NESTED, document)
        self.assertEqual(fill_scalars(NESTED, once), once)
        self.assertEqual(
            {name: once[name] for name in document if name in ("count", "tags")},
            {k: v for k, v in document.items() if k in ("count", "tags")},
        )


class FillTests(SynchronousTestCase):
    def test_everything(self) -> None:
        """The typed classes find every default, arrays and objects included; each time a copy."""
        filled = fill(NESTED, {})
        self.assertEqual(
            filled, {"count": 3, "quiet": False, "kind": "plain", "tags": ["a"], "args": {}, "more": "x"}
        )
        filled["tags"].append("b")
        self.assertEqual(fill(NESTED, {})["tags"], ["a"])


class WithoutDefaultsTests(SynchronousTestCase):
    def test_stripped(self) -> None:
        """No default is left at any depth; the rest is, a member called ``default`` included."""
        schema = {
            "properties": {
                "default": {"type": "string", "default": "x"},
                "a": {"items": {"default": 1, "minimum": 0}},
            },
            "anyOf": [{"default": 1, "type": "integer"}],
        }
        before = copy.deepcopy(schema)
        self.assertEqual(
            without_defaults(schema),
            {
                "properties": {"default": {"type": "string"}, "a": {"items": {"minimum": 0}}},
                "anyOf": [{"type": "integer"}],
            },
        )
        self.assertEqual(schema, before)
        self.assertEqual(fill(without_defaults(NESTED), {}), {})


class FillAnyTests(SynchronousTestCase):
    def test_what_is_announced(self) -> None:
        """Defaults of a schema that is not ours are added, as far as the value has the shape for them."""
        schema = {"items": {"properties": {"a": {"default": [1], "x-default": 2}, "b": True}}}
        self.assertEqual(fill_any(schema, [{}, {"a": 3}, 5]), [{"a": [1]}, {"a": 3}, 5])
        self.assertEqual(fill_any(schema, "text"), "text")

    def test_none(self) -> None:
        """Whether there is any is known from the schema alone."""
        for schema in (
            {"properties": {"a": {"default": None}}},
            {"properties": {"a": {"properties": {"b": {"default": 1}}}}},
            {"items": {"items": {"properties": {"a": {"default": 1}}}}},
            {"allOf": [{"properties": {"a": {"default": 1}}}]},
        ):
            self.assertTrue(announces_default(schema), schema)
        for other in (
            None,
            True,
            {},
            {"default": 1},
            {"properties": {"default": {"type": "string"}, "b": True}},
        ):
            self.assertFalse(announces_default(other), other)


class FormatTests(SynchronousTestCase):
    def test_asked_for(self) -> None:
        """Formats are checked where that is asked for."""
        schema = {"type": "string", "format": "hostname"}
        self.assertEqual(Checker(schema).problems("-"), [])
        checker = Checker(schema, formats=True)
        self.assertEqual([one.rule for one in checker.problems("-")], ["format"])
        for good in ("a", "a.b-c.example", "a" * 63, ".".join(["a" * 60] * 4)):
            self.assertEqual(checker.problems(good), [], good)
        for bad in ("", "a.", "a..b", "a_b", "-a", "a-", "a" * 64, ".".join(["a" * 60] * 5), "a\n"):
            self.assertEqual(len(checker.problems(bad)), 1, bad)
