"""From our schemas, which are draft 7, to those of OpenAPI 3.1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Node = dict[str, Any]


def converted(schema: Any) -> Any:
    """
    A draft 7 schema in the words of JSON Schema 2020-12, which OpenAPI 3.1 uses.

    Keywords of our own become standard ones, or go.
    """
    if isinstance(schema, list | tuple):
        return [converted(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    made: Node = {}
    for name, value in schema.items():
        if name == "properties":
            made[name] = {member: converted(inner) for member, inner in value.items()}
        elif name in ("default", "enum", "const", "example", "examples", "required"):
            made[name] = value
        elif name == "dependencies":
            for member, needed in value.items():
                word = "dependentRequired" if isinstance(needed, list) else "dependentSchemas"
                made.setdefault(word, {})[member] = converted(needed)
        elif name not in ("x-or", "x-default", "x-unused"):
            made[name] = converted(value)
    if "x-or" in schema:
        return {"anyOf": [made, converted(schema["x-or"])]}
    return made
