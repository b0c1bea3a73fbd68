"""JSON Schema (draft 7) as the one declaration of a document's shape.

A ``Checker`` wraps the ``jsonschema`` library: it reports every problem, as ``Problem``
values that each dialect renders in its own words. ``fill`` and ``fill_scalars`` read
defaults from the same schema, so that a default stands in one place only.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jsonschema
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

from gateway.model.problems import Problem

Schema = Mapping[str, Any]
Document = dict[str, Any]

_REFERENCE_PREFIXES = ("$secret://", "$env://")


def is_reference(value: object) -> bool:
    """
    Tell whether *value* is text that stands for a secret kept elsewhere.

    Returns:
        True for ``$secret://…`` and ``$env://…``; the prefix is matched in any letter case.
    Source:
        Admin API contract §4.8; jwt-auth contract §2.
    """
    return isinstance(value, str) and value[:10].lower().startswith(_REFERENCE_PREFIXES)


_Rule = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]


def _unless_reference(rule: _Rule) -> _Rule:
    def check(validator: Any, expected: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        if not is_reference(instance):
            yield from rule(validator, expected, instance, schema) or ()

    return check


def _unique_items(validator: Any, wanted: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    # The library compares each item with each other one if they do not sort.
    if not wanted or not isinstance(instance, list):
        return
    seen = {json.dumps(item, sort_keys=True) for item in instance}
    if len(seen) != len(instance):
        yield ValidationError("duplicate items found")


_BASE = jsonschema.Draft7Validator
_VALIDATOR: Any = extend(  # type: ignore[no-untyped-call]  # jsonschema leaves it untyped
    _BASE,
    {
        "uniqueItems": _unique_items,
        **{
            keyword: _unless_reference(_BASE.VALIDATORS[keyword])
            for keyword in ("minLength", "maxLength", "pattern", "format", "enum")
        },
    },
)


def type_name(value: object) -> str:
    """The JSON type of *value*: null, boolean, integer, number, string, array or object."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list() | tuple():
            return "array"
    return "object"


def _problems(error: ValidationError) -> Iterator[Problem]:
    path = tuple(error.absolute_path)
    rule = str(error.validator)
    expected: Any = error.validator_value
    where = tuple(error.absolute_schema_path)
    if rule == "required":
        # jsonschema raises one error per missing member and names it only in its text.
        missing = [name for name in expected if error.message.startswith(repr(name))]
        name = missing[0] if missing else expected[0]
        text = f'property "{name}" is missing'
        yield Problem((*path, name), rule, text, name, error.instance, (), where)
    elif rule == "additionalProperties" and expected is False:
        schema: Any = error.schema
        patterns = [re.compile(pattern) for pattern in schema.get("patternProperties", {})]
        known = schema.get("properties", {})
        instance: Any = error.instance
        for name in instance:
            if name not in known and not any(pattern.search(name) for pattern in patterns):
                text = f'property "{name}" is unsupported'
                yield Problem((*path, name), rule, text, sorted(known), name, (), where)
    else:
        branches: tuple[tuple[Problem, ...], ...] = ()
        if error.context:
            grouped: dict[int, list[Problem]] = {}
            for inner in error.context:
                grouped.setdefault(int(inner.schema_path[0]), []).extend(_problems(inner))
            branches = tuple(tuple(grouped[index]) for index in sorted(grouped))
        yield Problem(path, rule, error.message, expected, error.instance, branches, where)


class Checker:
    """
    A compiled JSON Schema.

    Attributes:
        schema: The schema, as it is published.
    """

    def __init__(self, schema: Schema) -> None:
        """
        Raises:
            jsonschema.SchemaError: *schema* itself is not a valid draft 7 schema.
        """
        _BASE.check_schema(schema)
        self.schema = schema
        self._validator = _VALIDATOR(schema)

    def problems(self, document: object) -> list[Problem]:
        """Every way in which *document* does not fit the schema, in document order."""
        if self._validator.is_valid(document):
            return []
        errors = sorted(
            self._validator.iter_errors(document), key=lambda e: [str(p) for p in e.absolute_path]
        )
        return [problem for error in errors for problem in _problems(error)]


def _properties(schema: Schema) -> dict[str, Any]:
    found: dict[str, Any] = dict(schema.get("properties", {}))
    for part in schema.get("allOf", ()):
        found.update(_properties(part))
    return found


def _fill(schema: Schema, value: Any, objects_too: bool) -> Any:
    if isinstance(value, dict):
        filled = dict(value)
        for name, member in _properties(schema).items():
            if name in filled:
                filled[name] = _fill(member, filled[name], objects_too)
            elif "default" in member:
                default = member["default"]
                if objects_too or not isinstance(default, (dict, list)):
                    filled[name] = copy.deepcopy(default)
            elif objects_too and member.get("x-fill"):
                filled[name] = _fill(member, {}, objects_too)
        return filled
    if isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        return [_fill(schema["items"], item, objects_too) for item in value]
    return value


def fill_scalars(schema: Schema, document: Document) -> Document:
    """
    Add the scalar defaults of *schema* to a copy of *document*, never an absent object or array.

    Args:
        schema: An object schema; ``properties``, ``items`` and ``allOf`` are followed.
        document: A document that fits it.
    Returns:
        A new document; *document* is unchanged.
    Source:
        Admin API contract §6.4: what clients add before they compare, the server adds when it stores.
    """
    filled: Document = _fill(schema, document, objects_too=False)
    return filled


def fill(schema: Schema, document: Mapping[str, Any]) -> Document:
    """
    Add every default of *schema*, so that the typed classes need none of their own.

    Differs from ``fill_scalars``: array and object defaults are added too.
    """
    filled: Document = _fill(schema, dict(document), objects_too=True)
    return filled
