"""The words of the apisix dialect for what is wrong with a document (Admin API contract §4.8).

A text nests from the outside in: ``property "a" validation failed: property "b" is required``.
It names one problem. Both dialects use these words for the settings of a plugin.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import pairwise

from gateway.model.problems import PathPart, Problem
from gateway.model.schema import Checker

HIDDEN = "******"


def lua_type(value: object) -> str:
    """The name of a JSON value's type as users of this dialect know it."""
    match value:
        case None:
            return "nil"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
    return "table"


def _wrong_type(problem: Problem, hidden: bool) -> str:
    wanted = problem.expected
    if isinstance(wanted, list):
        return f"wrong type: expected one of {', '.join(map(str, wanted))}, got {lua_type(problem.got)}"
    return f"wrong type: expected {wanted}, got {lua_type(problem.got)}"


def _length(problem: Problem, hidden: bool) -> str:
    got = len(problem.got) if isinstance(problem.got, str) else 0
    if problem.rule == "minLength":
        return f"string too short, expected at least {problem.expected}, got {got}"
    return f"string too long, expected at most {problem.expected}, got {got}"


def _pattern(problem: Problem, hidden: bool) -> str:
    return f'failed to match pattern "{problem.expected}" with "{HIDDEN if hidden else problem.got}"'


def _number(comparison: str) -> Callable[[Problem, bool], str]:
    def words(problem: Problem, hidden: bool) -> str:
        got = HIDDEN if hidden else json.dumps(problem.got)
        return f"expected {got} to be {comparison} {problem.expected}"

    return words


def _size(what: str, comparison: str) -> Callable[[Problem, bool], str]:
    things = "items" if what == "array" else "properties"
    return lambda problem, hidden: f"expect {what} to have {comparison} {problem.expected} {things}"


def _unique(problem: Problem, hidden: bool) -> str:
    items = problem.got if isinstance(problem.got, list) else []
    seen: dict[str, int] = {}
    for place, item in enumerate(items, 1):
        first = seen.setdefault(json.dumps(item, sort_keys=True), place)
        if first != place:
            return f"expected unique items but items {first} and {place} are equal"
    return "expected unique items"


def _required_lists(problem: Problem) -> list[list[str]]:
    """The members each alternative asks for, if that is all they say."""
    branches = problem.expected if isinstance(problem.expected, list) else []
    lists = [branch.get("required") for branch in branches if isinstance(branch, dict) and len(branch) == 1]
    return [names for names in lists if isinstance(names, list)] if len(lists) == len(branches) else []


def _any_of(problem: Problem, hidden: bool) -> str:
    names = _required_lists(problem)
    if not names:
        return "object matches none of the required"
    return "object matches none of the required: " + " or ".join(
        json.dumps(group, separators=(",", ":")) for group in names
    )


def _one_of(problem: Problem, hidden: bool) -> str:
    text = "value should match only one schema, but matches "
    if problem.branches or not isinstance(problem.expected, list):
        return text + "none"
    fitting = [i for i, schema in enumerate(problem.expected, 1) if not Checker(schema).problems(problem.got)]
    return f"{text}both schemas {' and '.join(map(str, fitting[:2]))}"


def _dependency(problem: Problem, hidden: bool) -> str:
    if isinstance(problem.expected, dict) and isinstance(problem.got, dict):
        for name, needed in problem.expected.items():
            for other in needed if name in problem.got and isinstance(needed, list) else ():
                if other not in problem.got:
                    return f'property "{other}" is required when "{name}" is set'
    return "a dependent property is required"


_WORDS: dict[str, Callable[[Problem, bool], str]] = {
    "type": _wrong_type,
    "required": lambda p, hidden: f'property "{p.expected}" is required',
    "additionalProperties": lambda p, hidden: f"additional properties forbidden, found {p.got}",
    "minLength": _length,
    "maxLength": _length,
    "pattern": _pattern,
    "format": lambda p, hidden: f"expect valid {p.expected} format but got: {HIDDEN if hidden else p.got}",
    "enum": lambda p, hidden: "matches none of the enum values",
    "const": lambda p, hidden: "does not match const value",
    "minimum": _number("at least"),
    "maximum": _number("at most"),
    "exclusiveMinimum": _number("greater than"),
    "exclusiveMaximum": _number("smaller than"),
    "multipleOf": _number("a multiple of"),
    "minItems": _size("array", "at least"),
    "maxItems": _size("array", "at most"),
    "minProperties": _size("object", "at least"),
    "maxProperties": _size("object", "at most"),
    "uniqueItems": _unique,
    "contains": lambda p, hidden: "no item matches the needed schema",
    "anyOf": _any_of,
    "oneOf": _one_of,
    "not": lambda p, hidden: "value wasn't supposed to match schema",
    "dependencies": _dependency,
}

_NAMES_A_MEMBER = ("required", "additionalProperties")


def _around(problem: Problem) -> Iterator[str]:
    """What the text says on the way from the document to the defect."""
    places = list(problem.path[:-1] if problem.rule in _NAMES_A_MEMBER else problem.path)
    if not problem.schema_path:
        for part in places:
            yield _place(part)
        return
    way = list(problem.schema_path[:-1])
    while way:
        word = way.pop(0)
        if word == "properties" and way and places:
            way.pop(0)
            yield _place(places.pop(0))
        elif word == "patternProperties" and way and places:
            yield f'failed to validate {places.pop(0)} (matching "{way.pop(0)}"): '
        elif word == "additionalProperties" and places:
            yield f"failed to validate additional property {places.pop(0)}: "
        elif word in ("items", "additionalItems", "contains") and places:
            if way and isinstance(way[0], int):
                way.pop(0)
            yield _place(places.pop(0))
        elif word == "dependencies" and way:
            yield f'failed to validate dependent schema for "{way.pop(0)}": '
        elif word == "allOf" and way:
            yield f"allOf {int(way.pop(0)) + 1} failed: "


def _place(part: PathPart) -> str:
    if isinstance(part, int):
        return f"failed to validate item {part + 1}: "
    return f'property "{part}" validation failed: '


def text(problem: Problem, *, hidden: bool = False) -> str:
    """
    Say where and what is wrong.

    Args:
        problem: Its path is relative to what the text is about.
        hidden: The value is a secret: do not quote it.
    """
    if not problem.schema_path:
        return "".join(_around(problem)) + problem.message
    for before, word in pairwise((None, *problem.schema_path)):
        # A member may have the name, too.
        if word in ("then", "else") and before != "properties":
            return f"{word} clause did not match"
    words = _WORDS.get(problem.rule)
    leaf = words(problem, hidden) if words is not None else f"value does not satisfy {problem.rule}"
    return "".join(_around(problem)) + leaf
