"""Paths into JSON documents: as much of JSONPath (RFC 9535) as names values, no filters.

``a.b``, ``$.a['b c'][0]``, ``items[*].id``, ``$..groups``. Names and places follow each other; ``[*]`` and
``*`` are every member, ``..`` is at any depth.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from attrs import frozen

MAX_FOUND = 10_000
"""Values that one path finds, and values it looks at for each ``..``."""

_STEP = re.compile(
    r"(?:(?P<deep>\.\.)|\.)?(?:(?P<name>[^.\[\]]+)|\[(?P<index>[0-9]{1,9})\]|\[(?P<every>\*)\]"
    r"|\[['\"](?P<quoted>[^'\"]*)['\"]\])"
)


@frozen
class JsonPath:
    """
    A path.

    Attributes:
        steps: Whether it is at any depth, and the member's name, its place in a list, or None for every one.
    """

    steps: tuple[tuple[bool, str | int | None], ...]

    @classmethod
    def parse(cls, text: str) -> JsonPath:
        """
        Read a path; a leading ``$`` is the document.

        Raises:
            ValueError: it is none.
        """
        text = text.removeprefix("$")
        steps: list[tuple[bool, str | int | None]] = []
        end = 0
        for found in _STEP.finditer(text):
            if found.start() != end:
                break
            end = found.end()
            name = found["name"] if found["name"] is not None else found["quoted"]
            key: str | int | None
            if name is not None:
                key = None if found["name"] == "*" else name
            else:
                key = None if found["every"] else int(found["index"])
            steps.append((found["deep"] is not None, key))
        if end != len(text):
            raise ValueError(f"{text[:100]!r} is no path to a value")
        return cls(tuple(steps))

    @property
    def several(self) -> bool:
        """Whether it may find more than one value."""
        return any(deep or key is None for deep, key in self.steps)

    def find(self, document: Any) -> list[Any]:
        """Every value there is, in document order; ``MAX_FOUND`` at most."""
        values = [document]
        for deep, key in self.steps:
            if deep:
                values = list(_descendants(values))
            values = [one for value in values for one in _members(value, key)][:MAX_FOUND]
        return values


def _members(value: Any, key: str | int | None) -> Sequence[Any]:
    if isinstance(value, dict):
        if key is None:
            return list(value.values())
        return [value[key]] if key in value else ()
    if isinstance(value, list):
        if key is None:
            return value
        return [value[key]] if isinstance(key, int) and key < len(value) else ()
    return ()


def _descendants(values: list[Any]) -> Iterator[Any]:
    waiting = values[::-1]
    left = MAX_FOUND
    while waiting and left:
        left -= 1
        value = waiting.pop()
        yield value
        if isinstance(value, dict):
            waiting.extend(list(value.values())[::-1])
        elif isinstance(value, list):
            waiting.extend(value[::-1])
