"""Changes to a JSON document: JSON Patch and JSON Merge Patch. Pure values in, a new value out."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.admin.json_text import MAX_DEPTH, is_deeper

MAX_OPERATIONS = 1000
_INDEX = re.compile(r"0|[1-9][0-9]{0,9}")
_BAD_ESCAPE = re.compile(r"~(?![01])")


class PatchError(ValueError):
    """
    A patch cannot be applied; nothing of it was.

    Attributes:
        index: The operation that failed, counted from 0; None if the patch as a whole is wrong.
        reason: Why, in words for the user.
    """

    def __init__(self, index: int | None, reason: str) -> None:
        self.index = index
        self.reason = reason
        super().__init__(reason if index is None else f"operation {index}: {reason}")


class _Failed(Exception):
    """One operation failed; the text says why."""


def parse_pointer(text: str) -> tuple[str, ...]:
    """
    Split a JSON Pointer into its reference tokens.

    Raises:
        ValueError: it neither is empty nor starts with ``/``, or has a ``~`` without 0 or 1.
    Source:
        RFC 6901 section 3 and 4.
    """
    if text == "":
        return ()
    if not text.startswith("/"):
        raise ValueError("a pointer starts with a slash")
    if _BAD_ESCAPE.search(text):
        raise ValueError("in a pointer ~ is followed by 0 or 1")
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in text[1:].split("/"))


def _index(token: str, length: int) -> int:
    if not _INDEX.fullmatch(token):
        raise _Failed(f'"{token[:64]}" is not an array index')
    if int(token) >= length:
        raise _Failed(f"index {token} is past the end of the array")
    return int(token)


def _step(value: Any, token: str) -> Any:
    if isinstance(value, dict):
        if token not in value:
            raise _Failed(f'there is no member "{token[:64]}"')
        return value[token]
    if isinstance(value, list):
        return value[_index(token, len(value))]
    raise _Failed(f'there is nothing below a value that is no object or array ("{token[:64]}")')


def _find(document: Any, path: Sequence[str]) -> Any:
    for token in path:
        document = _step(document, token)
    return document


def _fit(path: Sequence[str], value: Any) -> None:
    # Copies of copies could nest without end; every later walk may then trust the depth.
    if is_deeper(value, max(0, MAX_DEPTH - len(path))):
        raise _Failed(f"the document would be nested deeper than {MAX_DEPTH} levels")


def _add(document: Any, path: Sequence[str], value: Any) -> Any:
    _fit(path, value)
    if not path:
        return value
    parent = _find(document, path[:-1])
    last = path[-1]
    if isinstance(parent, dict):
        parent[last] = value
    elif isinstance(parent, list):
        parent.insert(len(parent) if last == "-" else _index(last, len(parent) + 1), value)
    else:
        raise _Failed("the target's parent is no object or array")
    return document


def _remove(document: Any, path: Sequence[str]) -> Any:
    if not path:
        raise _Failed("the whole document cannot be removed")
    parent = _find(document, path[:-1])
    _step(parent, path[-1])
    if isinstance(parent, dict):
        del parent[path[-1]]
    else:
        del parent[int(path[-1])]
    return document


def _replace(document: Any, path: Sequence[str], value: Any) -> Any:
    _fit(path, value)
    if not path:
        return value
    parent = _find(document, path[:-1])
    _step(parent, path[-1])
    parent[path[-1] if isinstance(parent, dict) else int(path[-1])] = value
    return document


def equal(left: Any, right: Any) -> bool:
    """
    Whether two JSON values are the same: ``true`` is not ``1``, ``1`` is ``1.0``.

    Source:
        RFC 6902 section 4.6.
    """
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(equal(left[name], right[name]) for name in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(equal, left, right))
    return type(left) is not dict and type(right) is not dict and bool(left == right)


def _pointer(operation: Mapping[str, Any], name: str) -> tuple[str, ...]:
    text = operation.get(name)
    if not isinstance(text, str):
        raise _Failed(f'member "{name}" with a JSON Pointer is needed')
    try:
        return parse_pointer(text)
    except ValueError as error:
        raise _Failed(f'"{name}": {error}') from None


def _value(operation: Mapping[str, Any]) -> Any:
    if "value" not in operation:
        raise _Failed('member "value" is needed')
    return copy.deepcopy(operation["value"])


def _apply(document: Any, operation: object) -> Any:
    if not isinstance(operation, dict):
        raise _Failed("an operation is an object")
    path = _pointer(operation, "path")
    match operation.get("op"):
        case "add":
            return _add(document, path, _value(operation))
        case "remove":
            return _remove(document, path)
        case "replace":
            return _replace(document, path, _value(operation))
        case "copy":
            return _add(document, path, copy.deepcopy(_find(document, _pointer(operation, "from"))))
        case "move":
            source = _pointer(operation, "from")
            if path != source and path[: len(source)] == source:
                raise _Failed("a value cannot be moved into itself")
            moved = _find(document, source)
            return document if path == source else _add(_remove(document, source), path, moved)
        case "test":
            if not equal(_find(document, path), _value(operation)):
                raise _Failed("the value is another than the one tested for")
            return document
    raise _Failed('"op" is one of add, remove, replace, move, copy, test')


def json_patch(document: Any, operations: Sequence[object], *, max_size: int = 4_000_000) -> Any:
    """
    Apply a JSON Patch.

    Args:
        document: A JSON value; it is not changed.
        operations: The patch: all of it is applied, or nothing.
        max_size: How many values and characters the result may hold; repeated ``copy`` would
            double a document.
    Returns:
        The new value.
    Raises:
        PatchError: an operation cannot be applied, a ``test`` failed, or there are too many.
    Source:
        RFC 6902.
    """
    if len(operations) > MAX_OPERATIONS:
        raise PatchError(None, f"at most {MAX_OPERATIONS} operations are allowed")
    result = copy.deepcopy(document)
    for index, operation in enumerate(operations):
        try:
            result = _apply(result, operation)
        except _Failed as error:
            raise PatchError(index, str(error)) from None
        if (
            isinstance(operation, dict)
            and operation.get("op") == "copy"
            and _size(result, max_size) > max_size
        ):
            raise PatchError(index, "the document would grow too large")
    return result


def _size(value: Any, limit: int) -> int:
    waiting, count = [value], 0
    while waiting and count <= limit:
        item = waiting.pop()
        count += 1
        if isinstance(item, str):
            count += len(item)
        elif isinstance(item, dict):
            count += sum(map(len, item))
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
    return count


def merge_patch(document: Any, patch: Any) -> Any:
    """
    Apply a JSON Merge Patch: ``null`` removes a member, objects merge, all else replaces.

    Args:
        document: A JSON value; it is not changed.
    Source:
        RFC 7396 section 2.
    """
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(document) if isinstance(document, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged
