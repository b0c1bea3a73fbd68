"""Reading responses: every case whole, byte by byte, and cut at every position."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.core.recurring import Recurring
from gateway.http1.response import BadResponse, ResponseHead, ResponseReader
from tests.http1.wire import wire

OK = b"HTTP/1.1 200 OK\r\n"


def read(
    pieces: list[bytes], method: bytes = b"GET", closed: bool = False, **limits: int
) -> tuple[object, ...]:
    """Everything that can be told about a response read from *pieces*: the same if its head is known."""
    known: Recurring[ResponseHead] = Recurring(10)
    first, *others = [_read(pieces, method, closed, known, **limits) for _ in range(3)]
    assert others == [first, first], (first, others)
    return first


def _read(
    pieces: list[bytes], method: bytes, closed: bool, known: Recurring[ResponseHead], **limits: int
) -> tuple[object, ...]:
    reader = ResponseReader(known_heads=known, **limits)
    reader.expect(method)
    content = b""
    try:
        for piece in pieces:
            content += reader.feed(piece)
    except BadResponse:
        return ("bad",)
    if closed:
        reader.close(True)
    head = reader.head
    if head is None:
        return ("no head",)
    return (
        head.status,
        head.phrase,
        tuple(head.fields),
        head.length,
        content,
        reader.complete,
        reader.reusable,
    )


class ReadingTests(SynchronousTestCase):
    def same(self, data: bytes, expected: tuple[object, ...], **how: object) -> None:
        for pieces in wire(data).cuts():
            self.assertEqual(read(pieces, **how), expected, pieces)  # type: ignore[arg-type]

    def bad(self, *cases: bytes, **how: object) -> None:
        for data in cases:
            for pieces in wire(data).cuts():
                self.assertEqual(read(pieces, **how), ("bad",), pieces)  # type: ignore[arg-type]

    def test_sized(self) -> None:
        """A response with Content-Length ends after that many bytes, and the connection can be used again."""
        self.same(
            OK + b"Content-Length: 5\r\nX-A: b \t\r\n\r\nhello",
            (200, b"OK", ((b"content-length", b"5"), (b"x-a", b"b")), 5, b"hello", True, True),
        )

    def test_known_heads(self) -> None:
        """A head that is known from an answer to GET is not taken for more than it is to HEAD."""
        known: Recurring[ResponseHead] = Recurring(10)
        data = OK + b"Content-Length: 5\r\n\r\n"
        for _ in range(3):
            expected = (200, b"OK", ((b"content-length", b"5"),), 5, b"hello", True, True)
            self.assertEqual(_read([data + b"hello"], b"GET", False, known), expected)
        self.assertEqual(len(known), 1)
        expected = (200, b"OK", ((b"content-length", b"5"),), 0, b"", True, True)
        self.assertEqual(_read([data], b"HEAD", False, known), expected)

    def test_large_sized(self) -> None:
        """Content larger than what goes through the parser arrives the same."""
        body = bytes(range(256)) * 64
        data = OK + b"Content-Length: %d\r\n\r\n" % len(body) + body
        for size in (1000, 4096, 16384, len(data)):
            self.assertEqual(read(wire(data).split_every(size))[3:], (len(body), body, True, True))

    def test_empty(self) -> None:
        """Content-Length: 0 ends with the head."""
        self.same(
            OK + b"Content-Length: 0\r\n\r\n", (200, b"OK", ((b"content-length", b"0"),), 0, b"", True, True)
        )

    def test_chunked(self) -> None:
        """Chunks arrive as plain content; extensions and trailers go no further."""
        self.same(
            OK + b"Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n",
            (200, b"OK", ((b"transfer-encoding", b"chunked"),), None, b"abcde", True, True),
        )

    def test_large_chunked(self) -> None:
        """Large chunks arrive complete, however the reads fall."""
        body = bytes(range(256)) * 64
        data = OK + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        for size in (1000, 4096, 16384, len(data)):
            self.assertEqual(read(wire(data).split_every(size))[3:], (None, body, True, True))

    def test_until_close(self) -> None:
        """Without a length the content ends with the connection."""
        data = b"HTTP/1.0 200\r\nX: y\r\n\r\nabc"
        expected = (200, b"", ((b"x", b"y"),), None, b"abc")
        self.same(data, (*expected, False, False))
        self.same(data, (*expected, True, False), closed=True)

    def test_cut_short(self) -> None:
        """Sized and chunked content that the close cuts off is not complete; nor is any after a reset."""
        for head in (b"Content-Length: 9\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n9\r\nabc"):
            self.assertEqual(read([OK + head], closed=True)[4:], (b"abc", False, False))
        reader = ResponseReader()
        reader.feed(OK + b"\r\nabc")
        self.assertFalse(reader.close(False))

    def test_no_content(self) -> None:
        """Answers to HEAD, 204 and 304 have no content, whatever their fields say."""
        for line, method in (
            (OK, b"HEAD"),
            (b"HTTP/1.1 304 Not Modified\r\n", b"GET"),
            (b"HTTP/1.1 204 No Content\r\n", b"GET"),
        ):
            for framing in (b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b""):
                for pieces in wire(line + framing + b"\r\n").cuts():
                    self.assertEqual(read(pieces, method)[3:], (0, b"", True, True), pieces)

    def test_interim(self) -> None:
        """100 and 103 are dropped; the final response follows."""
        self.same(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
            + OK
            + b"Content-Length: 1\r\n\r\nx",
            (200, b"OK", ((b"content-length", b"1"),), 1, b"x", True, True),
        )

    def test_endless_interim(self) -> None:
        """Interim responses without end are refused."""
        self.bad(b"HTTP/1.1 100 Continue\r\n\r\n" * 4, max_interim=3)

    def test_switching(self) -> None:
        """101 is refused: nobody asked to upgrade."""
        self.bad(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")

    def test_switched(self) -> None:
        """Asked for, 101 is the final response; what follows is no HTTP and comes as it is."""
        head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
        for pieces in wire(head + OK + b"\0raw").cuts():
            reader = ResponseReader()
            reader.expect(b"GET")
            reader.expect_switch()
            content = b"".join(reader.feed(piece) for piece in pieces)
            assert reader.head is not None
            self.assertEqual((reader.head.status, reader.head.length), (101, None))
            self.assertEqual(reader.head.fields[0], (b"upgrade", b"x"))
            self.assertEqual((content, reader.complete), (OK + b"\0raw", False))
            self.assertTrue(reader.close(True))
            self.assertFalse(reader.reusable)

    def test_switch_not_taken(self) -> None:
        """Asked for and not given, the answer is an ordinary one, and so is the next."""
        reader = ResponseReader()
        reader.expect(b"GET")
        reader.expect_switch()
        self.assertEqual(reader.feed(OK + b"Content-Length: 1\r\n\r\nx"), b"x")
        self.assertTrue(reader.reusable)
        reader.expect(b"GET")
        self.assertRaises(BadResponse, reader.feed, b"HTTP/1.1 101 X\r\nUpgrade: x\r\n\r\n")

    def test_upgrade_offered(self) -> None:
        """A response that only offers an upgrade is an ordinary one."""
        head = b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 1\r\n\r\nx"
        for pieces in wire(OK + head).cuts():
            self.assertEqual(read(pieces)[3:], (1, b"x", True, True))

    def test_keep_alive(self) -> None:
        """The connection is kept as RFC 9112 section 9.3 says."""
        for version, option, kept in (
            (b"1.1", b"", True),
            (b"1.1", b"Connection: Close\r\n", False),
            (b"1.1", b"Connection: x, close\r\n", False),
            (b"1.1", b"Connection: x\r\nConnection: close\r\n", False),
            (b"1.0", b"", False),
            (b"1.0", b"Connection: Keep-Alive\r\n", True),
            (b"1.0", b"Connection: keep-alive, close\r\n", False),
        ):
            data = b"HTTP/%b 200 OK\r\n%bContent-Length: 1\r\n\r\nx" % (version, option)
            for pieces in wire(data).cuts():
                self.assertEqual(read(pieces)[5:], (True, kept), (version, option))

    def test_surplus(self) -> None:
        """Bytes after the end make the connection useless, and are not content."""
        for head, method in (
            (b"Content-Length: 1\r\n\r\nx", b"GET"),
            (b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", b"GET"),
            (b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n1\r\nx\r\n0\r\n\r\n", b"GET"),
            (b"Content-Length: 9\r\n\r\n", b"HEAD"),
            (b"Content-Length: 0\r\n\r\n", b"GET"),
        ):
            for more in (b"H", b"HTTP/1.1 200 OK\r\n\r\n", OK + b"Content-Length: 4\r\n\r\nmore", b"\0\0\0"):
                for pieces in wire(OK + head + more).cuts():
                    found = read(pieces, method)
                    self.assertEqual(found[4:], (b"x" if b"\nx" in head else b"", True, False), pieces)

    def test_doubtful_framing(self) -> None:
        """Framing that two readers could read in two ways is refused."""
        self.bad(
            OK + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
            OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nx",
            OK + b"Content-Length: 1, 1\r\n\r\nx",
            OK + b"Content-Length: +1\r\n\r\nx",
            OK + b"Content-Length: -1\r\n\r\nx",
            OK + b"Content-Length: 0x1\r\n\r\nx",
            OK + b"Content-Length:\r\n\r\nx",
            OK + b"Content-Length: 9999999999999999999\r\n\r\nx",
            OK + b"Content-Length: 99999999999999999999999\r\n\r\nx",
            OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
            OK + b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n1\r\nx\r\n0\r\n\r\n",
            OK + b"Transfer-Encoding: gzip\r\n\r\nx",
            OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
            OK + b"Transfer-Encoding: chunked, identity\r\n\r\nx",
            OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            OK + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
            OK + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
            b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        )

    def test_bad_chunks(self) -> None:
        """Chunk sizes and ends that are not exactly right are refused."""
        head = OK + b"Transfer-Encoding: chunked\r\n\r\n"
        self.bad(
            head + b"x\r\n",
            head + b"-1\r\nx\r\n0\r\n\r\n",
            head + b"0x1\r\nx\r\n0\r\n\r\n",
            head + b"1 \r\nx\r\n0\r\n\r\n",
            head + b"1\nx\n0\n\n",
            head + b"1\r\nxy\r\n0\r\n\r\n",
            head + b"fffffffffffffffff\r\nx",
            head + b"0\r\nA\0: b\r\n\r\n",
        )

    def test_bad_heads(self) -> None:
        """A head that is not exactly right is refused."""
        self.bad(
            b"garbage\r\n\r\n",
            b"\r\nHTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/2 200 OK\r\n\r\n",
            b"HTTP/1.2 200 OK\r\n\r\n",
            b"HTTP/1.1  200 OK\r\n\r\n",
            b"HTTP/1.1 20 OK\r\n\r\n",
            b"HTTP/1.1 2000 OK\r\n\r\n",
            b"HTTP/1.1 099 OK\r\n\r\n",
            b"HTTP/1.1 200OK\r\n\r\n",
            b"HTTP/1.1 200 O\0K\r\n\r\n",
            b"HTTP/1.1 200 O\rK\r\n\r\n",
            b"http/1.1 200 OK\r\n\r\n",
            b"ICY 200 OK\r\n\r\n",
            OK + b"A: b\r\n c\r\n\r\n",
            OK + b" A: b\r\n\r\n",
            OK + b"A : b\r\n\r\n",
            OK + b"A\r\n\r\n",
            OK + b": b\r\n\r\n",
            OK + b"A: b\0c\r\n\r\n",
            OK + b"A: b\rc\r\n\r\n",
            OK + b"A: b\nB: c\r\n\r\n",
            b"HTTP/1.1 200 OK\nA: b\n\n",
            OK + b"A\xe9: b\r\n\r\n",
        )

    def test_garbage_is_refused_at_once(self) -> None:
        """What cannot become a response is refused without waiting for the end of a head."""
        for data in (b"SSH-2.0-x", b"\x16\x03\x01", b"HTTP/2", b"HTTP/1.1 200 OK\nA: b"):
            self.assertEqual(read([data]), ("bad",))

    def test_connect(self) -> None:
        """A tunnel that nobody asked for is refused; a refusal of CONNECT is an answer."""
        self.bad(OK + b"\r\n", method=b"CONNECT")
        self.same(
            b"HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n",
            (405, b"No", ((b"content-length", b"0"),), 0, b"", True, True),
            method=b"CONNECT",
        )

    def test_head_limits(self) -> None:
        """Heads have a size limit and a limit on fields, both exact."""
        data = OK + b"A: b\r\nContent-Length: 0\r\n\r\n"
        for limit, good in ((len(data), True), (len(data) - 1, False)):
            for pieces in wire(data).cuts():
                self.assertEqual(read(pieces, max_header_bytes=limit) != ("bad",), good)
        for count, good in ((2, True), (1, False)):
            for pieces in wire(data).cuts():
                self.assertEqual(read(pieces, max_headers=count) != ("bad",), good)

    def test_endless_trailers(self) -> None:
        """Trailers and chunk extensions without end are refused."""
        head = OK + b"Transfer-Encoding: chunked\r\n\r\n"
        for start, more in (
            (b"0\r\n", b"A: b\r\n"),
            (b"0\r\nA: ", b"bbbb"),
            (b"1;", b"aaaa"),
            (b"0", b"00000"),
        ):
            pieces = [head + start, *([more] * 1000)]
            self.assertEqual(read(pieces, max_header_bytes=1000), ("bad",), start)
        self.assertEqual(read([head + b"0\r\n" + b"A: b\r\n" * 6], max_headers=4), ("bad",))

    def test_one_after_the_other(self) -> None:
        """One reader reads every response of a connection, whatever came before."""
        cases = [
            (b"GET", OK + b"Content-Length: 1\r\n\r\nx", b"x"),
            (b"HEAD", OK + b"Content-Length: 7\r\n\r\n", b""),
            (b"GET", OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\ny\r\n0\r\nT: t\r\n\r\n", b"y"),
            (
                b"GET",
                b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 5000\r\n\r\n" + b"z" * 5000,
                b"z" * 5000,
            ),
            (b"GET", b"HTTP/1.1 204 None\r\n\r\n", b""),
            (b"GET", b"HTTP/1.1 304 Same\r\nContent-Length: 9\r\n\r\n", b""),
        ]
        for size in (1, 7, 10000):
            reader = ResponseReader()
            for first in cases:
                for second in cases:
                    for method, data, expected in (first, second):
                        reader.expect(method)
                        self.assertFalse(reader.started)
                        content = b"".join(reader.feed(piece) for piece in wire(data).split_every(size))
                        self.assertEqual((content, reader.reusable), (expected, True))

    @settings(deadline=None, max_examples=150)
    @given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.data())
    def test_any_chunks_any_cut(self, chunks: list[bytes], data: st.DataObject) -> None:
        """Chunked content arrives the same however sender and network divide it."""
        text = OK + b"Transfer-Encoding: chunked\r\n\r\n"
        text += b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
        size = data.draw(st.integers(1, len(text)))
        self.assertEqual(read(wire(text).split_every(size))[4:], (b"".join(chunks), True, True))

    @settings(deadline=None, max_examples=300)
    @given(st.binary(max_size=200), st.integers(1, 50))
    def test_noise(self, noise: bytes, size: int) -> None:
        """Whatever arrives, the reader reads it or refuses it."""
        for start in (b"", OK, OK + b"Transfer-Encoding: chunked\r\n\r\n"):
            if start + noise:
                read(wire(start + noise).split_every(size))
