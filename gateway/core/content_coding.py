"""Content codings of answers, decoded piece by piece within a limit (RFC 9110 section 8.4.1)."""

from __future__ import annotations

import zlib
from typing import Any

from gateway.core.fields import Fields

_GZIP, _ZLIB, _RAW = 31, 15, -15
KNOWN = frozenset({b"gzip", b"x-gzip", b"deflate"})
"""The codings that can be decoded."""
_STEP = 1024


def coding_of(fields: Fields) -> bytes:
    """How content is coded by the fields of its message, in lower case; empty if they do not say."""
    return b",".join(fields.get_all(b"content-encoding")).lower().strip()


class Decoder:
    """
    Decodes one content.

    Attributes:
        damaged: Whether what came is not in that coding; nothing more is decoded then.
    """

    def __init__(self, coding: bytes) -> None:
        """
        Args:
            coding: One of ``KNOWN``.
        """
        self.damaged = False
        self._deflate = coding == b"deflate"
        self._inflater: Any = zlib.decompressobj(_ZLIB if self._deflate else _GZIP)
        self._begun = False

    def decode(self, data: bytes) -> bytes:
        """The next piece, decoded: at most about a thousand times as long, as the format has it."""
        if self.damaged or not data:
            return b""
        pieces = []
        while data:
            try:
                pieces.append(self._inflater.decompress(data))
            except zlib.error:
                if self._deflate and not self._begun:
                    # Some servers send deflate without its wrapper (RFC 9110 section 8.4.1.2 knows of them).
                    self._begun, self._inflater = True, zlib.decompressobj(_RAW)
                    continue
                self.damaged = True
                break
            self._begun = True
            # Several members may follow one another (RFC 1952 section 2.2).
            data = self._inflater.unused_data
            if data:
                if self._deflate:
                    break
                self._inflater = zlib.decompressobj(_GZIP)
        return b"".join(pieces)


def beginning(content: bytes | bytearray, coding: bytes, max_bytes: int) -> bytes | bytearray:
    """
    The beginning of content, decoded.

    Args:
        content: All of it, or what there is of its beginning. coding: As ``coding_of`` tells it.
        max_bytes: About how much is decoded: a short content may have a very long one in it.
    Returns:
        The content as it came if its coding is none of ``KNOWN``, or it is not in it.
    """
    if coding not in KNOWN:
        return content
    decoder = Decoder(coding)
    decoded = bytearray()
    for start in range(0, len(content), _STEP):
        decoded += decoder.decode(bytes(content[start : start + _STEP]))
        if decoder.damaged:
            return content
        if len(decoded) >= max_bytes:
            break
    return decoded
