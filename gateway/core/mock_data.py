"""Made-up values that fit a JSON Schema: what a service that does not exist yet might answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any
from xml.sax.saxutils import escape

MAX_VALUES = 10_000
"""Values in one document; what would come after them is null."""
MAX_DEPTH = 32
"""How deep they may be nested; what would be deeper is null."""
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Generator:
    """Makes one document."""

    def __init__(self, random: Callable[[], float]) -> None:
        """
        Args:
            random: A number from 0 to 1, 1 excluded.
        """
        self._random = random
        self._left = MAX_VALUES

    def value(self, schema: Any, depth: int = 0) -> Any:
        """
        A value that fits *schema*, as far as it says a type.

        Args:
            schema: ``example`` (or ``default``, ``const``, ``enum``) is honoured, unless it is of another
                type (of an integer the fraction is cut), else ``type``; without it the presence of
                ``properties`` or ``items`` tells. What is none of these is null.
        """
        self._left -= 1
        if not isinstance(schema, Mapping) or self._left < 0 or depth > MAX_DEPTH:
            return None
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = kind[0] if kind else None
        if "example" in schema and _is_of(kind, schema["example"]):
            return math.floor(schema["example"]) if kind == "integer" else schema["example"]
        for keyword in ("const", "default"):
            if keyword in schema:
                return schema[keyword]
        choices = schema.get("enum")
        if isinstance(choices, list) and choices:
            return choices[int(self._random() * len(choices))]
        if kind is None:
            kind = "object" if "properties" in schema else "array" if "items" in schema else None
        match kind:
            case "object":
                members = schema.get("properties")
                if not isinstance(members, Mapping):
                    return {}
                return {str(name): self.value(member, depth + 1) for name, member in members.items()}
            case "array":
                items = schema.get("items")
                if items is None:
                    return []
                return [self.value(items, depth + 1) for _ in range(self._whole(1, 3))]
            case "string":
                return "".join(
                    [_LETTERS[self._whole(0, len(_LETTERS) - 1)] for _ in range(self._whole(1, 10))]
                )
            case "integer":
                return self._whole(*self._limits(schema))
            case "number":
                low, high = self._limits(schema)
                return round(low + self._random() * (high - low), 2)
            case "boolean":
                return self._random() < 0.5
        return None

    def _whole(self, low: int, high: int) -> int:
        return low + int(self._random() * (high - low + 1))

    @staticmethod
    def _limits(schema: Mapping[str, Any]) -> tuple[int, int]:
        low, high = schema.get("minimum", 1), schema.get("maximum")
        low = int(low) if isinstance(low, int | float) and abs(low) < 1e15 else 1
        high = int(high) if isinstance(high, int | float) and abs(high) < 1e15 else low + 9999
        return low, max(low, high)


def _is_of(kind: object, example: object) -> bool:
    """Whether an example is of the type it is for; lists, objects and what has no type may be anything."""
    match kind:
        case "string":
            return isinstance(example, str)
        case "boolean":
            return isinstance(example, bool)
        case "integer" | "number":
            return (
                isinstance(example, int | float)
                and not isinstance(example, bool)
                and abs(example) != math.inf
            )
    return True


def to_xml(value: Any, name: str = "data") -> str:
    """
    A generated value as an XML element.

    Args:
        name: The element's. Characters that names cannot have become ``_``; lists repeat the element.
    """
    tag = "".join([char if char.isalnum() or char in "_-." else "_" for char in name])
    if not tag or not (tag[0].isalpha() or tag[0] == "_"):
        tag = f"_{tag}"
    if isinstance(value, list):
        return "".join([to_xml(item, name) for item in value])
    if isinstance(value, Mapping):
        inner = "".join([to_xml(member, str(key)) for key, member in value.items()])
    elif isinstance(value, bool):
        inner = "true" if value else "false"
    else:
        inner = "" if value is None else escape(str(value))
    return f"<{tag}>{inner}</{tag}>"
