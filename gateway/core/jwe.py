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
        header: The protected header. protected: the same as sent, which the tag covers too.
    """

    header: Mapping[str, Any]
    protected: bytes = field(repr=False)
    iv: bytes = field(repr=False)
    sealed: bytes = field(repr=False)


def parse(text: bytes) -> Token | None:
    """Take a token apart; None if it is not one of five parts, or its header is no JSON object."""
    parts = text.split(b".")
    if len(parts) != 5 or len(text) > MAX_TOKEN_BYTES:
        return None
    header_part, key, *rest = parts
    header_text, iv, content, tag = map(decode_segment, (header_part, *rest))
    if header_text is None or iv is None or content is None or tag is None or not iv or not tag or key:
        return None
    try:
        return Token(strict_object(header_text), header_part, iv, content + tag)
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
    if header.get("alg") != "dir" or header.get("enc") != "A256GCM" or "zip" in header or "crit" in header:
        return None
    if len(token.iv) != _IV_BYTES or len(token.sealed) < _TAG_BYTES:
        return None
    try:
        return AESGCM(secret).decrypt(token.iv, token.sealed, token.protected)
    except InvalidTag:
        return None
