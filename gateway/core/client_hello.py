"""The first message of a TLS connection: whom the client wants to talk to, before TLS begins.

Which certificate, which versions of TLS and whether the client has to show a certificate follow
from the name, and OpenSSL takes all of them from the context a connection is made with. So the
name is read first. Whatever else is in the message is OpenSSL's to judge.
"""

from __future__ import annotations

from attrs import frozen

MAX_BYTES = 32768
"""A longer message is refused; those of today's clients have less than 4096 bytes."""

_HANDSHAKE = 0x16
_CLIENT_HELLO = 1
_SERVER_NAME = 0
_SUPPORTED_VERSIONS = 43
_TLS_1_3 = 0x0304
_HOST_NAME = 0
_MAX_RECORD = 16384 + 256

ALERT_HANDSHAKE_FAILURE = 40
ALERT_DECODE_ERROR = 50
ALERT_UNRECOGNIZED_NAME = 112


@frozen
class Hello:
    """
    Attributes:
        server_name: As sent in SNI, but in lower case and without a dot at its end; None without SNI.
        tls13: Whether the client speaks TLS 1.3.
    Source:
        RFC 6066 section 3; RFC 8446 section 4.2.1.
    """

    server_name: str | None
    tls13: bool = False


class NotTLS(ValueError):
    """The bytes are not the beginning of a TLS connection, or a malformed one."""


class _Reader:
    """Takes a message apart; what is not there is malformed."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._data):
            raise NotTLS("a field is longer than what it is in")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        """A field with its length before it, in *size* bytes."""
        return self.take(self.number(size))


def read_hello(data: bytes) -> Hello | None:
    """
    Look at what a client has sent so far.

    Args:
        data: Everything since the connection was made.
    Returns:
        None if more has to come.
    Raises:
        NotTLS: there is no ClientHello in it, and no more bytes will make it one.
    Source:
        RFC 8446 sections 4.1.2 and 5.1; the same form as in earlier versions.
    """
    message = _message(data)
    if message is None:
        return None
    reader = _Reader(message)
    reader.take(2 + 32)  # legacy_version, random
    reader.vector(1)  # legacy_session_id
    reader.vector(2)  # cipher_suites
    reader.vector(1)  # legacy_compression_methods
    if not reader:
        return Hello(None)
    extensions = _Reader(reader.vector(2))
    name: str | None = None
    named = tls13 = False
    while extensions:
        kind = extensions.number(2)
        content = extensions.vector(2)
        if kind == _SERVER_NAME and not named:
            name, named = _host_name(content), True
        elif kind == _SUPPORTED_VERSIONS:
            tls13 = tls13 or _offers_tls13(content)
    return Hello(name, tls13)


def _message(data: bytes) -> bytes | None:
    """The body of the first handshake message, put together from its records; None if it is incomplete."""
    parts: list[bytes] = []
    gathered = at = 0
    needed = 4
    while gathered < needed:
        if len(data) > at and data[at] != _HANDSHAKE:
            raise NotTLS("not a handshake record")
        if len(data) > at + 1 and data[at + 1] != 3:
            raise NotTLS("not a version of TLS")
        if len(data) < at + 5:
            return None
        length = int.from_bytes(data[at + 3 : at + 5], "big")
        if not 0 < length <= _MAX_RECORD:
            raise NotTLS("a record of impossible length")
        part = data[at + 5 : at + 5 + length]
        parts.append(part)
        gathered += len(part)
        at += 5 + length
        if needed == 4 and gathered >= 4:
            start = b"".join(parts)
            if start[0] != _CLIENT_HELLO:
                raise NotTLS("the first message is no ClientHello")
            needed = 4 + int.from_bytes(start[1:4], "big")
            if needed > MAX_BYTES:
                raise NotTLS("the ClientHello is too long")
        if len(part) < length and gathered < needed:
            return None
    return b"".join(parts)[4:needed]


def _host_name(content: bytes) -> str | None:
    names = _Reader(_Reader(content).vector(2))
    while names:
        kind = names.number(1)
        name = names.vector(2)
        if kind == _HOST_NAME:
            if not name or b"\0" in name:
                raise NotTLS("an empty or broken server name")
            return name.decode("latin-1").lower().removesuffix(".")
    return None


def _offers_tls13(content: bytes) -> bool:
    versions = _Reader(_Reader(content).vector(1))
    while versions:
        if versions.number(2) == _TLS_1_3:
            return True
    return False


def alert(description: int) -> bytes:
    """
    A fatal alert, as the only record of a connection that ends with it.

    Source:
        RFC 8446 section 6.
    """
    return bytes((0x15, 3, 1, 0, 2, 2, description))
