"""The strict gate in front of every token: bytes in, a parsed JWS or a refusal out.

Nothing here uses a key. What passes is a compact JWS (RFC 7515 section 7.1) whose header and
payload are well-formed JSON objects of bounded size; the signature is still to be checked.
"""

from __future__ import annotations

import binascii
import json
import math
import re
from typing import Any

from attrs import field, frozen

MAX_TOKEN_BYTES = 16384
"""A longer token is refused before anything of it is read."""
MAX_JSON_DEPTH = 32
"""Objects and arrays may be nested this deep in a header or payload."""
EXCERPT_CHARACTERS = 32
"""How much of a client's own text a log-only detail repeats."""

_NOT_BASE64URL = re.compile(rb"[^A-Za-z0-9_-]")
_TO_BASE64 = bytes.maketrans(b"-_", b"+/")
# A last character whose unused low bits are not zero would give one value several spellings.
_PADDING = {0: b"", 2: b"==", 3: b"="}
_LAST_OF = {2: frozenset(b"AQgw"), 3: frozenset(b"AEIMQUYcgkosw048")}

_STRINGS_AND_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.?)*+(?:"|\Z)|[\[{]|[\]}]', re.DOTALL)
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")


@frozen
class Refusal:
    """
    Why a token does not count.

    Attributes:
        reason: The reason code.
        detail: More words for the log; never for the client.
    """

    reason: str
    detail: str


@frozen
class Token:
    """
    A compact JWS, taken apart but not verified.

    Attributes:
        header, claims: Its header and its payload.
        signing_input: The bytes that are signed, as received (RFC 7515 section 5.2 step 8).
        signature: The signature; None if it is not base64url.
    """

    header: dict[str, Any]
    claims: dict[str, Any]
    signing_input: bytes = field(repr=False)
    signature: bytes | None = field(repr=False)


def excerpt(text: bytes | str) -> str:
    """The beginning of a client's text, safe to print on one line: printable ASCII, the rest escaped."""
    start = text[:EXCERPT_CHARACTERS]
    if isinstance(start, bytes):
        start = start.decode("latin-1")
    printable = start.encode("unicode_escape").decode("ascii")
    return printable if len(text) <= EXCERPT_CHARACTERS else printable + "..."


def decode_segment(segment: bytes) -> bytes | None:
    """
    Decode unpadded base64url, in its one canonical spelling.

    Returns:
        The bytes, or None if there is a character outside the alphabet (padding and white space
        included), an impossible length, or a non-zero unused bit.
    Source:
        RFC 7515 section 2; RFC 4648 sections 3.5 and 5.
    """
    rest = len(segment) % 4
    padding = _PADDING.get(rest)
    if padding is None or _NOT_BASE64URL.search(segment):
        return None
    if rest and segment[-1] not in _LAST_OF[rest]:
        return None
    return binascii.a2b_base64(segment.translate(_TO_BASE64) + padding)


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member name occurs twice")
    return members


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("a number is out of range")
    return number


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_members, parse_float=_finite, parse_constant=_no_constant)


def _depth(text: bytes) -> int:
    depth = deepest = 0
    for match in _STRINGS_AND_BRACKETS.finditer(text):
        character = match[0][:1]
        if character in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in b"]}":
            depth -= 1
    return deepest


def strict_object(text: bytes) -> dict[str, Any]:
    """
    Read a JSON object, leaving no room for two readings.

    Args:
        text: UTF-8; the caller bounds its size.
    Returns:
        A new dict, all of the caller's own.
    Raises:
        ValueError: it is not UTF-8, not JSON, not an object, or nested too deep; a member name occurs
            twice; a number is NaN, infinite or has thousands of digits; a string holds a lone surrogate.
    Source:
        RFC 7515 section 4 and RFC 7519 section 4 (duplicate names); RFC 8259; RFC 7493 section 2.
    """
    if text.count(b"[") + text.count(b"{") > MAX_JSON_DEPTH and _depth(text) > MAX_JSON_DEPTH:
        raise ValueError("nested too deep")
    try:
        value = _DECODER.decode(text.decode("utf-8"))
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(value, dict):
        raise ValueError("not an object")
    if _SURROGATE_ESCAPE.search(text):
        # Raises UnicodeEncodeError, a ValueError, for a surrogate without its other half.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


def _segment(name: str, segment: bytes) -> dict[str, Any] | Refusal:
    text = decode_segment(segment)
    if text is not None:
        try:
            return strict_object(text)
        except ValueError:
            pass
    return Refusal("jwt_malformed", f"invalid {name}: {excerpt(segment)}")


def parse(text: bytes) -> Token | Refusal:
    """
    Take a compact JWS apart.

    Args:
        text: The token as received, without scheme; any bytes.
    Returns:
        The token, or a refusal with the reason ``jwt_malformed`` or ``jwt_crit_unsupported``.
        A signature that is not base64url is no refusal here: it just never verifies.
    Raises:
        Nothing.
    Source:
        RFC 7515 sections 4.1.11, 5.2 and 7.1; RFC 7797; jwt-auth contract §5.1.
    """
    if len(text) > MAX_TOKEN_BYTES:
        return Refusal("jwt_malformed", f"invalid jwt string: over {MAX_TOKEN_BYTES} bytes")
    parts = text.split(b".", 3)
    if len(parts) != 3 or not all(parts):
        return Refusal("jwt_malformed", "invalid jwt string")
    header = _segment("header", parts[0])
    if isinstance(header, Refusal):
        return header
    if "crit" in header:
        return Refusal("jwt_crit_unsupported", "the header has crit; no extension is understood")
    if header.get("b64", True) is not True:
        return Refusal("jwt_crit_unsupported", "the header has b64; unencoded payloads are not supported")
    claims = _segment("payload", parts[1])
    if isinstance(claims, Refusal):
        return claims
    return Token(header, claims, text[: len(parts[0]) + 1 + len(parts[1])], decode_segment(parts[2]))
