"""
Reading HTTP/1.1 responses from bytes, without I/O.

The end of a head is found here and the whole head goes to httptools, which knows the grammar.
What it does not know is decided here: which response belongs to HEAD, what precedes the final
response, which framing is too doubtful to follow, and where limits are. Content with a length
and content up to the close of the connection is passed on by hand; httptools undoes chunking.
"""

from __future__ import annotations

import re
from contextlib import suppress

import httptools
from attrs import define

from gateway.core.fields import Pair

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: ([\t -~\x80-\xff]*))?")
_BARE_LF = re.compile(rb"(?<!\r)\n")
_START = b"HTTP/1."
_SPECIAL = frozenset((b"content-length", b"transfer-encoding", b"connection"))
_STATUS_LINES_LIMIT = 512
_ONE_FEED = 4096
"""Content up to this size goes through the parser too, so that it stands ready for the next head."""

# How the content of the current response is delimited.
_HEAD, _SIZED, _CHUNKED, _TO_CLOSE, _DONE = range(5)

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
        fields: Field lines in order: lower-case names, values without surrounding white space.
        length: Octets of content to come, 0 if there is none by definition (HEAD, 204, 304); None
            if only the end will tell.
    """

    status: int
    phrase: bytes
    minor: int
    fields: list[Pair]
    length: int | None


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
        "_left",
        "_max_header_bytes",
        "_max_headers",
        "_max_interim",
        "_method",
        "_mode",
        "_padded",
        "_pairs",
        "_parsed",
        "_parser",
        "_pieces",
        "_quiet",
        "_special",
        "_status",
        "_switching",
        "complete",
        "head",
        "keep_alive",
        "started",
        "surplus",
    )

    def __init__(
        self, *, max_header_bytes: int = 65536, max_headers: int = 200, max_interim: int = 32
    ) -> None:
        """
        Args:
            max_header_bytes: Largest head, status line and empty line included; also the most bytes
                in a row that chunked framing and trailers may take without any content.
            max_headers: Most field lines in a head, and in a trailer section.
            max_interim: Most 1xx responses before the final one.
        """
        self._max_header_bytes = max_header_bytes
        self._max_headers = max_headers
        self._max_interim = max_interim
        self._parser: httptools.HttpResponseParser | None = None
        self._status: StatusLine = (0, 0, b"")
        self._pairs: list[Pair] = []
        self._special: list[Pair] = []
        self._padded = False
        self._parsed = False
        self._left = 0
        self.expect(b"GET")

    def expect(self, method: bytes) -> None:
        """Get ready for the response to a request with *method*."""
        self._switching = False
        self._method = method
        self._mode = _HEAD
        self._buffer = b""
        self._interim = 0
        self._pieces: list[bytes] = []
        self._quiet = 0
        self.head: ResponseHead | None = None
        self.started = False
        self.complete = False
        self.keep_alive = False
        self.surplus = False

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
        if mode == _SIZED:
            return self._sized(data)
        if mode == _CHUNKED:
            return self._chunked(data)
        if mode == _TO_CLOSE:
            return data
        if mode == _DONE:
            self.surplus = True
            return b""
        return self._read_head(data)

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

    def _read_head(self, data: bytes) -> bytes:
        if self._buffer:
            data = self._buffer + data
        while True:
            end = data.find(b"\r\n\r\n", max(0, len(self._buffer) - 3))
            if end < 0:
                self._check_partial(data)
                self._buffer = data
                return b""
            end += 4
            if end > self._max_header_bytes:
                raise BadResponse("the head is too large")
            self._status = status = _status_line(data[: data.find(b"\r\n")])
            code = status[1]
            if code >= 200:
                break
            if code == 101:
                if self._switching:
                    return self._switched(data, end)
                raise BadResponse("101 without a request to upgrade")
            self._interim += 1
            if self._interim > self._max_interim:
                raise BadResponse("too many interim responses")
            self._buffer = b""
            data = data[end:]
            if not data:
                return b""
        self._buffer = b""
        rest = len(data) - end
        self._padded = b" \r\n" in data or b"\t\r\n" in data
        self._parse(data if rest <= _ONE_FEED else data[:end])
        assert self.head is not None
        if self.head.length is None and self._mode != _TO_CLOSE:
            return self._chunked(data[end:]) if rest > _ONE_FEED else self._gather(rest)
        if not rest:
            return b""
        if self.complete:
            self.surplus = True
            return b""
        content = data[end:]
        return content if self._mode == _TO_CLOSE else self._sized(content)

    def _switched(self, data: bytes, end: int) -> bytes:
        self._buffer = b""
        self._padded = b" \r\n" in data[:end] or b"\t\r\n" in data[:end]
        with suppress(httptools.HttpParserUpgrade):  # So it says that the head has ended.
            self._parse(data[:end])
        self._parser = None
        return data[end:]

    def _check_partial(self, data: bytes) -> None:
        """Refuse at once what can no longer become a head, rather than wait for its end."""
        if len(data) >= self._max_header_bytes:
            raise BadResponse("the head is too large")
        if data[:7] != _START[: len(data)]:
            raise BadResponse("not an HTTP/1 response")
        if _BARE_LF.search(data, len(self._buffer)):
            raise BadResponse("a line of the head does not end with CRLF")

    def _parse(self, data: bytes) -> None:
        parser = self._parser
        if parser is None:
            parser = self._parser = httptools.HttpResponseParser(self)
        self._pairs = []
        self._special = []
        self._parsed = False
        try:
            parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._parser = None
            if self.head is None or self._mode == _CHUNKED:
                raise _refused(error) from None
            self.surplus = self.complete
        if not self._parsed and self._mode != _CHUNKED:
            # It is in the midst of content that will not pass through it.
            self._parser = None

    # -- called by httptools

    def on_message_begin(self) -> None:
        """httptools: a message starts."""
        if self.head is not None:
            self.surplus = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """httptools: one field line, of the head or of the trailer section."""
        pairs = self._pairs
        if len(pairs) >= self._max_headers:
            raise BadResponse("too many fields")
        name = name.lower()
        pairs.append((name, value))
        if name in _SPECIAL:
            self._special.append((name, value))

    def on_headers_complete(self) -> None:
        """httptools: the head has ended."""
        if self.head is not None:
            return
        minor, status, phrase = self._status
        pairs = self._pairs
        if self._padded:
            pairs = [(name, value.rstrip(b" \t")) for name, value in pairs]
        length = self._framing(status, minor)
        self.head = ResponseHead(status, phrase, minor, pairs, length)
        if length == 0:
            self._mode = _DONE
            self.complete = True
        elif length is None:
            # What comes now are trailers, which go no further.
            self._pairs = []

    def on_body(self, data: bytes) -> None:
        """httptools: a piece of content."""
        if self._mode == _CHUNKED:
            self._pieces.append(data)

    def on_chunk_header(self) -> None:
        """httptools: a chunk starts; the trailer section follows the last."""
        self._pairs = []

    def on_message_complete(self) -> None:
        """httptools: the message has ended."""
        self._parsed = True
        if self._mode == _CHUNKED:
            self._mode = _DONE
            self.complete = True

    # -- the content

    def _framing(self, status: int, minor: int) -> int | None:
        """
        Decide on ``keep_alive`` and the framing; returns ``ResponseHead.length``.

        Source:
            RFC 9112 sections 9.3 and 6.3, refusing what section 6.1 calls faulty.
        """
        length: int | None = None
        options: list[bytes] = []
        chunked = False
        for name, value in self._special:
            if name == b"content-length":
                value = value.rstrip(b" \t")
                if length is not None or chunked:
                    raise BadResponse("several Content-Length fields, or Transfer-Encoding as well")
                if not (value.isdigit() and len(value) <= 18):
                    raise BadResponse("Content-Length is not a sensible number")
                length = int(value)
            elif name == b"connection":
                options.append(value)
            else:
                if chunked or length is not None:
                    raise BadResponse("several Transfer-Encoding fields, or Content-Length as well")
                if minor == 0:
                    raise BadResponse("Transfer-Encoding in HTTP/1.0")
                if value.rstrip(b" \t").lower() != b"chunked":
                    raise BadResponse("a transfer coding that was not asked for")
                chunked = True
        self.keep_alive = _keeps_alive(minor, options) if options else minor == 1
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
