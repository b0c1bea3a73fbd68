"""Reading requests from the wire: strict, without I/O.

Each line of a head is matched by an expression that knows the grammar of RFC 9112 and nothing
looser: what does not match is refused, so there is no leniency to inherit from a parser.
Content is either counted (Content-Length) or taken out of its chunks by ``ChunkReader``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from operator import itemgetter
from typing import NamedTuple

from attrs import frozen

from gateway.core import reasons
from gateway.core.exchange import RequestHead
from gateway.core.fields import Pair
from gateway.http1.field_lines import BadLine, KnownLines

HEAD_END = b"\r\n\r\n"
MAX_BLANK_LINES = 4
"""So many may stand before a request (RFC 9112 section 2.2); more are no mistake of an old client."""

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARTS = rb"(" + _TOKEN + rb") ([\x21\x22\x24-\x7e]+) HTTP/"
_LINE = re.compile(_PARTS + rb"1\.([01])\r\n")
"""RFC 9112 section 3: exactly one space between the parts; the target is ASCII and has no fragment."""
_OTHER_VERSION = re.compile(_PARTS + rb"[0-9]\.[0-9]\r\n")
_TRAILER = re.compile(_TOKEN + rb":[^\x00-\x08\x0a-\x1f\x7f]*")
_BARE = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)|\x00")
"""Line ends that are none, and NUL."""
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?")
_CODINGS = re.compile(rb"(?:" + _TOKEN + rb"[ \t]*,[ \t]*)+chunked")
_KNOWN_CODINGS = frozenset((b"chunked", b"identity"))
_DIGITS = re.compile(rb"[0-9]{1,18}")


@frozen
class Refused:
    """
    A request that is not served; the connection ends after the answer.

    Attributes:
        status: 400, 408, 414, 431, 501 or 505. why: For the log. reason: The reason code.
    """

    status: int
    why: str
    reason: str = reasons.BAD_REQUEST


TOO_MANY_BLANK_LINES = Refused(400, "blank lines without end")
BROKEN = Refused(400, "a line ends with a bare CR or LF, or holds NUL")
HEAD_TOO_LARGE = Refused(431, "the head is too large", reasons.HEAD_TOO_LARGE)
HEAD_TOO_SLOW = Refused(408, "the head did not come in time", reasons.CLIENT_HEAD_TIMEOUT)
LINE_TOO_LONG = Refused(414, "the request line is too long", reasons.REQUEST_LINE_TOO_LONG)
_NOT_A_LINE = Refused(400, "the request line is not one of HTTP/1.1")
_VERSION = Refused(505, "the version is not HTTP/1.0 or HTTP/1.1", reasons.VERSION_NOT_SUPPORTED)
_CODING = Refused(
    501, "the only transfer coding that is understood is chunked", reasons.TRANSFER_CODING_NOT_SUPPORTED
)
_BAD_CODING = Refused(400, "the only transfer coding taken is chunked, and that of HTTP/1.1")


class Framing(NamedTuple):
    """
    Where a request's content ends, and what becomes of the connection.

    Attributes:
        length: Bytes of content; None if it is chunked; 0 without any.
        has_length: Whether a Content-Length was sent at all.
        persistent: Whether the client allows another request on the connection.
        expects: Whether it waits for 100 (Continue).
    """

    length: int | None = 0
    has_length: bool = False
    persistent: bool = False
    expects: bool = False


class Head(NamedTuple):
    """
    A head that was read.

    Attributes:
        request: What is asked: names of fields in lower case, values without white space around them.
        hosts: The values of its Host fields.
    """

    request: RequestHead
    hosts: list[bytes]
    framing: Framing


NO_REQUEST = Framing()
"""Of bytes that are none."""
_USUAL = Framing(persistent=True)
"""Of nearly every request without content."""
_FRAMING_FIELDS = frozenset((b"content-length", b"transfer-encoding", b"connection", b"expect"))
_V11, _V10 = (1, 1), (1, 0)
_name_of = itemgetter(0)


def _pair(pair: Pair) -> Pair:
    return pair


_known_lines = KnownLines(_pair)


def parse_head(block: bytes, max_fields: int, max_line_bytes: int) -> Head | Refused:
    """
    Read a head.

    Args:
        block: From the first byte of the request line to the blank line, that one excluded; ends
            with the line end of the last line.
        max_fields: More field lines are refused.
        max_line_bytes: A longer request line is refused.
    Source:
        RFC 9112 sections 3, 5, 6 and 9.3.
    """
    line = _LINE.match(block)
    if line is None or (start := line.end()) > max_line_bytes + 2:
        return line_fault(block[: block.find(b"\r\n")], max_line_bytes) or _NOT_A_LINE
    method, target, minor = line.groups()
    lines = block[start:-2].split(b"\r\n") if start < len(block) else []
    if len(lines) > max_fields:
        return Refused(431, f"more than {max_fields} field lines", reasons.HEAD_TOO_LARGE)
    known = _known_lines
    try:
        pairs = tuple([known[one] for one in lines])
    except BadLine as error:
        return Refused(400, str(error))
    version = _V11 if minor == b"1" else _V10
    framing = _USUAL
    if version is _V10 or not _FRAMING_FIELDS.isdisjoint(map(_name_of, pairs)):
        found = _framing(pairs, version)
        if isinstance(found, Refused):
            return found
        framing = found
    hosts = [value for name, value in pairs if name == b"host"]
    return Head(RequestHead(method, target, pairs, version), hosts, framing)


def _framing(pairs: Sequence[Pair], version: tuple[int, int]) -> Framing | Refused:
    length: int | None = 0
    has_length = chunked = expects = False
    persistent = version is _V11
    for name, value in pairs:
        if name == b"content-length":
            if has_length or _DIGITS.fullmatch(value) is None:
                return Refused(400, "Content-Length is not one number")
            has_length = True
            length = int(value)
        elif name == b"transfer-encoding":
            if chunked or version is _V10 or value.lower() != b"chunked":
                return _coding_fault(pairs, version)
            chunked = True
        elif name == b"connection":
            persistent = _persists(pairs, version)
        elif name == b"expect":
            expects = version is _V11 and value.lower() == b"100-continue"
    if chunked:
        if has_length:
            return Refused(400, "Content-Length and Transfer-Encoding exclude each other")
        length = None
    return Framing(length, has_length, persistent, expects)


def _persists(pairs: Sequence[Pair], version: tuple[int, int]) -> bool:
    options = {
        option.strip(b" \t").lower()
        for name, value in pairs
        if name == b"connection"
        for option in value.split(b",")
    }
    return b"close" not in options and (version == (1, 1) or b"keep-alive" in options)


def _coding_fault(pairs: Sequence[Pair], version: tuple[int, int]) -> Refused:
    """What is wrong with Transfer-Encoding: is its length unclear (400), or is it clear and unknown (501)?"""
    value = b",".join(value for name, value in pairs if name == b"transfer-encoding").lower()
    codings = [coding.strip(b" \t") for coding in value.split(b",")]
    has_length = any(name == b"content-length" for name, _ in pairs)
    clear = version == (1, 1) and not has_length and _CODINGS.fullmatch(value) is not None
    return _CODING if clear and _KNOWN_CODINGS.isdisjoint(codings[:-1]) else _BAD_CODING


def line_fault(line: bytes, max_line_bytes: int) -> Refused | None:
    """What is wrong with a whole request line, given without its CRLF; None if it is one."""
    if len(line) > max_line_bytes:
        return LINE_TOO_LONG
    line += b"\r\n"
    if _LINE.fullmatch(line) is not None:
        return None
    return _NOT_A_LINE if _OTHER_VERSION.fullmatch(line) is None else _VERSION


def unfinished_fault(unfinished: bytes, seen: int, max_bytes: int, max_line_bytes: int) -> Refused | None:
    """
    Why what has come of a head can never become one; None if it still can.

    Args:
        unfinished: The bytes so far, without the blank line that ends a head.
        seen: How many of them were looked at before.
        max_bytes: Most bytes of a head. max_line_bytes: Most bytes of its first line.
    """
    if is_broken(unfinished, seen):
        return BROKEN
    end = unfinished.find(b"\r\n")
    if end < 0:
        too_long = len(unfinished) > min(max_line_bytes, max_bytes) + 1  # One for a CR before its LF.
        return LINE_TOO_LONG if too_long else None
    if end >= seen - 1 and (fault := line_fault(unfinished[:end], max_line_bytes)) is not None:
        return fault
    return HEAD_TOO_LARGE if len(unfinished) > max_bytes else None


def is_broken(unfinished: bytes, seen: int) -> bool:
    """
    Whether what has come of a head can never become one.

    Args:
        unfinished: The bytes so far. seen: How many of them were looked at before.
    """
    return _BARE.search(unfinished, max(0, seen - 1)) is not None


class BadChunks(ValueError):
    """Chunked content breaks the grammar of RFC 9112 section 7.1."""


class ChunkReader:
    """
    Takes content out of its chunks.

    Attributes:
        done: Whether the last chunk and the trailers, which are dropped, have been read.
    """

    def __init__(self, max_line_bytes: int, max_trailer_bytes: int) -> None:
        """
        Args:
            max_line_bytes: Longest line of a chunk's size and its extensions, which are dropped.
            max_trailer_bytes: Most bytes of trailers.
        """
        self.done = False
        self._left = 0
        self._state = "size"
        self._rest = b""
        self._max_line = max_line_bytes
        self._trailers = max_trailer_bytes

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """
        Read on.

        Returns:
            Content, and once ``done`` the bytes behind the end: the next request's.
        Raises:
            BadChunks: nothing that follows can be trusted.
        """
        data = self._rest + data
        self._rest = b""
        content: list[bytes] = []
        at = 0
        while not self.done:
            if self._state == "data":
                piece = data[at : at + self._left]
                content.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if self._left:
                    return b"".join(content), b""
                self._state = "end"
            if self._state == "end":
                mark = data[at : at + 2]
                if mark != b"\r\n"[: len(mark)]:
                    raise BadChunks("a chunk does not end with CRLF")
                if len(mark) < 2:
                    break
                at += 2
                self._state = "size"
            end = data.find(b"\n", at)
            if end < 0:
                break
            line = data[at:end]
            if not line.endswith(b"\r"):
                raise BadChunks("a line ends with a bare LF")
            at = end + 1
            self._line(line[:-1])
        if self.done:
            return b"".join(content), data[at:]
        self._rest = data[at:]
        if len(self._rest) > (self._max_line if self._state == "size" else self._trailers):
            raise BadChunks("a line is too long")
        return b"".join(content), b""

    def _line(self, line: bytes) -> None:
        if self._state == "trailers":
            self._trailers -= len(line) + 2
            if not line:
                self.done = True
            elif self._trailers < 0 or _TRAILER.fullmatch(line) is None:
                raise BadChunks("a trailer field breaks the grammar, or there are too many")
            return
        size = _CHUNK_LINE.fullmatch(line)
        if size is None or len(line) > self._max_line:
            raise BadChunks("a chunk size breaks the grammar")
        self._left = int(size.group(1), 16)
        self._state = "data" if self._left else "trailers"
