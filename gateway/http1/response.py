"""
Reading HTTP/1.1 responses from bytes, without I/O.

The head is read line by line, as a request's is (``gateway.http1.field_lines``). Which response
belongs to HEAD, what precedes the final response, which framing is too doubtful to follow, and where
limits are is decided here. Content with a length and content up to the close of the connection is
passed on as it comes; httptools undoes chunking.
"""

from __future__ import annotations

import re
from typing import Any

import httptools
from attrs import define

from gateway.core.fields import Pair
from gateway.core.forwarded import ResponseKind, response_fields, response_kind
from gateway.core.recurring import Recurring
from gateway.http1.field_lines import BadLine, KnownLines, Line

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: ([\t -~\x80-\xff]*))?")
_BARE_LF = re.compile(rb"(?<!\r)\n")
_START = b"HTTP/1."
_STATUS_LINES_LIMIT = 512
_CHUNKS_FOLLOW = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
"""What tells httptools to expect chunks: it does not see heads."""

# How the content of the current response is delimited.
_HEAD, _SIZED, _CHUNKED, _TO_CLOSE, _DONE = range(5)


def _with_kind(pair: Pair) -> Line:
    return pair, response_kind(pair[0])


_known_lines = KnownLines(_with_kind)
_CONTENT_LENGTH = int(ResponseKind.CONTENT_LENGTH)
_TRANSFER_ENCODING = int(ResponseKind.TRANSFER_ENCODING)
_CONNECTION = int(ResponseKind.CONNECTION)
_KEPT = frozenset((b"keep-alive", b"Keep-Alive"))
StatusLine = tuple[int, int, bytes]
_status_lines: dict[bytes, StatusLine] = {}


class BadResponse(Exception):
    """What arrived is no response that can be relied on; the connection is of no more use."""


@define(eq=False)
class ResponseHead:
    """
    The head of a final response.

    Attributes:
        status: 200 to 999.
        phrase: The reason phrase; may be empty.
        minor: HTTP/1.*minor*: 0 or 1.
        lines: Field lines in order: lower-case names, values without surrounding white space; each with its
            ``gateway.core.forwarded.response_kind``.
        length: Octets of content to come, 0 if there is none by definition (HEAD, 204, 304); None
            if only the end will tell.
        shared: Whether it came before, and is that of several responses.
        memory: For whoever passes such a head on: what was made of it.
    """

    status: int
    phrase: bytes
    minor: int
    lines: list[Line]
    length: int | None
    shared: bool = False
    memory: Any = None

    @property
    def fields(self) -> list[Pair]:
        """The field lines alone."""
        return [pair for pair, _ in self.lines]

    def passed_on(self) -> tuple[list[Pair], int | None]:
        """As ``gateway.core.forwarded.response_fields``; the list is the caller's own."""
        return response_fields(self.lines)


_NONE_KNOWN: Recurring[ResponseHead] = Recurring(0)
_NOT_SIZED = frozenset((b"HEAD", b"CONNECT"))
"""Methods whose responses have no content of the length that they tell."""


class ResponseReader:
    """
    Reads the responses of one connection, one after the other.

    Call ``expect`` when a request is sent, then ``feed`` with what arrives.

    Attributes:
        head: The final response's head once it is known.
        started: Whether any byte arrived since ``expect``.
        complete: Whether the response has ended.
        keep_alive: Whether the peer keeps the connection open (RFC 9112 section 9.3); valid with *head*.
        surplus: Whether bytes followed the end.
    """

    __slots__ = (
        "_buffer",
        "_interim",
        "_known_heads",
        "_left",
        "_max_header_bytes",
        "_max_headers",
        "_max_interim",
        "_method",
        "_mode",
        "_parser",
        "_pieces",
        "_quiet",
        "_switching",
        "_trailers",
        "complete",
        "head",
        "keep_alive",
        "started",
        "surplus",
    )

    def __init__(
        self,
        *,
        max_header_bytes: int = 65536,
        max_headers: int = 200,
        max_interim: int = 32,
        known_heads: Recurring[ResponseHead] = _NONE_KNOWN,
    ) -> None:
        """
        Args:
            max_header_bytes: Largest head, status line and empty line included; also the most bytes
                in a row that chunked framing and trailers may take without any content.
            max_headers: Most field lines in a head, and in a trailer section.
            max_interim: Most 1xx responses before the final one.
            known_heads: Heads that came before; readers may share them.
        """
        self._max_header_bytes = max_header_bytes
        self._max_headers = max_headers
        self._max_interim = max_interim
        self._known_heads = known_heads
        self._parser: httptools.HttpResponseParser | None = None
        self._trailers = 0
        self._left = 0
        self._switching = False
        self._buffer = b""
        self._interim = 0
        self._pieces: list[bytes] = []
        self._quiet = 0
        self.head: ResponseHead | None = None
        self.started = False
        self.complete = False
        self.keep_alive = False
        self.surplus = False
        self.expect(b"GET")

    def expect(self, method: bytes) -> None:
        """Get ready for the response to a request with *method*."""
        # The rest is as it was at the start, or the connection would not be used again.
        self._method = method
        self._mode = _HEAD
        self._switching = False
        self.head = None
        self.started = False
        self.complete = False

    def expect_switch(self) -> None:
        """
        The request that was announced last asks for another protocol: 101 is a final response.

        What follows its head is no longer HTTP, and comes as content.
        """
        self._switching = True

    @property
    def reusable(self) -> bool:
        """Whether the connection may carry another request."""
        return self.complete and self.keep_alive and not self.surplus

    def feed(self, data: bytes) -> bytes:
        """
        Read on.

        Args:
            data: What arrived, cut anywhere; not empty.
        Returns:
            The content in it, chunking undone; may be empty.
        Raises:
            BadResponse: with the reason.
        """
        self.started = True
        mode = self._mode
        if mode == _HEAD:
            return self._read_head(data) if self._buffer or self._interim else self._first_read(data)
        if mode == _SIZED:
            return self._sized(data)
        if mode == _CHUNKED:
            return self._chunked(data)
        if mode == _TO_CLOSE:
            return data
        self.surplus = True
        return b""

    @property
    def to_come(self) -> int:
        """Bytes of content still to come, if it has a length; 0 if it has none, or nothing is to come."""
        return self._left if self._mode == _SIZED else 0

    def passed(self, size: int) -> None:
        """So many bytes of it, not more than are ``to_come``, have gone another way than ``feed``."""
        self._left -= size
        if not self._left:
            self._mode = _DONE
            self.complete = True

    def close(self, clean: bool) -> bool:
        """
        The connection ended; nothing more will arrive.

        Args:
            clean: Whether the peer closed it in order.
        Returns:
            Whether the response is complete by that (RFC 9112 section 6.3 item 8).
        """
        self._parser = None
        if self._mode == _TO_CLOSE and clean:
            self._mode = _DONE
            self.complete = True
        return self.complete

    # -- the head

    def _first_read(self, data: bytes) -> bytes:
        """What comes first: mostly a head that came before, and its content as a whole."""
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return self._read_head(data)
        known = self._known_heads.get
        head = known(data[:end])
        if head is None or self._method in _NOT_SIZED:
            return self._read_head(data)
        # One with a length, that keeps the connection.
        self.head = head
        self.keep_alive = True
        left = head.length - len(data) + end + 4  # type: ignore[operator]  # it is known
        if left:
            self._mode = _SIZED
            self._left = head.length  # type: ignore[assignment]  # as above
            return self._sized(data[end + 4 :]) if len(data) > end + 4 else b""
        self._mode = _DONE
        self.complete = True
        return data[end + 4 :]

    def _read_head(self, data: bytes) -> bytes:
        seen = len(self._buffer)
        if seen:
            data = self._buffer + data
        while True:
            end = data.find(b"\r\n\r\n", max(0, seen - 3))
            if end < 0:
                self._check_partial(data)
                self._buffer = data
                return b""
            if end + 4 > self._max_header_bytes:
                raise BadResponse("the head is too large")
            text = data[:end]
            lines = text.split(b"\r\n")
            status = _status_lines.get(lines[0]) or _status_line(lines[0])
            code = status[1]
            if code >= 200:
                break
            if code == 101:
                if self._switching:
                    break
                raise BadResponse("101 without a request to upgrade")
            self._interim += 1
            if self._interim > self._max_interim:
                raise BadResponse("too many interim responses")
            self._buffer = b""
            seen = 0
            data = data[end + 4 :]
            if not data:
                return b""
        if seen:
            self._buffer = b""
        if self._interim:
            self._interim = 0
        del lines[0]
        if len(lines) > self._max_headers:
            raise BadResponse("too many fields")
        known = _known_lines
        try:
            read = [known[line] for line in lines]
        except BadLine as error:
            raise BadResponse(str(error)) from None
        minor = status[0]
        length = self._framing(read, code, minor)
        self.head = ResponseHead(code, status[2], minor, read, length)
        content = data[end + 4 :]
        if length == 0:
            self._mode = _DONE
            self.complete = True
            self.surplus = content != b""
            return b""
        if self._mode == _SIZED:
            if self.keep_alive and not seen:
                self.head.shared = self._known_heads.learn(text, self.head)
            return self._sized(content) if content else b""
        if self._mode == _CHUNKED:
            self._start_chunks()
            return self._chunked(content) if content else b""
        return content

    def _check_partial(self, data: bytes) -> None:
        """Refuse at once what can no longer become a head, rather than wait for its end."""
        if len(data) >= self._max_header_bytes:
            raise BadResponse("the head is too large")
        if data[:7] != _START[: len(data)]:
            raise BadResponse("not an HTTP/1 response")
        if _BARE_LF.search(data, len(self._buffer)):
            raise BadResponse("a line of the head does not end with CRLF")

    def _start_chunks(self) -> None:
        parser = self._parser
        if parser is None:
            parser = self._parser = httptools.HttpResponseParser(self)
        parser.feed_data(_CHUNKS_FOLLOW)
        self._trailers = self._quiet = 0

    # -- called by httptools, for chunked content

    def on_message_begin(self) -> None:
        """httptools: a message starts."""
        self.surplus = self.complete

    def on_header(self, name: bytes, value: bytes) -> None:
        """httptools: one field line of the trailer section; trailers go no further."""
        self._trailers += 1

    def on_body(self, data: bytes) -> None:
        """httptools: a piece of content; or of what follows the end, which it takes for the next message."""
        if not self.complete:
            self._pieces.append(data)

    def on_message_complete(self) -> None:
        """httptools: the message has ended."""
        self._mode = _DONE
        self.complete = True

    # -- the content

    def _framing(self, read: list[Line], status: int, minor: int) -> int | None:
        """
        Decide on ``keep_alive`` and the framing; returns ``ResponseHead.length``.

        Source:
            RFC 9112 sections 9.3 and 6.3, refusing what section 6.1 calls faulty.
        """
        length: int | None = None
        options: list[bytes] = []
        chunked = False
        for (_, value), kind in read:
            if kind < _CONTENT_LENGTH:
                continue
            if kind == _CONTENT_LENGTH:
                if length is not None or chunked:
                    raise BadResponse("several Content-Length fields, or Transfer-Encoding as well")
                if not (value.isdigit() and len(value) <= 18):
                    raise BadResponse("Content-Length is not a sensible number")
                length = int(value)
            elif kind == _CONNECTION:
                options.append(value)
            else:
                if chunked or length is not None:
                    raise BadResponse("several Transfer-Encoding fields, or Content-Length as well")
                if minor == 0:
                    raise BadResponse("Transfer-Encoding in HTTP/1.0")
                if value.lower() != b"chunked":
                    raise BadResponse("a transfer coding that was not asked for")
                chunked = True
        if not options or (len(options) == 1 and options[0] in _KEPT):
            self.keep_alive = minor == 1 or bool(options)
        else:
            self.keep_alive = _keeps_alive(minor, options)
        if status == 101:
            self._mode = _TO_CLOSE
            self.keep_alive = False
            return None
        if self._method == b"HEAD" or status in (204, 304):
            return 0
        if self._method == b"CONNECT" and status < 300:
            raise BadResponse("a tunnel was opened that was not asked for")
        if chunked:
            self._mode = _CHUNKED
            return None
        if length is None:
            self._mode = _TO_CLOSE
            self.keep_alive = False
            return None
        self._mode = _SIZED
        self._left = length
        return length

    def _sized(self, data: bytes) -> bytes:
        left = self._left - len(data)
        if left > 0:
            self._left = left
            return data
        self._mode = _DONE
        self.complete = True
        if left < 0:
            self.surplus = True
            return data[:left]
        return data

    def _chunked(self, data: bytes) -> bytes:
        assert self._parser is not None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._parser = None
            if not self.complete:
                raise _refused(error) from None
            self.surplus = True
        return self._gather(len(data))

    def _gather(self, size: int) -> bytes:
        pieces = self._pieces
        if self._trailers > self._max_headers:
            raise BadResponse("too many trailers")
        if not pieces:
            # Chunk extensions and trailers are not kept, but they must end some time.
            self._quiet += size
            if self._quiet > self._max_header_bytes and not self.complete:
                raise BadResponse("chunk extensions or trailers without end")
            return b""
        self._quiet = 0
        self._pieces = []
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _refused(error: httptools.HttpParserError) -> BadResponse:
    cause = error.__context__
    return cause if isinstance(cause, BadResponse) else BadResponse(str(error) or "not valid HTTP")


def _status_line(line: bytes) -> StatusLine:
    known = _status_lines.get(line)
    if known is None:
        match = _STATUS_LINE.fullmatch(line)
        if match is None:
            raise BadResponse("not an HTTP/1 status line")
        known = (int(match[1]), int(match[2]), match[3] or b"")
        if len(_status_lines) < _STATUS_LINES_LIMIT:
            _status_lines[line] = known
    return known


def _keeps_alive(minor: int, values: list[bytes]) -> bool:
    options = {option.strip(b" \t").lower() for value in values for option in value.split(b",")}
    if b"close" in options:
        return False
    return minor == 1 or b"keep-alive" in options
