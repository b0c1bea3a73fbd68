"""Strict reading of JSON text from the network, and writing of JSON answers.

Anything two readers could understand differently is refused: duplicate members, ``NaN``, lone
surrogates, numbers without an exact meaning. What is accepted can be stored and sent again.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

MAX_DEPTH = 64
MAX_INTEGER = 2**63 - 1
_MAX_EXACT_FLOAT = 2.0**53


class BadJSON(ValueError):
    """The text is not acceptable; the words are for the user and hold nothing of the text but names."""


def _constant(name: str) -> NoReturn:
    raise BadJSON(f"{name} is not a JSON value")


def _integer(text: str) -> int:
    if len(text) > 20 or not -MAX_INTEGER - 1 <= (value := int(text)) <= MAX_INTEGER:
        raise BadJSON("an integer is out of range: 64 bits are the limit")
    return value


def _number(text: str) -> int | float:
    value = float(text)
    if math.isinf(value):
        raise BadJSON("a number is out of range")
    # 2.0 and 2 are one number in JSON; as an int it is safe wherever a schema says "integer".
    return int(value) if value.is_integer() and abs(value) <= _MAX_EXACT_FLOAT else value


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise BadJSON(f"duplicate member {json.dumps(name[:64])}")
            seen.add(name)
    return members


def is_deeper(value: Any, limit: int) -> bool:
    """Whether more than *limit* objects and arrays stand inside each other. Never recurses."""
    level = [value]
    for _ in range(limit):
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below.extend(v for v in item.values() if isinstance(v, (dict, list)))
            elif isinstance(item, list):
                below.extend(v for v in item if isinstance(v, (dict, list)))
        if not below:
            return False
        level = below
    return True


_DECODER = json.JSONDecoder(
    object_pairs_hook=_members, parse_constant=_constant, parse_int=_integer, parse_float=_number
)


def read_json(raw: bytes, *, max_depth: int = MAX_DEPTH) -> Any:
    """
    Read one JSON text.

    Args:
        raw: UTF-8 text, as received.
        max_depth: How many objects and arrays may stand inside each other.
    Returns:
        Any JSON value. Whole numbers come as int, even if written ``2.0``.
    Raises:
        BadJSON: it is empty, not UTF-8, not JSON, ambiguous, too deep, or holds a number that
            does not fit 64 bits.
    Source:
        RFC 8259, with the limits and the uniqueness of names that RFC 7493 (I-JSON) asks for.
    """
    if not raw.strip(b" \t\r\n"):
        raise BadJSON("empty request body")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadJSON(f"not UTF-8 at byte {error.start}") from None
    if text.startswith("\ufeff"):
        raise BadJSON("a byte order mark is not allowed")
    start = len(text) - len(text.lstrip(" \t\r\n"))
    try:
        value, end = _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        raise BadJSON(f"{error.msg} at line {error.lineno} column {error.colno}") from None
    except RecursionError:
        raise BadJSON(f"nested deeper than {max_depth} levels") from None
    if text[end:].strip(" \t\r\n"):
        raise BadJSON(f"text after the JSON value at character {end + 1}")
    if text.count("{") + text.count("[") > max_depth and is_deeper(value, max_depth):
        raise BadJSON(f"nested deeper than {max_depth} levels")
    if "\\u" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            raise BadJSON("a string holds half of a surrogate pair") from None
    return value


def read_object(raw: bytes) -> dict[str, Any]:
    """As ``read_json``, and the value must be an object."""
    value = read_json(raw)
    if not isinstance(value, dict):
        raise BadJSON("an object is needed")
    return value


def write_json(value: object) -> bytes:
    """The UTF-8 text of *value*, with a line end."""
    return (
        json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode(
            "utf-8", "replace"
        )
        + b"\n"
    )
