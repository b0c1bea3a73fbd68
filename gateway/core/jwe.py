"""Encrypted tokens in compact form: ``dir`` with A256GCM, no other (RFC 7516; RFC 7518 sections 4.5, 5.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.core.jose import decode_segment, strict_object

KEY_BYTES = 32
MAX_TOKEN_BYTES = 65_536
"""Longer tokens are not read."""
_IV_BYTES, _TAG_BYTES = 12, 16


@frozen
class Token:
    """
    A token, taken apart.

    Attributes:
        header: The protected header.
        parts: All five as sent: header, key, initialisation vector, content, tag.
    """

    header: Mapping[str, Any]
    parts: tuple[bytes, ...] = field(repr=False)


def parse(text: bytes) -> Token | None:
    """Take a token apart; None if it is not one of five parts, or its header is no JSON object."""
    parts = tuple(text.split(b"."))
    if len(parts) != 5 or len(text) > MAX_TOKEN_BYTES or not parts[2] or not parts[4]:
        return None
    header = decode_segment(parts[0])
    if header is None:
        return None
    try:
        return Token(strict_object(header), parts)
    except ValueError:
        return None


def decrypt(token: Token, secret: bytes) -> bytes | None:
    """
    What a token says.

    Args:
        secret: ``KEY_BYTES`` bytes.
    Returns:
        None if it was made with another secret, was changed, or is not ``dir`` with A256GCM.
    """
    header = token.header
    protected, key, *rest = token.parts
    iv, content, tag = map(decode_segment, rest)
    # With "dir" there is no key in the token (RFC 7518 section 4.5).
    if key or iv is None or content is None or tag is None:
        return None
    if header.get("alg") != "dir" or header.get("enc") != "A256GCM" or "zip" in header or "crit" in header:
        return None
    if len(iv) != _IV_BYTES or len(tag) != _TAG_BYTES:
        return None
    try:
        return AESGCM(secret).decrypt(iv, content + tag, protected)
    except InvalidTag:
        return None
