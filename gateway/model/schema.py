"""JSON Schema (draft 7) as the one declaration of a document's shape.

A ``Checker`` wraps the ``jsonschema`` library: it reports every problem, as ``Problem``
values that each dialect renders in its own words. ``fill`` and ``fill_scalars`` read
defaults from the same schema, so that a default stands in one place only.
``gateway.model.rules`` holds what we check in our own way.

Four keywords of our own, which other readers of a published schema pass over:

* ``x-default``: a default that is stored like ``default`` but not announced. Clients that merge
  announced defaults before they compare do not know these members (Admin API contract §6.4).
* ``x-or``: an older form of the value, of another type. It is accepted, not announced.
* ``x-unused``: why a setting that is accepted has no effect; its writer is told.
* ``x-enterprise-required``: a setting of a plugin that has a default, and that writers of the enterprise
  dialect must give all the same (plugin contract §9).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import jsonschema
from jsonschema.exceptions import ValidationError

from gateway.model import rules
from gateway.model.problems import Problem

Schema = Mapping[str, Any]
Document = dict[str, Any]

MAX_PROBLEMS = 1000
"""How many problems of one document are told: a body of a megabyte can hold half a million."""

_DEFAULTS = ("default", "x-default")


def is_reference(value: object) -> bool:
    """
    Tell whether *value* is text that stands for a secret kept elsewhere.

    Returns:
        True for ``$secret://…`` and ``$env://…``; the prefix is matched in any letter case.
    Source:
        Admin API contract §4.8; jwt-auth contract §2.
    """
    return rules.is_reference(value)


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


def _problem(error: ValidationError) -> Problem:
    path = tuple(error.absolute_path)
    rule = str(error.validator)
    expected: Any = error.validator_value
    got: Any = error.instance
    if rule == "required":
        path = (*path, expected)
    elif rule == "additionalProperties":
        schema: Any = error.schema
        path, expected = (*path, got), sorted(schema.get("properties", {}))
    branches: dict[int, list[Problem]] = {}
    for inner in error.context or ():
        branches.setdefault(int(inner.schema_path[0]), []).append(_problem(inner))
    return Problem(
        path=path,
        rule=rule,
        message=rules.message(rule, expected, got),
        expected=expected,
        got=got,
        branches=tuple(tuple(branches[index]) for index in sorted(branches)),
        schema_path=tuple(error.absolute_schema_path),
    )


class _Places:
    """Where paths stand in a document: member names by their place in it, indexes as numbers."""

    def __init__(self, document: object) -> None:
        self._document = document
        self._orders: dict[int, dict[str, int]] = {}

    def __call__(self, problem: Problem) -> list[int]:
        place: list[int] = []
        here: Any = self._document
        for part in problem.path:
            if isinstance(here, dict):
                place.append(self._order(here).get(str(part), -1))
                here = here.get(part)
            elif isinstance(here, list) and isinstance(part, int):
                place.append(part)
                here = here[part]
        return place

    def _order(self, members: dict[str, Any]) -> dict[str, int]:
        known = self._orders.get(id(members))
        if known is None:
            known = self._orders[id(members)] = {name: place for place, name in enumerate(members)}
        return known


class Checker:
    """
    A compiled JSON Schema.

    Attributes:
        schema: The schema, as it is published.
    """

    def __init__(
        self,
        schema: Schema,
        *,
        references: bool = False,
        formats: bool = False,
        regex: Callable[[str], rules.Searcher] | None = None,
    ) -> None:
        """
        Args:
            references: Whether a reference (``$env://…``) passes every check of a text. Right
                where references are resolved, which is in plugin settings; elsewhere they would
                carry any text past the patterns.
            formats: Whether ``format`` is checked, as far as ``rules.FORMATS`` goes.
            regex: Compiles regular expressions, instead of ``re``; asked for each text.
        Raises:
            jsonschema.SchemaError: *schema* itself is not a valid draft 7 schema.
        """
        jsonschema.Draft7Validator.check_schema(schema)
        self.schema = schema
        rule_set = rules.WITH_REFERENCES if references else rules.PLAIN
        if regex is not None:
            rule_set = rules.searching_with(regex)
        self._validator = rule_set(schema, format_checker=rules.FORMATS if formats else None)

    def problems(self, document: object) -> list[Problem]:
        """
        Every way in which *document* does not fit the schema, up to ``MAX_PROBLEMS``.

        Returns:
            In document order; what is missing from an object comes before what is wrong in it.
        """
        errors: Iterator[ValidationError] = self._validator.iter_errors(document)
        found = [_problem(error) for error in islice(errors, MAX_PROBLEMS)]
        return sorted(found, key=_Places(document)) if len(found) > 1 else found


def without_effect(schema: Schema, why: str) -> dict[str, Any]:
    """The schema of a setting that is accepted and has no effect, because *why*."""
    return {**schema, "description": f"Accepted; {why}.", "x-unused": why}


def unused_members(schema: Schema, config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Settings that say something else than their default and have no effect: their names, and why."""
    found = []
    for name, member in _properties(schema).items():
        why = member.get("x-unused") if isinstance(member, Mapping) else None
        if why is not None and name in config and config[name] != member.get("default"):
            found.append((name, why))
    return found


def enterprise_required(schema: Schema) -> list[str]:
    """Names of the members that writers of the enterprise dialect must give though they have a default."""
    properties: Mapping[str, Any] = schema.get("properties", {})
    return [name for name, member in properties.items() if member.get("x-enterprise-required")]


def without_defaults(schema: Schema) -> dict[str, Any]:
    """A copy of *schema* that announces no default, at any depth."""

    def strip(value: Any) -> Any:
        if isinstance(value, list):
            return [strip(item) for item in value]
        if not isinstance(value, Mapping):
            return value
        stripped = {
            name: strip(member) for name, member in value.items() if name not in (*_DEFAULTS, "properties")
        }
        if "properties" in value:
            # The names in here are members of the document: one may be called "default".
            stripped["properties"] = {name: strip(member) for name, member in value["properties"].items()}
        return stripped

    result: dict[str, Any] = strip(schema)
    return result


def _properties(schema: Schema) -> Mapping[str, Any]:
    own: Mapping[str, Any] = schema.get("properties", {})
    parts = schema.get("allOf")
    if not parts:
        return own
    found = dict(own)
    for part in parts:
        if isinstance(part, Mapping):
            found.update(_properties(part))
    return found


def _fill(schema: Schema, value: Any, objects_too: bool, keywords: Sequence[str] = _DEFAULTS) -> Any:
    if isinstance(value, dict):
        filled = dict(value)
        for name, member in _properties(schema).items():
            if not isinstance(member, Mapping):
                continue
            if name in filled:
                filled[name] = _fill(member, filled[name], objects_too, keywords)
                continue
            for keyword in keywords:
                if keyword in member and (objects_too or not isinstance(member[keyword], (dict, list))):
                    filled[name] = copy.deepcopy(member[keyword])
        return filled
    if isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        return [_fill(schema["items"], item, objects_too, keywords) for item in value]
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


def fill_any(schema: Schema, value: Any) -> Any:
    """
    Add every ``default`` of a schema that is not ours: to any value, whether it fits or not.

    Returns:
        The value, as far as it is changed a copy.
    """
    return _fill(schema, value, objects_too=True, keywords=("default",))


def announces_default(schema: object) -> bool:
    """Whether ``fill_any`` may find something to add."""
    if not isinstance(schema, Mapping):
        return False
    members = [member for member in _properties(schema).values() if isinstance(member, Mapping)]
    return any("default" in member or announces_default(member) for member in members) or announces_default(
        schema.get("items")
    )
