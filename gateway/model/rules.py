"""The validator behind ``gateway.model.schema``: draft 7, where the library's own rules would not do.

What differs from the library, and why:

* Regular expressions mean what JSON Schema says (ECMA 262): ``$`` is the end of the text. Python's
  also matches before a last line end, which would let one into ids, hosts and field values.
* A number is one that a float can hold; ``1e999`` is none.
* Nothing takes time or memory out of proportion to the document: an array that is too long is
  read as far as it may be long, and alternatives stop telling after ``MAX_TOLD`` problems each.
* One error per missing and per unknown member. ``x-or`` is as ``schema`` says.
* Where they are resolved, references pass every check of a text (Admin API contract §4.8).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any, Protocol

import jsonschema
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

MAX_TOLD = 100
"""How many problems are told of each alternative of ``anyOf`` and ``oneOf``."""

Errors = Iterator[ValidationError]
_Rule = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]

_REFERENCE_PREFIXES = ("$secret://", "$env://")
_END = re.compile(r"\\.|\[(?:\\.|[^\]\\])*\]|\$", re.DOTALL)
_BASE = jsonschema.Draft7Validator
_BASE_ITEMS: _Rule = _BASE.VALIDATORS["items"]


def is_reference(value: object) -> bool:
    """See ``gateway.model.schema.is_reference``."""
    return isinstance(value, str) and value[:10].lower().startswith(_REFERENCE_PREFIXES)


class Searcher(Protocol):
    """A compiled regular expression."""

    def search(self, string: str, /) -> object | None:
        """What is found, or None."""


def with_end(pattern: str, end: str) -> str:
    """A schema's regular expression, with *end* for the ``$`` that is the very end of the text."""
    return _END.sub(lambda match: end if match[0] == "$" else match[0], pattern)


@lru_cache(1024)
def regex(pattern: str) -> re.Pattern[str]:
    """Compile a regular expression of a schema of our own."""
    return re.compile(with_end(pattern, r"\Z"))


def _is_number(checker: Any, value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _is_integer(checker: Any, value: object) -> bool:
    return _is_number(checker, value) and (isinstance(value, int) or float(value).is_integer())  # type: ignore[arg-type]


def _type(validator: Any, wanted: Any, instance: Any, schema: Any) -> Errors:
    other = schema.get("x-or")
    if other is not None and validator.is_type(instance, other["type"]):
        yield from validator.descend(instance, other, schema_path="x-or")
    elif not any(
        validator.is_type(instance, name) for name in ([wanted] if isinstance(wanted, str) else wanted)
    ):
        yield ValidationError("type")


def _searching(regex: Callable[[str], Searcher]) -> Mapping[str, _Rule]:
    """The keywords with regular expressions, which *regex* compiles."""

    def check_text(validator: Any, pattern: str, instance: Any, schema: Any) -> Errors:
        if isinstance(instance, str) and not regex(pattern).search(instance):
            yield ValidationError("pattern")

    def check_named(validator: Any, patterns: Any, instance: Any, schema: Any) -> Errors:
        if isinstance(instance, dict):
            for pattern, member in patterns.items():
                for name, value in instance.items():
                    if regex(pattern).search(name):
                        yield from validator.descend(value, member, path=name, schema_path=pattern)

    def check_others(validator: Any, allowed: Any, instance: Any, schema: Any) -> Errors:
        if not isinstance(instance, dict):
            return
        known = schema.get("properties", {})
        patterns = [regex(pattern) for pattern in schema.get("patternProperties", {})]
        for name, value in instance.items():
            if name in known or any(pattern.search(name) for pattern in patterns):
                continue
            if isinstance(allowed, Mapping):
                yield from validator.descend(value, allowed, path=name)
            elif not allowed:
                yield ValidationError("unsupported", instance=name)

    return {"pattern": check_text, "patternProperties": check_named, "additionalProperties": check_others}


def _required(validator: Any, names: Any, instance: Any, schema: Any) -> Errors:
    if isinstance(instance, dict):
        for name in names:
            if name not in instance:
                yield ValidationError("missing", validator_value=name)


def _items(validator: Any, items: Any, instance: Any, schema: Any) -> Errors:
    if isinstance(instance, list) and len(instance) > schema.get("maxItems", math.inf):
        instance = instance[: schema["maxItems"]]
    yield from _BASE_ITEMS(validator, items, instance, schema) or ()


def _canonical(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    if isinstance(value, dict):
        return {name: _canonical(member) for name, member in value.items()}
    return value


def _unique_items(validator: Any, wanted: Any, instance: Any, schema: Any) -> Errors:
    # The library compares each item with each other one if they do not sort.
    if wanted and isinstance(instance, list):
        seen = {json.dumps(_canonical(item), sort_keys=True) for item in instance}
        if len(seen) != len(instance):
            yield ValidationError("duplicate items")


def _by_members(schema: Any, instance: Any) -> bool | None:
    """
    Whether *instance* fits a schema that only says which members an object must have.

    Such schemas are most alternatives there are, and the library takes long to look at one.

    Returns:
        None if the schema says anything else.
    """
    if not isinstance(schema, Mapping) or len(schema) != 1:
        return None
    ((word, value),) = schema.items()
    if word == "required":
        return not isinstance(instance, dict) or all(name in instance for name in value)
    if word == "not":
        inner = _by_members(value, instance)
        return None if inner is None else not inner
    if word in ("anyOf", "allOf", "oneOf"):
        fits = [_by_members(branch, instance) for branch in value]
        if None in fits:
            return None
        return {"anyOf": any(fits), "allOf": all(fits), "oneOf": sum(map(bool, fits)) == 1}[word]
    return None


def _faults(validator: Any, branch: Any, instance: Any, index: int) -> list[ValidationError]:
    return list(islice(validator.descend(instance, branch, schema_path=index), MAX_TOLD))


def _all_of(validator: Any, parts: Any, instance: Any, schema: Any) -> Errors:
    for index, part in enumerate(parts):
        if not _by_members(part, instance):
            yield from validator.descend(instance, part, schema_path=index)


def _not(validator: Any, unwanted: Any, instance: Any, schema: Any) -> Errors:
    fits = _by_members(unwanted, instance)
    if fits is None:
        fits = validator.evolve(schema=unwanted).is_valid(instance)
    if fits:
        yield ValidationError("fits what it must not")


def _any_of(validator: Any, branches: Any, instance: Any, schema: Any) -> Errors:
    if any(_by_members(branch, instance) for branch in branches):
        return
    told: list[ValidationError] = []
    for index, branch in enumerate(branches):
        errors = _faults(validator, branch, instance, index)
        if not errors:
            return
        told.extend(errors)
    yield ValidationError("no alternative", context=told)


def _one_of(validator: Any, branches: Any, instance: Any, schema: Any) -> Errors:
    fitting = 0
    told: list[ValidationError] = []
    for index, branch in enumerate(branches):
        errors = [] if _by_members(branch, instance) else _faults(validator, branch, instance, index)
        told.extend(errors)
        fitting += not errors
    if fitting != 1:
        yield ValidationError("not one alternative", context=() if fitting else told)


PLAIN: Any = extend(
    _BASE,
    {
        "type": _type,
        **_searching(regex),
        "required": _required,
        "items": _items,
        "uniqueItems": _unique_items,
        "allOf": _all_of,
        "anyOf": _any_of,
        "not": _not,
        "oneOf": _one_of,
    },
    type_checker=_BASE.TYPE_CHECKER.redefine_many({"number": _is_number, "integer": _is_integer}),
)
"""The validator class of documents in which nothing is a reference."""


FORMATS = jsonschema.FormatChecker(("email", "ipv4", "ipv6"))
"""The formats that are checked where a ``Checker`` is asked to; others say nothing."""

_LABEL = r"[0-9A-Za-z](?:[0-9A-Za-z-]{0,61}[0-9A-Za-z])?"
_HOSTNAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*\Z", re.ASCII)


@FORMATS.checks("hostname")
def _is_hostname(value: object) -> bool:
    """RFC 1123 section 2.1."""
    return not isinstance(value, str) or _HOSTNAME.match(value) is not None


def searching_with(regex: Callable[[str], Searcher]) -> Any:
    """As ``PLAIN``, of schemas whose regular expressions *regex* compiles: it is asked for each text."""
    return extend(PLAIN, _searching(regex))


def _unless_reference(rule: _Rule) -> _Rule:
    def check(validator: Any, expected: Any, instance: Any, schema: Any) -> Errors:
        if not is_reference(instance):
            yield from rule(validator, expected, instance, schema) or ()

    return check


WITH_REFERENCES: Any = extend(
    PLAIN,
    {
        keyword: _unless_reference(PLAIN.VALIDATORS[keyword])
        for keyword in ("minLength", "maxLength", "pattern", "format", "enum")
    },
)
"""The validator class of plugin settings: a reference passes every check of a text."""


def _types(expected: Any) -> str:
    return " or ".join([expected] if isinstance(expected, str) else map(str, expected))


_WORDS: Mapping[str, str] = {
    "minLength": "must be at least {} characters long",
    "maxLength": "must be at most {} characters long",
    "pattern": 'must match "{}"',
    "format": "must be of the format {}",
    "minimum": "must be at least {}",
    "maximum": "must be at most {}",
    "exclusiveMinimum": "must be more than {}",
    "exclusiveMaximum": "must be less than {}",
    "multipleOf": "must be a multiple of {}",
    "minItems": "must have at least {} items",
    "maxItems": "must have at most {} items",
    "minProperties": "must have at least {} members",
    "maxProperties": "must have at most {} members",
    "uniqueItems": "duplicate items found",
    "anyOf": "fits none of the allowed forms",
    "oneOf": "must fit exactly one of the allowed forms",
    "required": 'property "{}" is missing',
}


def message(rule: str, expected: Any, got: Any) -> str:
    """
    Say what is wrong in words of the schema alone: a value that was sent may be a secret.

    Args:
        expected, got: As in ``Problem``; of *got* only the name of an unknown member is told.
    """
    match rule:
        case "type":
            return f"must be of type {_types(expected)}"
        case "enum":
            return "must be one of " + ", ".join(json.dumps(value, ensure_ascii=False) for value in expected)
        case "const":
            return f"must be {json.dumps(expected, ensure_ascii=False)}"
        case "additionalProperties":
            return f'property "{str(got)[:100]}" is unsupported'
    words = _WORDS.get(rule)
    return f'does not satisfy "{rule}"' if words is None else words.format(expected)
