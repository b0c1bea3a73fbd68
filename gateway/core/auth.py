"""What auth plugins share: finding a credential in a request, hiding it, refusing, falling back.

Whatever is hidden is cut out of the received bytes; what stays is not re-encoded.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from attrs import frozen

from gateway.core.consumers import Identity, attach
from gateway.core.exchange import Exchange, Reply
from gateway.core.fields import Pair
from gateway.core.reasons import AUTH_ANONYMOUS_MISSING

FAILURE = "auth_failure"
"""In ``Exchange.context``: why a request goes on as the anonymous consumer; a reason code."""
REDACTED_ARGS = "redacted_args"
"""In ``Exchange.context``: a set of names of query arguments whose values no log may show."""

HIDE_CREDENTIALS: dict[str, Any] = {
    "type": "boolean",
    "default": False,
    "description": "Remove the credential from the request before it is sent upstream.",
}
ANONYMOUS_CONSUMER: dict[str, Any] = {
    "type": "string",
    "minLength": 1,
    "description": "Username of the consumer that requests count for when authentication fails.",
}

# To look for in bytes: other bytes would be taken for a number first, which costs an exception each time.
_QUESTION_MARK = ord("?")
_REALM = re.compile(r"[ !#-\[\]-~]{1,128}")


def realm_schema(default: str) -> dict[str, Any]:
    """
    The schema of ``realm``: 1 to 128 printable ASCII characters, no ``"`` and no backslash.

    Source:
        Plugin contract §0; RFC 9110 section 11.5.
    """
    return {
        "type": "string",
        "minLength": 1,
        "maxLength": 128,
        # Python's "$" also matches before a final line break, hence the look-ahead.
        "pattern": r"^[ !#-\[\]-~]+$(?!\n)",
        "default": default,
        "description": "The protection space that WWW-Authenticate names.",
    }


def challenge(scheme: str, realm: str) -> tuple[Pair, ...]:
    """
    The fields of a 401 answer.

    Args:
        scheme: The auth scheme, as it is to be spelt.
    Raises:
        ValueError: *realm* could not stand in a quoted string (it may come from a reference, which no
            schema has seen).
    Source:
        RFC 9110 sections 11.6.1 and 15.5.2.
    """
    if not _REALM.fullmatch(realm):
        raise ValueError("realm must be 1 to 128 printable ASCII characters without quotes and backslashes")
    return ((b"www-authenticate", f'{scheme} realm="{realm}"'.encode("ascii")),)


def field_name(text: str) -> bytes:
    """A field name from the configuration as ``Fields`` spells it."""
    return text.lower().encode("utf-8", "surrogatepass")


def _decoded(text: bytes) -> bytes:
    if b"%" not in text and b"+" not in text:
        return text
    return unquote_to_bytes(text.replace(b"+", b" "))


def _argument_name(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def query_values(query: bytes, name: str) -> list[bytes | None]:
    """
    Every value that the query argument *name* has, in order.

    Args:
        query: Without ``?``. name: Decoded.
    Returns:
        Values with percent-encoding and ``+`` decoded; None for an argument without ``=``.
    Source:
        WHATWG URL, application/x-www-form-urlencoded parsing.
    """
    wanted = _argument_name(name)
    found: list[bytes | None] = []
    for argument in query.split(b"&"):
        raw, equals, value = argument.partition(b"=")
        if argument and (raw == wanted or _decoded(raw) == wanted):
            found.append(_decoded(value) if equals else None)
    return found


def redact_argument(exchange: Exchange, name: str) -> None:
    """
    Have logs mask the query argument *name*, if there is a query: a credential may stand there.

    It need not be the one that counts. A key in the query beside one in a field is a key all the same.
    """
    if _QUESTION_MARK in exchange.request.target:
        exchange.context.setdefault(REDACTED_ARGS, set()).add(name)


def hide_argument(exchange: Exchange, name: str) -> None:
    """Cut every query argument *name* out of the target to be sent; the others stay as they are."""
    path, mark, query = exchange.target.partition(b"?")
    if not mark:
        return
    wanted = _argument_name(name)
    arguments = query.split(b"&")
    kept = [part for part in arguments if not part or _decoded(part.partition(b"=")[0]) != wanted]
    if len(kept) != len(arguments):
        rest = b"&".join(kept)
        exchange.target = path + mark + rest if rest else path


def cookie_value(exchange: Exchange, name: str) -> bytes | None:
    """The cookie *name*, as received; None if there is none. Of several the first counts."""
    value = exchange.cookies().get(_cookie_name(name))
    return None if value is None else value.encode("latin-1")


def _cookie_name(name: str) -> str:
    return name.encode("utf-8", "surrogatepass").decode("latin-1")


def hide_cookie(exchange: Exchange, name: str) -> None:
    """Cut every cookie *name* out of the request to be sent; the others stay as they are."""
    wanted = _cookie_name(name)
    pairs: list[Pair] = []
    for field, line in exchange.fields:
        if field != b"cookie":
            pairs.append((field, line))
            continue
        # Latin-1 text, so that names are told apart just as Exchange.cookies does it.
        cookies = line.decode("latin-1").split(";")
        kept = [cookie for cookie in cookies if not _is_cookie(cookie, wanted)]
        if len(kept) == len(cookies):
            pairs.append((field, line))
        elif rest := ";".join(kept).strip():
            pairs.append((field, rest.encode("latin-1")))
    exchange.fields.pairs = pairs
    exchange.forget_cookies()


def _is_cookie(cookie: str, wanted: str) -> bool:
    name, equals, _ = cookie.strip().partition("=")
    return bool(equals) and name == wanted


def anonymous(
    exchange: Exchange, username: str, failure: Reply, challenge_fields: tuple[Pair, ...]
) -> Reply | None:
    """
    Let a request that failed go on as the anonymous consumer.

    Args:
        username: The consumer's name. failure: What would have been answered.
        challenge_fields: From ``challenge``.
    Returns:
        None if the consumer is attached, else the 401 that says there is no such consumer.
    Source:
        Plugin contract §0; jwt-auth contract §7.
    """
    consumer = exchange.snapshot.consumers.get(username)
    if consumer is None:
        return Reply.json(
            401,
            {"message": "Invalid user authorization"},
            fields=challenge_fields,
            reason=AUTH_ANONYMOUS_MISSING,
            detail=f"failed to get anonymous consumer {username}",
        )
    exchange.context[FAILURE] = failure.reason
    attach(exchange, Identity(consumer, None, None))
    return None


def decode_base64(text: bytes) -> bytes:
    """
    Decode base64 as clients send it: some leave the padding out.

    Raises:
        ValueError: *text* has other characters, or padding within.
    Source:
        RFC 4648 sections 3.2 and 4.
    """
    text = text.rstrip(b"=")
    return binascii.a2b_base64(text + b"=" * (-len(text) % 4), strict_mode=True)


def parse_basic(value: bytes) -> tuple[str, bytes] | None:
    """
    Read Basic credentials from an ``Authorization`` field.

    Returns:
        The user name, in which bytes that are not UTF-8 are surrogate escapes, and the password, which may
        hold colons and spaces; None if it is of another scheme, not base64, or without a colon.
    Source:
        RFC 7617 section 2; RFC 9110 section 11.1: schemes are case-insensitive.
    """
    scheme, _, encoded = value.partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        user, colon, password = decode_base64(encoded.strip(b" \t")).partition(b":")
    except ValueError:
        return None
    return (user.decode("utf-8", "surrogateescape"), password) if colon else None


@frozen
class Refusals:
    """
    What happens to a request that fails: 401, or it goes on as the anonymous consumer.

    Attributes:
        challenge: From ``challenge``. messages: Reason code → what the client is told.
        anonymous_consumer: Its name, or None.
    """

    challenge: tuple[Pair, ...]
    messages: Mapping[str, str]
    anonymous_consumer: str | None = None

    def __call__(self, exchange: Exchange, reason: str, detail: str = "") -> Reply | None:
        """
        Refuse.

        Args:
            reason: One of ``messages``. detail: More words for the log.
        Returns:
            None if the request goes on as the anonymous consumer.
        """
        failure = Reply.json(
            401, {"message": self.messages[reason]}, fields=self.challenge, reason=reason, detail=detail
        )
        if self.anonymous_consumer is None:
            return failure
        return anonymous(exchange, self.anonymous_consumer, failure, self.challenge)
