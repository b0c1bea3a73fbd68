"""What every store checks and does to a commit before it writes: one JSON text a document, or none at all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import field, frozen

from gateway.model.record import Change, Key

MAX_DEPTH = 200
"""How deep arrays and objects may stand inside each other; deeper documents are refused."""

_TOO_DEEP = f"it is nested deeper than {MAX_DEPTH} levels"
_MAX_AT = 1e12


@frozen
class Draft:
    """
    One change, ready to be written.

    Attributes:
        text: The document as JSON, ASCII only; None removes the resource.
    """

    group: str
    kind: str
    id: str
    dialect: str
    text: str | None = field(repr=False)

    @property
    def key(self) -> Key:
        return (self.group, self.kind, self.id)

    def change(self) -> Change:
        """The change anew; its document shares nothing with the writer's."""
        value = None if self.text is None else decode(self.text)
        return Change(self.group, self.kind, self.id, value, self.dialect)


def name(key: Key) -> str:
    """Spell a key for people: ``group/kind/id``, or ``kind/id`` for what belongs to no group."""
    return "/".join(part for part in key if part)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} has no place in JSON")


def _check_shape(value: object) -> None:
    level: list[object] = [value]
    for _ in range(MAX_DEPTH):
        below: list[object] = []
        for item in level:
            if isinstance(item, Mapping):
                if not all(isinstance(key, str) for key in item):
                    raise ValueError("a member's name is not text")
                below.extend(item.values())
            elif isinstance(item, (list, tuple)):
                below.extend(item)
        if not below:
            return
        level = below
    raise ValueError(_TOO_DEEP)


def encode(value: Mapping[str, Any]) -> str:
    """
    Write a document as JSON.

    Args:
        value: Objects, arrays, text, numbers, booleans and null. Integers of any size and
            finite floats are kept exactly; tuples become arrays.
    Returns:
        ASCII text: characters beyond that are escaped, so no file encoding can hurt them.
    Raises:
        ValueError: it is not JSON, not finite, not a tree, or nested deeper than ``MAX_DEPTH``.
    """
    try:
        text = json.dumps(value, allow_nan=False, separators=(",", ":"), default=_plain)
    except TypeError as error:
        raise ValueError(str(error)) from None
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    _check_shape(value)  # last: json.dumps has seen to it that there are no cycles
    return text


def decode(text: str) -> dict[str, Any]:
    """
    Read a document that ``encode`` wrote.

    Raises:
        ValueError: it is no JSON object.
    """
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("it is not a JSON object")
    return value


def _check_text(what: str, text: object) -> None:
    if not isinstance(text, str):
        raise ValueError(f"{what} must be text, got {type(text).__name__}")
    text.encode("utf-8")  # a lone surrogate can be stored nowhere; UnicodeEncodeError is a ValueError


def draft(changes: Sequence[Change], author: str, reason: str | None, at: float) -> tuple[Draft, ...]:
    """
    Check a commit as far as that needs no store, and write its documents as text.

    The texts are taken at once, so a writer that changes its objects afterwards changes nothing here.

    Raises:
        ValueError: there are no changes, a key comes twice, or something cannot be stored.
    """
    if not changes:
        raise ValueError("a commit needs at least one change")
    _check_text("the author", author)
    if reason is not None:
        _check_text("the reason", reason)
    if not 0 <= at < _MAX_AT:
        raise ValueError(f"the time of a commit must be Unix seconds, got {at!r}")
    drafts: dict[Key, Draft] = {}
    for change in changes:
        for part in (*change.key, change.dialect):
            _check_text("each part of a key", part)
        if change.key in drafts:
            raise ValueError(f"{name(change.key)} comes twice in one commit")
        try:
            text = None if change.value is None else encode(change.value)
        except ValueError as error:
            raise ValueError(f"{name(change.key)} cannot be stored: {error}") from None
        drafts[change.key] = Draft(change.group, change.kind, change.id, change.dialect, text)
    return tuple(drafts.values())


def check_page(limit: int) -> None:
    """Raise ValueError unless *limit* asks for at least one revision."""
    if limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}")
