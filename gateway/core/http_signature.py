"""Signed requests as hmac-auth knows them: the ``Authorization: Signature …`` field and what is signed.

The scheme follows an old draft of HTTP signatures, in the form that its users' clients have:
``Signature keyId="…",algorithm="hmac-sha256",headers="@request-target date",signature="<base64>"``.
"""

from __future__ import annotations

import base64
import calendar
import hashlib
import hmac
import re
from email.utils import parsedate_tz

from attrs import field, frozen

from gateway.core.auth import decode_base64
from gateway.core.fields import Fields

SCHEME = b"signature"
TARGET = "@request-target"
ALGORITHMS = ("hmac-sha1", "hmac-sha256", "hmac-sha512")
MAX_SIGNED = 64
"""Names in the list of what is signed; more make a signature that is not looked at."""

_PARAMETER = re.compile(r'([A-Za-z]+)\s*=\s*"([^"]*)"')


@frozen
class Signature:
    """
    The parameters of the field; empty where one is missing.

    Attributes:
        headers: What is signed besides the key id, in order, spelt as sent.
        signature: As sent: base64, padded or not.
    """

    key_id: str = ""
    algorithm: str = ""
    headers: tuple[str, ...] = ()
    signature: str = field(default="", repr=False)


def parse(value: bytes) -> Signature | None:
    """Read an ``Authorization`` field; None if it is of another scheme. Other parameters do not matter."""
    if value[: len(SCHEME)].lower() != SCHEME:
        return None
    found: dict[str, str] = {}
    for name, text in _PARAMETER.findall(value[len(SCHEME) :].decode("latin-1")):
        found.setdefault(name, text)
    return Signature(
        found.get("keyId", ""),
        found.get("algorithm", ""),
        tuple(found.get("headers", "").split()),
        found.get("signature", ""),
    )


def signed_text(signature: Signature, method: bytes, target: bytes, fields: Fields) -> bytes:
    """
    What the client has signed.

    Args:
        target: Path and query as the client spells them.
    Returns:
        A line for the key id and one for each name of the list, each with a line end; a field that the
        request does not have has no line.
    Source:
        Plugin contract §1.
    """
    lines = [signature.key_id.encode("latin-1")]
    for name in signature.headers:
        spelt = name.encode("latin-1")
        value = fields.get(spelt.lower())
        if value is not None:
            lines.append(spelt + b": " + value)
        elif name == TARGET:
            lines.append(method + b" " + target)
    return b"\n".join(lines) + b"\n"


def mac(algorithm: str, secret: bytes, text: bytes) -> bytes:
    """The signature of *text*; *algorithm* is one of ``ALGORITHMS``."""
    return hmac.digest(secret, text, algorithm.removeprefix("hmac-"))


def matches(signature: Signature, secret: bytes, text: bytes) -> bool:
    """Whether *signature* is that of *text*. Compared in constant time."""
    try:
        given = decode_base64(signature.signature.encode("latin-1"))
    except ValueError:
        return False
    return hmac.compare_digest(given, mac(signature.algorithm, secret, text))


def parse_date(value: bytes) -> int | None:
    """A ``Date`` field as Unix seconds (RFC 9110 section 5.6.7); None if it is none, or not in GMT."""
    try:
        read = parsedate_tz(value.decode("ascii"))
        if read is None or read[9] not in (0, None):
            return None
        return calendar.timegm((*read[:6], 0, 0, 0))
    except (ValueError, OverflowError, IndexError, TypeError):
        return None


def digest_of(content: bytes) -> bytes:
    """The ``Digest`` field of *content*, as ``SHA-256=<base64>``."""
    return b"SHA-256=" + base64.b64encode(hashlib.sha256(content).digest())
