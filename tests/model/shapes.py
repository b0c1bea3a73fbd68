"""What the tests of resource schemas share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gateway.model.schema import Checker, Schema

NODE: dict[str, Any] = {"host": "a.test", "port": 80, "weight": 1}
UPSTREAM_DEFAULTS: dict[str, Any] = {
    "name": "default",
    "scheme": "http",
    "type": "roundrobin",
    "hash_on": "vars",
    "pass_host": "pass",
    "retry_timeout": 0,
    "nodes": [{"priority": 0}],
    "timeout": {"connect": 60, "send": 60, "read": 60},
    "keepalive_pool": {"size": 320, "idle_timeout": 60, "requests": 1000},
    "discovery_args": {},
}
"""What the enterprise gateway announces of an HTTP service's upstream (Admin API contract §6.4)."""


def faults(schema: Schema, document: object) -> list[tuple[str, str]]:
    """(JSON pointer, rule) of every problem."""
    return [(problem.pointer, problem.rule) for problem in Checker(schema).problems(document)]


def refused(schema: Schema, base: Mapping[str, Any], member: str, values: Iterable[Any]) -> list[Any]:
    """Those of *values* that *base* must not have as its *member*."""
    checker = Checker(schema)
    return [value for value in values if checker.problems({**base, member: value})]


def announced(schema: Schema) -> Any:
    """
    The defaults a client finds in a published schema.

    Such a client reads ``properties``, merged ``allOf`` and the items of arrays; it knows no
    keyword but those of JSON Schema.
    """
    if schema.get("type") == "array":
        found = announced(schema.get("items", {}))
        return [found] if found else None
    if "default" in schema:
        return schema["default"]
    members = dict(schema.get("properties", {}))
    for part in schema.get("allOf", ()):
        members.update(part.get("properties", {}))
    found = {name: announced(member) for name, member in members.items()}
    return {name: value for name, value in found.items() if value is not None} or None
