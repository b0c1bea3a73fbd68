"""The request grammar, and chunks."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.core.exchange import RequestHead
from gateway.http1.request import BadChunks, ChunkReader, Head, Refused, is_broken, parse_head


class HeadTests(SynchronousTestCase):
    def head(self, text: bytes) -> Head:
        head = parse_head(text, 100, 8192)
        assert isinstance(head, Head), head
        return head

    def test_parts(self) -> None:
        """Method, target, version and fields; names in lower case, values trimmed, order and bytes kept."""
        head = self.head(b"get /a?b HTTP/1.1\r\nHost: a\r\nX-Y:\t b c \r\nx-y:\r\nZ: \xe9\r\n")
        fields = ((b"host", b"a"), (b"x-y", b"b c"), (b"x-y", b""), (b"z", b"\xe9"))
        self.assertEqual(head.request, RequestHead(b"get", b"/a?b", fields, (1, 1)))
        self.assertEqual(head.hosts, [b"a"])

    def test_framing(self) -> None:
        """How long the content is follows from the fields, and from nothing else."""
        line = b"POST / HTTP/1.1\r\n"
        self.assertEqual(self.head(line).framing[:2], (0, False))
        counted = self.head(line + b"Content-Length: 7\r\n")
        self.assertEqual(counted.framing[:2], (7, True))
        self.assertIsNone(self.head(line + b"Transfer-Encoding: Chunked\r\n").framing.length)

    def test_persistence(self) -> None:
        """HTTP/1.1 persists unless somebody says close; HTTP/1.0 does not."""
        line = b"GET / HTTP/1.1\r\n"
        self.assertTrue(self.head(line).framing.persistent)
        self.assertFalse(self.head(line + b"Connection: x\r\nConnection: y, CLOSE\r\n").framing.persistent)
        self.assertFalse(self.head(b"GET / HTTP/1.0\r\n").framing.persistent)

    def test_expectation(self) -> None:
        """100-continue counts in HTTP/1.1 only."""
        field = b"Expect: 100-Continue\r\n"
        self.assertTrue(self.head(b"GET / HTTP/1.1\r\n" + field).framing.expects)
        self.assertFalse(self.head(b"GET / HTTP/1.0\r\n" + field).framing.expects)

    @given(st.binary(max_size=60))
    @settings(deadline=None)
    def test_never_raises(self, junk: bytes) -> None:
        """Whatever bytes come, the answer is a head or a refusal."""
        for text in (junk, b"GET / HTTP/1.1\r\n" + junk + b"\r\n", b"GET " + junk + b" HTTP/1.1\r\n"):
            self.assertIsInstance(parse_head(text, 100, 8192), (Head, Refused))

    @given(st.binary(max_size=40))
    @settings(deadline=None)
    def test_no_control_bytes_pass(self, junk: bytes) -> None:
        """No field value that passes can end a line or hide a byte from others."""
        head = parse_head(b"GET / HTTP/1.1\r\nX: " + junk + b"\r\n", 100, 8192)
        if isinstance(head, Head):
            for name, value in head.request.fields:
                self.assertFalse(set(name + value) & {0, 10, 13})

    def test_long_white_space(self) -> None:
        """A field of nothing but white space takes no time to speak of: it is read once."""
        head = self.head(b"GET / HTTP/1.1\r\nX: " + b" " * 30_000 + b"y" + b" " * 30_000 + b"\r\n")
        self.assertEqual(head.request.fields, ((b"x", b"y"),))

    def test_broken_early(self) -> None:
        """Bytes that can never become a head are known at once; a CR at the end may still get its LF."""
        for bytes_, broken in (
            (b"GET /\n", True),
            (b"a\rb", True),
            (b"\0", True),
            (b"a\r", False),
            (b"a\r\n", False),
        ):
            self.assertEqual(is_broken(bytes_, 0), broken, bytes_)
        self.assertTrue(is_broken(b"ab\r" + b"c", 3))


class ChunkTests(SynchronousTestCase):
    WIRE = b"3\r\nabc\r\nA;n=v\r\n0123456789\r\n0\r\nT: 1\r\n\r\nGET"

    def read(self, pieces: list[bytes]) -> tuple[bytes, bytes]:
        reader = ChunkReader(256, 8192)
        content, rest = b"", b""
        for piece in pieces:
            if reader.done:
                rest += piece
                continue
            got, rest = reader.feed(piece)
            content += got
        self.assertTrue(reader.done)
        return content, rest

    def test_whole_and_cut(self) -> None:
        """The content is the same whole, byte by byte, and cut at every place; the rest is handed back."""
        expected = (b"abc0123456789", b"GET")
        self.assertEqual(self.read([self.WIRE]), expected)
        self.assertEqual(self.read([bytes([byte]) for byte in self.WIRE]), expected)
        for cut in range(1, len(self.WIRE)):
            self.assertEqual(self.read([self.WIRE[:cut], self.WIRE[cut:]]), expected, cut)

    def test_refused(self) -> None:
        """Sizes, line ends and trailers that break the grammar are refused; so are endless lines."""
        for wire in (
            b"0x3\r\n",
            b" 3\r\n",
            b"3 \r\n",
            b"\r\n",
            b"3\n",
            b"3\r\nabcX",
            b"3\r\nabc\n",
            b"1" * 16 + b"\r\n",
            b"1;" + b"x" * 300,
            b"0\r\nbad trailer\r\n",
            b"0\r\n" + b"T: 1\r\n" * 2000,
            b"0\r\nT: " + b"x" * 9000,
        ):
            self.assertRaises(BadChunks, ChunkReader(256, 8192).feed, wire)

    @given(st.lists(st.binary(min_size=1, max_size=20), max_size=8), st.integers(1, 9))
    @settings(deadline=None)
    def test_round_trip(self, pieces: list[bytes], step: int) -> None:
        """Whatever is put into chunks comes out of them."""
        wire = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        cut = [wire[at : at + step] for at in range(0, len(wire), step)]
        self.assertEqual(self.read(cut), (b"".join(pieces), b""))
