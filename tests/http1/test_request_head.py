"""Writing request heads."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.http1.request_head import serialise


class SerialiseTests(SynchronousTestCase):
    def test_as_given(self) -> None:
        """Fields leave in their order, with the usual spelling; the target stays as it is."""
        fields = [(b"host", b"a"), (b"x-real-ip", b"1.2.3.4"), (b"etag", b""), (b"host", b"b")]
        self.assertEqual(
            serialise(b"GET", b"/a%2Fb//c?d=\xc3\xa9", fields),
            b"GET /a%2Fb//c?d=\xc3\xa9 HTTP/1.1\r\n"
            b"Host: a\r\nX-Real-IP: 1.2.3.4\r\nETag: \r\nHost: b\r\n\r\n",
        )

    def test_framing(self) -> None:
        """The framing of the content is stated, and only where there is some or some is expected."""
        for method, how, line in (
            (b"GET", {}, b""),
            (b"DELETE", {}, b""),
            (b"POST", {}, b"Content-Length: 0\r\n"),
            (b"PUT", {}, b"Content-Length: 0\r\n"),
            (b"GET", {"content_length": 3}, b"Content-Length: 3\r\n"),
            (b"POST", {"content_length": 0}, b"Content-Length: 0\r\n"),
            (b"POST", {"chunked": True}, b"Transfer-Encoding: chunked\r\n"),
        ):
            self.assertEqual(serialise(method, b"/", [], **how), method + b" / HTTP/1.1\r\n" + line + b"\r\n")

    def test_one_request_only(self) -> None:
        """What would end a field, or the request, early is refused."""
        for bad in (b"a\r\nb: c", b"a\nb", b"a\rb", b"a\0b", b"\r\n"):
            self.assertRaises(ValueError, serialise, b"GET", b"/", [(b"x", bad)])
            self.assertRaises(ValueError, serialise, b"GET", b"/", [(b"x" + bad, b"v")])
            self.assertRaises(ValueError, serialise, b"GET", b"/" + bad, [])
            self.assertRaises(ValueError, serialise, b"GET" + bad, b"/", [])
        for name in (b"", b"a b", b"a:", b"\xe9"):
            self.assertRaises(ValueError, serialise, b"GET", b"/", [(name, b"v")])
        for target in (b"", b"/a b", b"/\t", b"/\x7f"):
            self.assertRaises(ValueError, serialise, b"GET", target, [])
        for method in (b"", b"G T", b"GET:"):
            self.assertRaises(ValueError, serialise, method, b"/", [])

    def test_framing_is_ours(self) -> None:
        """A caller cannot set the framing: two opinions on it are how requests are smuggled."""
        for name in (b"content-length", b"transfer-encoding"):
            self.assertRaises(ValueError, serialise, b"POST", b"/", [(name, b"1")])

    @settings(deadline=None, max_examples=200)
    @given(
        st.lists(
            st.tuples(st.from_regex(rb"[a-z-]{1,10}", fullmatch=True), st.binary(max_size=20)), max_size=5
        )
    )
    def test_lines(self, fields: list[tuple[bytes, bytes]]) -> None:
        """Whatever the values, a head has one line per field or is refused."""
        try:
            head = serialise(b"GET", b"/", fields)
        except ValueError:
            return
        self.assertEqual(len(head.split(b"\r\n")), len(fields) + 3)
        self.assertEqual(head.count(b"\n"), len(fields) + 2)
