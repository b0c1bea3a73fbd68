"""The words of the enterprise dialect for what is wrong with a document (Admin API contract §2.7)."""

from __future__ import annotations

import json
from collections.abc import Callable

from gateway.core.branches import required_only, wanted_types
from gateway.model.problems import Problem

_TYPES = {
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "a boolean",
    "array": "an array",
    "object": "an object",
    "null": "null",
}


def _types(names: object) -> str:
    wanted = names if isinstance(names, list) else [names]
    return " or ".join(_TYPES.get(str(name), str(name)) for name in wanted)


def _limit(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _choice(problem: Problem) -> str:
    types = wanted_types(problem)
    if types:
        return f"value must be {_types(types)}"
    names = required_only(problem)
    if names:
        alternatives = [" and ".join(f'"{name}"' for name in group) for group in names]
        return f"value must have {', or '.join(alternatives)}"
    if problem.rule == "oneOf" and not problem.branches:
        return 'value matches more than one schema from "oneOf"'
    return f'value doesn\'t match any schema from "{problem.rule}"'


def _dependency(problem: Problem) -> str:
    if isinstance(problem.expected, dict) and isinstance(problem.got, dict):
        for name, needed in problem.expected.items():
            if name in problem.got and isinstance(needed, list):
                missing = [other for other in needed if other not in problem.got]
                if missing:
                    return f'property "{missing[0]}" is missing, "{name}" needs it'
    return "a property is missing that another one needs"


_WORDS: dict[str, Callable[[Problem], str]] = {
    "type": lambda p: f"value must be {_types(p.expected)}",
    "required": lambda p: f'property "{p.expected}" is missing',
    "additionalProperties": lambda p: f'property "{p.got}" is unsupported',
    "minLength": lambda p: f"minimum string length is {p.expected}",
    "maxLength": lambda p: f"maximum string length is {p.expected}",
    "pattern": lambda p: f'string doesn\'t match the regular expression "{p.expected}"',
    "format": lambda p: f'string doesn\'t match the format "{p.expected}"',
    "enum": lambda p: "value is not one of the allowed values",
    "const": lambda p: f"value must be {json.dumps(p.expected)}",
    "minimum": lambda p: f"number must be at least {_limit(p.expected)}",
    "maximum": lambda p: f"number must be at most {_limit(p.expected)}",
    "exclusiveMinimum": lambda p: f"number must be more than {_limit(p.expected)}",
    "exclusiveMaximum": lambda p: f"number must be less than {_limit(p.expected)}",
    "multipleOf": lambda p: f"number must be a multiple of {_limit(p.expected)}",
    "minItems": lambda p: f"minimum number of items is {p.expected}",
    "maxItems": lambda p: f"maximum number of items is {p.expected}",
    "uniqueItems": lambda p: "duplicate items found",
    "contains": lambda p: "no item is of the needed kind",
    "minProperties": lambda p: f"there must be at least {p.expected} properties",
    "maxProperties": lambda p: f"there must be at most {p.expected} properties",
    "anyOf": _choice,
    "oneOf": _choice,
    "not": lambda p: "value is not allowed here",
    "dependencies": _dependency,
}


def reason(problem: Problem) -> str:
    """
    Say what is wrong, without saying where.

    The text holds limits and names, never a value that was sent. A rule of our own speaks for
    itself; a schema keyword without words here is named, as its own text would quote the value.
    """
    if not problem.schema_path:
        return problem.message
    words = _WORDS.get(problem.rule)
    return f'value doesn\'t satisfy "{problem.rule}"' if words is None else words(problem)


def sentence(problem: Problem) -> str:
    """Where and what: ``Error at "<JSON Pointer>": <reason>``."""
    return f'Error at "{problem.pointer}": {reason(problem)}'
