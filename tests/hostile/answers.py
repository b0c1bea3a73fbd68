"""
Answers of upstreams that mean two things, or nothing: data for whatever reads responses.

``tests.hostile.test_answers`` runs each whole, byte by byte, and cut in two at every position.
"""

from __future__ import annotations

OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"Content-Length: 3\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

_STATUS_LINES = {
    "nothing of HTTP": b"SSH-2.0-OpenSSH\r\n\r\n",
    "content without a head": b"<html>hi</html>\r\n\r\n",
    "a blank line first": b"\r\nHTTP/1.1 200 OK\r\n",
    "a space first": b" HTTP/1.1 200 OK\r\n",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\n",
    "HTTP/1.2": b"HTTP/1.2 200 OK\r\n",
    "a lower-case protocol": b"http/1.1 200 OK\r\n",
    "two spaces": b"HTTP/1.1  200 OK\r\n",
    "no status": b"HTTP/1.1 OK\r\n",
    "a status of two digits": b"HTTP/1.1 20 OK\r\n",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\n",
    "a status below 100": b"HTTP/1.1 099 OK\r\n",
    "a status of zeros": b"HTTP/1.1 000 OK\r\n",
    "a signed status": b"HTTP/1.1 +200 OK\r\n",
    "a status of letters": b"HTTP/1.1 abc OK\r\n",
    "a control character in the phrase": b"HTTP/1.1 200 O\x01K\r\n",
    "NUL in the phrase": b"HTTP/1.1 200 O\x00K\r\n",
    "CR in the phrase": b"HTTP/1.1 200 O\rK\r\n",
    "a status line ended by LF": b"HTTP/1.1 200 OK\n",
    "101 to nobody's wish": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n",
}
_FIELD_LINES = {
    "LF between fields": b"A: b\nC: d\r\n",
    "CR in a value": b"A: b\rc\r\n",
    "NUL in a value": b"A: b\x00\r\n",
    "a control character in a value": b"A: b\x01\r\n",
    "DEL in a value": b"A: b\x7f\r\n",
    "NUL in a name": b"A\x00: b\r\n",
    "a space before the colon": b"A : b\r\n",
    "a space before the colon of a length": b"Content-Length : 3\r\n",
    "no colon": b"A\r\n",
    "no name": b": b\r\n",
    "a name that is no token": b"A/B: c\r\n",
    "a name that is not ASCII": b"\xc3\xa9: b\r\n",
    "a folded line": b"A: b\r\n c\r\n",
    "a first line that is folded": b" A: b\r\n",
    "two lengths": b"Content-Length: 3\r\n",
    "two lengths that differ": b"Content-Length: 4\r\n",
    "a length and chunks": b"Transfer-Encoding: chunked\r\n",
}
_FRAMING = {
    "chunks and a length": b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
    "a list of lengths": b"Content-Length: 3, 3\r\n",
    "a negative length": b"Content-Length: -1\r\n",
    "a signed length": b"Content-Length: +3\r\n",
    "a hexadecimal length": b"Content-Length: 0x3\r\n",
    "a length with an underscore": b"Content-Length: 1_0\r\n",
    "an empty length": b"Content-Length:\r\n",
    "a length of letters": b"Content-Length: abc\r\n",
    "a length beyond all reason": b"Content-Length: 1" + b"0" * 30 + b"\r\n",
    "gzip": b"Transfer-Encoding: gzip\r\n",
    "gzip, chunked": b"Transfer-Encoding: gzip, chunked\r\n",
    "chunked, chunked": b"Transfer-Encoding: chunked, chunked\r\n",
    "chunked twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "identity": b"Transfer-Encoding: identity\r\n",
    "an empty coding": b"Transfer-Encoding:\r\n",
}

BAD_HEADS: dict[str, bytes] = {
    **{name: line + LENGTH + b"\r\nabc" for name, line in _STATUS_LINES.items()},
    **{name: OK + LENGTH + line + b"\r\nabc" for name, line in _FIELD_LINES.items()},
    **{name: OK + lines + b"\r\n3\r\nabc\r\n0\r\n\r\n" for name, lines in _FRAMING.items()},
    "chunks in HTTP/1.0": CHUNKED.replace(b"1.1", b"1.0") + b"3\r\nabc\r\n0\r\n\r\n",
}
"""Answered for with 502: the client sees nothing of them."""

BAD_CONTENT: dict[str, bytes] = {
    name: CHUNKED + content
    for name, content in {
        "0x": b"0x3\r\nabc\r\n0\r\n\r\n",
        "a plus": b"+3\r\nabc\r\n0\r\n\r\n",
        "a minus": b"-3\r\nabc\r\n0\r\n\r\n",
        "an underscore": b"1_0\r\nabc\r\n0\r\n\r\n",
        "a space": b"3 \r\nabc\r\n0\r\n\r\n",
        "a size ended by LF": b"3\nabc\r\n0\r\n\r\n",
        "data ended by LF": b"3\r\nabc\n0\r\n\r\n",
        "data longer than said": b"3\r\nabcd\r\n0\r\n\r\n",
        "no size": b"\r\nabc\r\n0\r\n\r\n",
        "no hexadecimal": b"g\r\nabc\r\n0\r\n\r\n",
        "over 64 bits": b"f" * 17 + b"\r\nabc\r\n0\r\n\r\n",
        "an end ended by LF": b"3\r\nabc\r\n0\n\n",
        "a trailer with a space before the colon": b"3\r\nabc\r\n0\r\nT : 1\r\n\r\n",
        "a trailer without a colon": b"3\r\nabc\r\n0\r\nT\r\n\r\n",
    }.items()
}
"""Their head may be through already; the client is cut off, and never told that they were complete."""
