"""Field lines on the wire, read and written with a memory.

Peers send the same lines again and again: ``Host``, ``User-Agent``, ``Content-Type``, the same token or
cookie on each request of a user. A line that was read or written before is not looked into again: what
it means depends on its bytes alone. The memory is bounded, and lines too long for it are looked into
each time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from gateway.core.fields import CONTROL_BYTES, Pair, wire_name

MAX_LINES = 4096
"""How many lines are remembered. When there are more, all are forgotten."""
_MAX_FRAMES = 1024
MAX_LINE_BYTES = 512
"""Longer lines are not remembered: with ``MAX_LINES`` this bounds the memory."""

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_LINE = re.compile(rb"(" + _TOKEN + rb"):([^\x00-\x08\x0a-\x1f\x7f]*)")
"""RFC 9112 section 5: no space before the colon, no line folding, no control characters but tab."""
_NAME = re.compile(_TOKEN)
_FRAMING = frozenset((b"content-length", b"transfer-encoding"))


class BadLine(ValueError):
    """A field line that breaks the grammar, or that must not be sent."""


Line = tuple[Pair, int]
Made = TypeVar("Made")


class KnownLines(dict[bytes, Made]):
    """
    Field line, without its line end → what is made of its name in lower case and value without white space.

    Looking a line up reads it, if it is not known yet; ``BadLine`` if it breaks the grammar.
    """

    def __init__(self, make: Callable[[Pair], Made]) -> None:
        """
        Args:
            make: Called with a line's name and value.
        """
        super().__init__()
        self._make = make

    def __missing__(self, line: bytes) -> Made:
        found = _LINE.fullmatch(line)
        if found is None:
            raise BadLine("a field line breaks the grammar")
        name, value = found.groups()
        read = self._make((name.lower(), value.strip(b" \t")))
        if len(line) <= MAX_LINE_BYTES:
            if len(self) >= MAX_LINES:
                self.clear()
            self[line] = read
        return read

    def __repr__(self) -> str:
        # Lines are credentials, too.
        return f"<KnownLines {len(self)}>"


class _Beginnings(dict[bytes, bytes]):
    """Lower-case name → what a line with it begins with, checked once and remembered."""

    def __missing__(self, name: bytes) -> bytes:
        if _NAME.fullmatch(name) is None:
            raise BadLine(f"not a field name: {name!r}")
        if name in _FRAMING:
            raise BadLine(f"{name.decode()} is not for the caller to set")
        beginning = wire_name(name) + b": "
        if len(name) <= MAX_LINE_BYTES:
            if len(self) >= MAX_LINES:
                self.clear()
            self[name] = beginning
        return beginning


_beginnings = _Beginnings()


class _Written(dict[Pair, bytes]):
    """Lower-case name and value → the line that is sent, checked once and remembered."""

    def __missing__(self, pair: Pair) -> bytes:
        name, value = pair
        beginning = _beginnings[name]
        if len(value.translate(None, b"\r\n\0")) != len(value):
            raise BadLine("a field value holds CR, LF or NUL")
        line = beginning + value + b"\r\n"
        if len(line) <= MAX_LINE_BYTES:
            if len(self) >= MAX_LINES:
                self.clear()
            self[pair] = line
        return line


_written = _Written()


def write_lines(pairs: Iterable[Pair]) -> bytes:
    """
    Field lines, each with its line end.

    Args:
        pairs: Lower-case names and values, in order. Framing follows from the content: its fields are
            not among them.
    Raises:
        BadLine: something in it would not arrive as one field: a name that is no token, a value with CR,
            LF or NUL. Or it is a field of the framing.
    """
    written = _written
    return b"".join([written[pair] for pair in pairs])


OWN_OF_ANSWERS = frozenset((b"connection", b"date")) | _FRAMING
"""What the server says by itself; a Date only if nobody else has."""
_frames: dict[tuple[bytes, ...], bytes] = {}
"""Names → their lines, with ``%b`` where values stand."""
_MARKED = bytes(0x3F if byte in CONTROL_BYTES else byte for byte in range(256))
"""Control characters become something else."""


def added_lines(pairs: Sequence[Pair]) -> bytes:
    """
    The same, for an answer's lines whose values are mostly new each time.

    Raises:
        BadLine: as ``write_lines``; for ``connection`` and ``date``, which the server says by itself; and for
            a value with any other control character, which recipients may take or not (RFC 9110 section 5.5).
    """
    if not pairs:
        return b""
    names, values = zip(*pairs)  # noqa: B905  # pairs are pairs; to say so takes time
    frame = _frames.get(names) or _frame(names)
    # All of them in one look.
    if (text := b"".join(values)).translate(_MARKED) != text:
        raise BadLine("a field value holds a control character")
    return frame % values


def _frame(names: tuple[bytes, ...]) -> bytes:
    if not OWN_OF_ANSWERS.isdisjoint(names):
        raise BadLine("what the server says by itself is not for the caller to set")
    frame = b"".join([_beginnings[name].replace(b"%", b"%%") + b"%b\r\n" for name in names])
    if len(frame) <= MAX_LINE_BYTES:
        if len(_frames) >= _MAX_FRAMES:
            _frames.clear()
        _frames[names] = frame
    return frame
