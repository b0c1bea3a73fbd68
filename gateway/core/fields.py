"""HTTP fields of a request or response: an ordered list with lower-case names.

Names are lower-cased once, when a message is read. ``wire_name`` spells them for the wire.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from operator import itemgetter

_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NAME_BYTES = bytes(byte for byte in range(256) if _NAME.fullmatch(bytes([byte])))
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
CONTROL_BYTES = bytes(byte for byte in range(256) if _CONTROL.fullmatch(bytes([byte])))
"""What no field value may have (RFC 9110 section 5.5)."""

Pair = tuple[bytes, bytes]
_name_of = itemgetter(0)

_SPELLINGS: dict[bytes, bytes] = {
    b"etag": b"ETag",
    b"te": b"TE",
    b"dnt": b"DNT",
    b"www-authenticate": b"WWW-Authenticate",
    b"x-real-ip": b"X-Real-IP",
    b"x-request-id": b"X-Request-Id",
    b"x-ratelimit-limit": b"X-RateLimit-Limit",
    b"x-ratelimit-remaining": b"X-RateLimit-Remaining",
    b"x-ratelimit-reset": b"X-RateLimit-Reset",
    b"x-apisix-upstream-status": b"X-APISIX-Upstream-Status",
    b"content-md5": b"Content-MD5",
    b"x-xss-protection": b"X-XSS-Protection",
    # Some clients compare the handshake's names letter by letter (RFC 6455 section 1.3 spells them so).
    b"sec-websocket-accept": b"Sec-WebSocket-Accept",
    b"sec-websocket-extensions": b"Sec-WebSocket-Extensions",
    b"sec-websocket-key": b"Sec-WebSocket-Key",
    b"sec-websocket-protocol": b"Sec-WebSocket-Protocol",
    b"sec-websocket-version": b"Sec-WebSocket-Version",
}
_SPELLINGS_LIMIT = 1024
_SPELLINGS_MAX_BYTES = 64


def wire_name(name: bytes) -> bytes:
    """
    Spell a lower-case field name the way people expect to see it (``content-type`` → ``Content-Type``).

    Field names are case-insensitive (RFC 9110 section 5.1); the spelling is a courtesy to readers.
    """
    spelt = _SPELLINGS.get(name)
    if spelt is None:
        spelt = b"-".join([part.capitalize() for part in name.split(b"-")])
        if len(_SPELLINGS) < _SPELLINGS_LIMIT and len(name) <= _SPELLINGS_MAX_BYTES:
            _SPELLINGS[name] = spelt
    return spelt


class Fields:
    """
    An ordered, mutable multimap of field lines.

    All names given to and returned by its methods are lower-case bytes; values are bytes
    without surrounding white space.
    """

    __slots__ = ("pairs",)

    def __init__(self, pairs: Iterable[Pair] = ()) -> None:
        self.pairs: list[Pair] = list(pairs)

    def __iter__(self) -> Iterator[Pair]:
        return iter(self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    def __contains__(self, name: object) -> bool:
        return any(have == name for have, _ in self.pairs)

    def __repr__(self) -> str:
        # Values may be credentials.
        return f"<Fields {[name.decode('latin-1') for name, _ in self.pairs]}>"

    def get(self, name: bytes) -> bytes | None:
        """The first value of *name*, or None."""
        for have, value in self.pairs:
            if have == name:
                return value
        return None

    def get_all(self, name: bytes) -> list[bytes]:
        """Every value of *name*, in order."""
        return [value for have, value in self.pairs if have == name]

    def add(self, name: bytes, value: bytes) -> None:
        """Append one more line."""
        self.pairs.append((name, value))

    def set(self, name: bytes, value: bytes) -> None:
        """Replace every line of *name* by one at the end."""
        self.remove(name)
        self.pairs.append((name, value))

    def remove(self, name: bytes) -> None:
        """Drop every line of *name*; no error if there is none."""
        for have, _ in self.pairs:
            if have == name:
                self.pairs = [pair for pair in self.pairs if pair[0] != name]
                return

    def remove_all(self, names: frozenset[bytes]) -> None:
        """Drop every line that has one of *names*."""
        self.replace(names, ())

    def replace(self, names: frozenset[bytes], pairs: Iterable[Pair]) -> None:
        """Put *pairs* at the end, in place of every line that has one of *names*."""
        mine = self.pairs
        if not names.isdisjoint(map(_name_of, mine)):
            mine = self.pairs = [pair for pair in mine if pair[0] not in names]
        mine += pairs

    def clean(self, start: int = 0) -> None:
        """
        Make every line end where it ends: control characters in values become spaces.

        Whoever writes a value that a client had a say in cannot let it start another line.

        Args:
            start: So many lines at the beginning are known to be fine.
        Raises:
            ValueError: a name that is no token.
        Source:
            RFC 9110 sections 5.1 and 5.5.
        """
        pairs = self.pairs[start:] if start else self.pairs
        names = [name for name, _ in pairs]
        values = b"".join([value for _, value in pairs])
        if (
            not b"".join(names).translate(None, _NAME_BYTES)
            and values.translate(None, CONTROL_BYTES) == values
            and b"" not in names
        ):
            return  # One look at all of them together: nearly always they are fine.
        for index, (name, value) in enumerate(self.pairs):
            if _NAME.fullmatch(name) is None:
                raise ValueError(f"not a field name: {name!r}")
            if _CONTROL.search(value) is not None:
                self.pairs[index] = (name, _CONTROL.sub(b" ", value))

    def copy(self) -> Fields:
        """A list of its own with the same lines."""
        return Fields(self.pairs)


def read_written(lines: bytes) -> list[Pair]:
    """Field lines as pairs. Only for such as are written here: ``Name: value``, each with its line end."""
    pairs = []
    for line in lines.split(b"\r\n")[:-1]:
        name, _, value = line.partition(b": ")
        pairs.append((name.lower(), value))
    return pairs


def without(lines: bytes, names: frozenset[bytes]) -> bytes:
    """The same lines, without those that have one of *names*."""
    kept = [line for line in lines.split(b"\r\n")[:-1] if line.partition(b":")[0].lower() not in names]
    return b"".join([line + b"\r\n" for line in kept])


def written_bytes(pairs: Iterable[Pair]) -> int:
    """How many bytes field lines are as HTTP/1.1 writes them."""
    return sum([len(name) + len(value) + 4 for name, value in pairs])


def configured_name(text: str) -> bytes:
    """
    A field name from the configuration, as ``Fields`` spells it.

    Raises:
        ValueError: it is none (RFC 9110 section 5.1).
    """
    name = text.lower().encode("utf-8", "replace")
    if not _NAME.fullmatch(name):
        raise ValueError(f"{text[:100]!r} is not the name of a header")
    return name


def configured_value(text: str) -> bytes:
    """Text as a field value: UTF-8, without the control characters that none has (RFC 9110 section 5.5)."""
    try:
        value = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        value = text.encode("utf-8", "replace")  # Half a surrogate pair, which JSON can spell.
    return _CONTROL.sub(b"", value).strip(b" \t")
