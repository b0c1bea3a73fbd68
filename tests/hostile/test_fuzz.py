"""Nobody thought of these requests: hypothesis puts them together."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.hostile.fuzz import Fuzzed, check, lean, twisted_web
from tests.hostile.smuggling import CHUNKS, REFUSED

GOOD = (
    b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET http://a/x?q HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"HEAD /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
    b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;e=1\r\nabc\r\n0\r\nT: 1\r\n\r\n",
    b"PUT /y HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nz",
)
PIECES = (
    *(b"\r\n", b"\n", b"\r", b"\r\n\r\n", b" ", b"\t", b":", b";", b",", b"\x00", b"\x0b", b"\x7f", b"\xff"),
    *(b"Host: b\r\n", b"Content-Length: 3\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n"),
    *(b"Transfer-Encoding: x, chunked\r\n", b"Connection: close\r\n", b" folded\r\n", b"X: y\r\n"),
    *(
        b"0\r\n\r\n",
        b"3\r\nabc\r\n",
        b"GET /x HTTP/1.1\r\n",
        b"HTTP/1.0",
        b"HTTP/2.0",
        b"#",
        b"http://a",
        b"*",
    ),
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Good requests in a row, damaged in a few places."""
    some = st.lists(st.sampled_from(GOOD), min_size=1, max_size=3).map(b"".join)
    data = draw(some | st.sampled_from([case.data[:300] for case in (*REFUSED, *CHUNKS)]))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        gone = draw(st.sampled_from((0, 0, 1, 2, 5)))
        put = draw(st.sampled_from(PIECES) | st.binary(max_size=3) | st.just(data[at : at + 20]))
        data = data[:at] + put + data[at + gone :]
    return data


class FuzzTests(SynchronousTestCase):
    @given(requests(), st.data())
    @settings(max_examples=120, deadline=None)
    def test_one_reading(self, data: bytes, more: st.DataObject) -> None:
        """Every row of bytes has one reading, however it is cut and whichever server reads it."""
        check([self.lean, self.twisted], data, more.draw(st.integers(0, len(data))))

    def setUp(self) -> None:
        self.lean, self.twisted = Fuzzed(lean), Fuzzed(twisted_web)
