"""Field lines: read with a memory, written with a check."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.core.fields import Pair
from gateway.http1 import field_lines
from gateway.http1.field_lines import BadLine, KnownLines, added_lines, write_lines


def _pair(pair: Pair) -> Pair:
    return pair


class KnownLinesTests(SynchronousTestCase):
    def test_read(self) -> None:
        """Names in lower case, values without white space; of that the caller makes what it needs."""
        lines = KnownLines(lambda pair: (pair, len(pair[0])))
        self.assertEqual(lines[b"X-A:\t b c "], ((b"x-a", b"b c"), 3))
        self.assertEqual(lines[b"hOST:a"], ((b"host", b"a"), 4))
        self.assertEqual(lines[b"X:"], ((b"x", b""), 1))

    def test_remembered(self) -> None:
        """A line read before is not read again."""
        lines = KnownLines(_pair)
        self.assertIs(lines[b"X-A: 1"], lines[b"X-A: 1"])

    def test_bad(self) -> None:
        """What breaks the grammar is refused, each time."""
        lines = KnownLines(_pair)
        for line in (b"", b"x", b": a", b"x : a", b" x: a", b"x: \n", b"x: a\r", b"x: \0", b"x\xe9: a"):
            for _ in range(2):
                self.assertRaises(BadLine, lines.__getitem__, line)
        self.assertEqual(len(lines), 0)

    def test_bounded(self) -> None:
        """Neither many lines nor long ones fill the memory."""
        self.patch(field_lines, "MAX_LINES", 10)
        lines = KnownLines(_pair)
        for number in range(100):
            self.assertEqual(lines[b"X: %d" % number][1], b"%d" % number)
            self.assertLessEqual(len(lines), 10)
        lines = KnownLines(_pair)
        self.assertEqual(lines[b"X: " + b"y" * 600], (b"x", b"y" * 600))
        self.assertEqual(len(lines), 0)

    def test_secret(self) -> None:
        """Lines may be credentials: none stands in a repr."""
        lines = KnownLines(_pair)
        lines[b"Authorization: Bearer abc"]
        self.assertNotIn("abc", repr(lines))

    @given(st.binary(max_size=30))
    @settings(deadline=None)
    def test_nothing_hidden(self, junk: bytes) -> None:
        """No line that passes holds a byte that could end a line elsewhere."""
        try:
            name, value = KnownLines(_pair)[b"X: " + junk]
        except BadLine:
            return
        self.assertFalse(set(name + value) & {0, 10, 13})


class WriteTests(SynchronousTestCase):
    def test_lines(self) -> None:
        """Names as people expect to read them; order and repeats kept."""
        text = write_lines([(b"x-real-ip", b"1"), (b"etag", b'"a"'), (b"x-real-ip", b"")])
        self.assertEqual(text, b'X-Real-IP: 1\r\nETag: "a"\r\nX-Real-IP: \r\n')
        self.assertEqual(write_lines([]), b"")

    def test_refused(self) -> None:
        """Nobody can put a line of their own into a value or a name."""
        for pair in (
            (b"x", b"a\r\nSet-Cookie: b"),
            (b"x", b"a\n"),
            (b"x", b"\0"),
            (b"x y", b"a"),
            (b"", b"a"),
        ):
            self.assertRaises(BadLine, write_lines, [pair])

    def test_bounded(self) -> None:
        """Neither many lines nor long ones fill the memory; what is written stays right."""
        self.patch(field_lines, "MAX_LINES", 10)
        field_lines._written.clear()
        for number in (*range(30), *range(30)):
            self.assertEqual(write_lines([(b"x", b"%d" % number)]), b"X: %d\r\n" % number)
        self.assertLessEqual(len(field_lines._written), 10)
        write_lines([(b"x", b"y" * 600)])
        self.assertNotIn((b"x", b"y" * 600), field_lines._written)

    def test_added(self) -> None:
        """Lines of an answer are written the same way."""
        pairs = [(b"x-a", b"1\t\xe9"), (b"etag", b""), (b"x-a", b"2")]
        self.assertEqual(added_lines(pairs), write_lines(pairs))
        self.assertEqual(added_lines([]), b"")

    def test_added_refused(self) -> None:
        """No line can be put into another, no control passes, and what the server says is its own."""
        for value in (b"a\r\nb: c", b"a\n", b"\r", b"\0", b"\x1f", b"\x7f"):
            self.assertRaises(BadLine, added_lines, [(b"y", b"1"), (b"x", value), (b"z", b"2")])
        for name in (b"date", b"connection", b"content-length", b"transfer-encoding", b"x y", b""):
            self.assertRaises(BadLine, added_lines, [(b"x", b"1"), (name, b"close")])

    def test_framing(self) -> None:
        """Nobody but the one who writes the content may say how long it is."""
        self.assertRaises(BadLine, write_lines, [(b"content-length", b"1")])
        self.assertRaises(BadLine, write_lines, [(b"transfer-encoding", b"chunked")])
