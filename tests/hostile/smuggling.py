"""
Requests that mean two things, or nothing: data for every HTTP/1.1 server in front of the runner.

Each case is what a client sends and the status of the one answer it gets before the connection
ends. Nothing of it may reach an upstream. ``tests.hostile.test_requests`` runs each whole, byte by
byte, and cut in two at every position.
"""

from __future__ import annotations

from attrs import frozen

LINE = b"POST /x HTTP/1.1\r\n"
HOST = b"Host: example.com\r\n"
CHUNKED = LINE + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
NEXT = b"GET /x?smuggled HTTP/1.1\r\nHost: example.com\r\n\r\n"
"""What an attacker hides: the request that only one of two parsers would see."""


@frozen
class Case:
    """
    Attributes:
        name: What is wrong with it. data: All bytes the client sends.
        status: Of the answer.
    """

    name: str
    data: bytes
    status: int = 400


def _head(name: str, fields: bytes, status: int = 400, line: bytes = LINE, host: bytes = HOST) -> Case:
    return Case(name, line + host + fields + b"\r\n", status)


def _line(name: str, line: bytes, status: int = 400) -> Case:
    return Case(name, line + b"\r\n" + HOST + b"\r\n", status)


def _host(name: str, fields: bytes, version: bytes = b"1.1") -> Case:
    return Case(name, b"GET /x HTTP/" + version + b"\r\n" + fields + b"\r\n")


REQUEST_LINES = (
    _line("no version (HTTP/0.9)", b"GET /x"),
    _line("no target", b"GET HTTP/1.1"),
    _line("nothing but a method", b"GET"),
    _line("two spaces after the method", b"GET  /x HTTP/1.1"),
    _line("two spaces after the target", b"GET /x  HTTP/1.1"),
    _line("a space at the end", b"GET /x HTTP/1.1 "),
    _line("a space at the start", b" GET /x HTTP/1.1"),
    _line("tabs between the parts", b"GET\t/x\tHTTP/1.1"),
    _line("a form feed between the parts", b"GET\x0c/x HTTP/1.1"),
    _line("a space in the target", b"GET /x y HTTP/1.1"),
    _line("more behind the version", b"GET /x HTTP/1.1 HTTP/1.1"),
    _line("a lower-case protocol", b"GET /x http/1.1"),
    _line("another protocol", b"GET /x ICY/1.1"),
    _line("HTTP/1", b"GET /x HTTP/1"),
    _line("HTTP/1.", b"GET /x HTTP/1."),
    _line("HTTP/01.1", b"GET /x HTTP/01.1"),
    _line("HTTP/1.10", b"GET /x HTTP/1.10"),
    _line("HTTP/1,1", b"GET /x HTTP/1,1"),
    _line("HTTP/+1.1", b"GET /x HTTP/+1.1"),
    _line("HTTP/0.9, said", b"GET /x HTTP/0.9", 505),
    _line("HTTP/1.2", b"GET /x HTTP/1.2", 505),
    _line("HTTP/2.0", b"GET /x HTTP/2.0", 505),
    _line("HTTP/3.0", b"GET /x HTTP/3.0", 505),
    Case("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    _line("a method that is no token", b"GE(T /x HTTP/1.1"),
    _line("a method that is not ASCII", b"G\xc3\x89T /x HTTP/1.1"),
    _line("a method with a colon", b"GET: /x HTTP/1.1"),
    _line("a control character in the target", b"GET /x\x01 HTTP/1.1"),
    _line("DEL in the target", b"GET /x\x7f HTTP/1.1"),
    _line("NUL in the target", b"GET /x\x00 HTTP/1.1"),
    _line("a tab in the target", b"GET /x\ty HTTP/1.1"),
    _line("UTF-8 in the target", b"GET /\xc3\xa9 HTTP/1.1"),
    _line("Latin-1 in the query", b"GET /x?q=\xe9 HTTP/1.1"),
    _line("a fragment", b"GET /x#y HTTP/1.1"),
    _line("a fragment behind a query", b"GET /x?a#y HTTP/1.1"),
    _line("a fragment in absolute form", b"GET http://example.com/x#y HTTP/1.1"),
    _line("a relative target", b"GET x HTTP/1.1"),
    _line("a query alone", b"GET ?x HTTP/1.1"),
    _line("an asterisk with GET", b"GET * HTTP/1.1"),
    _line("asterisks with OPTIONS", b"OPTIONS ** HTTP/1.1"),
    _line("authority form with GET", b"GET example.com:80 HTTP/1.1"),
    _line("CONNECT", b"CONNECT example.com:80 HTTP/1.1"),
    _line("CONNECT in absolute form", b"CONNECT http://example.com/ HTTP/1.1"),
    _line("CONNECT in origin form", b"CONNECT /x HTTP/1.1"),
    _line("another host in absolute form", b"GET http://other.example/x HTTP/1.1"),
    _line("another port in absolute form", b"GET http://example.com:8080/x HTTP/1.1"),
    _line("a user in absolute form", b"GET http://me@example.com/x HTTP/1.1"),
    _line("an absolute form without a host", b"GET http:///x HTTP/1.1"),
    _line("another scheme", b"GET ftp://example.com/x HTTP/1.1"),
    _line("a scheme with one slash", b"GET http:/example.com/x HTTP/1.1"),
    _line("a backslash host", b"GET http://example.com\\other/x HTTP/1.1"),
    _line("above the root", b"GET /../x HTTP/1.1"),
    _line("above the root, encoded", b"GET /%2e%2e/x HTTP/1.1"),
    _line("an escaped NUL", b"GET /x%00 HTTP/1.1"),
    _line("half an escape", b"GET /x% HTTP/1.1"),
    _line("an escape that is none", b"GET /x%zz HTTP/1.1"),
)

LINE_ENDS = (
    Case("a request line ended by LF", b"GET /x HTTP/1.1\n" + HOST + b"\r\n"),
    Case("field lines ended by LF", b"GET /x HTTP/1.1\r\nHost: example.com\n\r\n"),
    Case("nothing but LF", b"GET /x HTTP/1.1\nHost: example.com\n\n"),
    Case("a head ended by LF LF", b"GET /x HTTP/1.1\r\nHost: example.com\r\nA: b\n\n" + NEXT),
    Case("a head ended by CRLF LF", b"GET /x HTTP/1.1\r\nHost: example.com\r\n\n" + NEXT),
    Case("CR alone between fields", b"GET /x HTTP/1.1\r\nHost: example.com\rA: b\r\n\r\n"),
    Case("CR CR LF", b"GET /x HTTP/1.1\r\r\nHost: example.com\r\n\r\n"),
    Case("CR at the end of a value", LINE + HOST + b"A: b\r\r\n\r\n"),
    Case("CR in a value", LINE + HOST + b"A: b\rTransfer-Encoding: chunked\r\n\r\n"),
    Case("LF in a value", LINE + HOST + b"A: b\nTransfer-Encoding: chunked\r\n\r\n"),
    Case("LF first", b"\nGET /x HTTP/1.1\r\n" + HOST + b"\r\n"),
    Case("CR first", b"\rGET /x HTTP/1.1\r\n" + HOST + b"\r\n"),
    Case("blank lines without end", b"\r\n" * 200 + b"GET /x HTTP/1.1\r\n" + HOST + b"\r\n"),
    Case("TLS on a cleartext port", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 40),
    Case("NUL first", b"\x00" + NEXT),
    Case("a PROXY line nobody expects", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + NEXT),
)

FIELD_LINES = (
    _head("a space before the colon", b"A : b\r\n"),
    _head("a tab before the colon", b"A\t: b\r\n"),
    _head("a space before a Content-Length's colon", b"Content-Length : 3\r\n"),
    _head("a space before a Transfer-Encoding's colon", b"Transfer-Encoding : chunked\r\n"),
    _head("a folded line", b"A: b\r\n c\r\n"),
    _head("a folded line, with a tab", b"A: b\r\n\tc\r\n"),
    _head("a folded Transfer-Encoding", b"Transfer-Encoding:\r\n chunked\r\n"),
    _head("a first line that is folded", b" A: b\r\n", host=b""),
    _head("white space in front of the first field", b" Host: a\r\n", host=b""),
    _head("a line of white space", b" \r\n"),
    _head("no colon", b"A\r\n"),
    _head("no name", b": b\r\n"),
    _head("a name that is no token", b"A/B: c\r\n"),
    _head("a name in quotes", b'"A": c\r\n'),
    _head("a name with a space", b"A B: c\r\n"),
    _head("a name that is not ASCII", b"\xc3\x84: c\r\n"),
    _head("a control character in a name", b"A\x01: c\r\n"),
    _head("NUL in a name", b"A\x00: c\r\n"),
    _head("NUL in a value", b"A: \x00\r\n"),
    _head("a control character in a value", b"A: b\x01c\r\n"),
    _head("DEL in a value", b"A: b\x7f\r\n"),
    _head("a vertical tab in a value", b"A: b\x0bc\r\n"),
    _head("a vertical tab around a value", b"Transfer-Encoding: \x0bchunked\r\n"),
)

HOSTS = (
    _host("no Host", b""),
    _host("two Hosts", b"Host: a\r\nHost: b\r\n"),
    _host("the same Host twice", b"Host: a\r\nHost: a\r\n"),
    _host("two Hosts in one", b"Host: a, b\r\n"),
    _host("two Hosts in one, without a space", b"Host: a,b\r\n"),
    _host("an empty Host", b"Host:\r\n"),
    _host("a Host of white space", b"Host: \t \r\n"),
    _host("a Host with a user", b"Host: me@a\r\n"),
    _host("a Host with a path", b"Host: a/b\r\n"),
    _host("a Host with a query", b"Host: a?b\r\n"),
    _host("a Host with a fragment", b"Host: a#b\r\n"),
    _host("a Host with a backslash", b"Host: a\\b\r\n"),
    _host("a Host with a space", b"Host: a b\r\n"),
    _host("a Host with a scheme", b"Host: http://a\r\n"),
    _host("a Host that is not ASCII", b"Host: \xc3\xa4\r\n"),
    _host("a Host with a port that is none", b"Host: a:b\r\n"),
    _host("a Host with two ports", b"Host: a:1:2\r\n"),
    _host("a Host with a signed port", b"Host: a:+80\r\n"),
    _host("a Host with too large a port", b"Host: a:65536\r\n"),
    _host("a Host of a port alone", b"Host: :80\r\n"),
    _host("a Host with half an escape", b"Host: a%4\r\n"),
    _host("a Host with a bad IPv6 address", b"Host: [::1\r\n"),
    _host("a Host with IPv6 of dots", b"Host: [....]\r\n"),
    _host("a Host with IPv6 of too many groups", b"Host: [1:2:3:4:5:6:7:8:9]\r\n"),
    _host("a Host with IPv6 and more", b"Host: [::1]x\r\n"),
    _host("two Hosts in HTTP/1.0", b"Host: a\r\nHost: b\r\n", b"1.0"),
    _host("a bad Host in HTTP/1.0", b"Host: a b\r\n", b"1.0"),
)

_ABC = b"0\r\n\r\n"
FRAMING = (
    *(
        Case(name, LINE + HOST + fields + b"\r\n" + rest + NEXT, status)
        for name, fields, rest, status in (
            ("CL.TE", b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", _ABC + b"G", 400),
            ("TE.CL", b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", b"5c\r\n", 400),
            ("CL 0 and TE", b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", _ABC, 400),
            ("TE and an empty CL", b"Transfer-Encoding: chunked\r\nContent-Length:\r\n", _ABC, 400),
            (
                "TE.TE, the second unknown",
                b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
                _ABC,
                400,
            ),
            (
                "TE.TE, the first unknown",
                b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n",
                _ABC,
                501,
            ),
            ("TE twice", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", _ABC, 400),
            ("TE twice in one", b"Transfer-Encoding: chunked, chunked\r\n", _ABC, 400),
            ("TE identity", b"Transfer-Encoding: identity\r\n", b"", 400),
            ("TE identity and CL", b"Transfer-Encoding: identity\r\nContent-Length: 0\r\n", b"", 400),
            ("TE chunked, identity", b"Transfer-Encoding: chunked, identity\r\n", _ABC, 400),
            ("TE identity, chunked", b"Transfer-Encoding: identity, chunked\r\n", _ABC, 400),
            ("TE gzip", b"Transfer-Encoding: gzip\r\n", b"", 400),
            ("TE gzip, chunked", b"Transfer-Encoding: gzip, chunked\r\n", _ABC, 501),
            ("TE chunked, gzip", b"Transfer-Encoding: chunked, gzip\r\n", _ABC, 400),
            ("TE xchunked", b"Transfer-Encoding: xchunked\r\n", _ABC, 400),
            ("TE chunkedx", b"Transfer-Encoding: chunkedx\r\n", _ABC, 400),
            ("TE in quotes", b'Transfer-Encoding: "chunked"\r\n', _ABC, 400),
            ("TE with a parameter", b"Transfer-Encoding: chunked;a=b\r\n", _ABC, 400),
            ("TE with a comma", b"Transfer-Encoding: chunked,\r\n", _ABC, 400),
            ("TE with a comma first", b"Transfer-Encoding: ,chunked\r\n", _ABC, 400),
            ("TE of nothing", b"Transfer-Encoding:\r\n", _ABC, 400),
            ("TE with a Kelvin sign", b"Transfer-Encoding: chun\xe2\x84\xaaed\r\n", _ABC, 400),
            ("TE with NBSP", b"Transfer-Encoding: \xa0chunked\r\n", _ABC, 400),
            ("CL twice", b"Content-Length: 0\r\nContent-Length: 0\r\n", b"", 400),
            ("CL twice, differing", b"Content-Length: 0\r\nContent-Length: 9\r\n", b"", 400),
            ("CL list", b"Content-Length: 0, 0\r\n", b"", 400),
            ("CL list without spaces", b"Content-Length: 0,9\r\n", b"", 400),
            ("CL signed", b"Content-Length: +0\r\n", b"", 400),
            ("CL negative", b"Content-Length: -1\r\n", b"", 400),
            ("CL minus zero", b"Content-Length: -0\r\n", b"", 400),
            ("CL hexadecimal", b"Content-Length: 0x0\r\n", b"", 400),
            ("CL with a fraction", b"Content-Length: 0.0\r\n", b"", 400),
            ("CL with an exponent", b"Content-Length: 0e1\r\n", b"", 400),
            ("CL with an underscore", b"Content-Length: 1_0\r\n", b"", 400),
            ("CL with a space inside", b"Content-Length: 1 0\r\n", b"", 400),
            ("CL in quotes", b'Content-Length: "0"\r\n', b"", 400),
            ("CL of nothing", b"Content-Length:\r\n", b"", 400),
            ("CL of letters", b"Content-Length: abc\r\n", b"", 400),
            ("CL in other digits", b"Content-Length: \xd9\xa3\r\n", b"", 400),
            ("CL over 64 bits", b"Content-Length: 18446744073709551616\r\n", b"", 400),
            ("CL beyond all reason", b"Content-Length: 1" + b"0" * 200 + b"\r\n", b"", 400),
        )
    ),
    Case(
        "TE in HTTP/1.0",
        b"POST /x HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + NEXT,
    ),
    Case(
        "TE in HTTP/1.0 with keep-alive",
        b"POST /x HTTP/1.0\r\n"
        + HOST
        + b"Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
)

CHUNKS = tuple(
    Case(f"chunk: {name}", CHUNKED + content + NEXT)
    for name, content in (
        ("0x", b"0x3\r\nabc\r\n0\r\n\r\n"),
        ("0X first", b"0X0\r\n\r\n"),
        ("a plus", b"+3\r\nabc\r\n0\r\n\r\n"),
        ("a minus", b"-3\r\nabc\r\n0\r\n\r\n"),
        ("minus zero", b"-0\r\n\r\n"),
        ("an underscore", b"1_0\r\nabc"),
        ("a space behind", b"3 \r\nabc\r\n0\r\n\r\n"),
        ("a space before", b" 3\r\nabc\r\n0\r\n\r\n"),
        ("a tab behind", b"3\t\r\nabc\r\n0\r\n\r\n"),
        ("a space before an extension", b"3 ;a\r\nabc\r\n0\r\n\r\n"),
        ("a size ended by LF", b"3\nabc\r\n0\r\n\r\n"),
        ("a size ended by CR", b"3\rabc\r\n0\r\n\r\n"),
        ("a size ended by CR CR LF", b"3\r\r\nabc\r\n0\r\n\r\n"),
        ("LF in an extension", b"3;a\nabc\r\n0\r\n\r\n"),
        ("CR in an extension", b"3;a\rb\r\nabc\r\n0\r\n\r\n"),
        ("NUL in an extension", b"3;a\x00\r\nabc\r\n0\r\n\r\n"),
        ("data ended by LF", b"3\r\nabc\n0\r\n\r\n"),
        ("data ended by nothing", b"3\r\nabc0\r\n\r\n"),
        ("data longer than said", b"3\r\nabcd\r\n0\r\n\r\n"),
        ("no size", b"\r\nabc\r\n0\r\n\r\n"),
        ("an extension alone", b";a\r\nabc\r\n0\r\n\r\n"),
        ("no hexadecimal", b"g\r\nabc\r\n0\r\n\r\n"),
        ("over 64 bits", b"1" + b"0" * 16 + b"\r\nabc"),
        ("over 64 bits by zeros", b"0" * 40 + b"3\r\nabc\r\n0\r\n\r\n"),
        ("an endless extension", b"3;" + b"a" * 5000 + b"\r\nabc\r\n0\r\n\r\n"),
        ("an end ended by LF", b"0\n\n"),
        ("an end ended by CRLF LF", b"0\r\n\n"),
        ("a trailer with a space before the colon", b"0\r\nA : b\r\n\r\n"),
        ("a folded trailer", b"0\r\nA: b\r\n c\r\n\r\n"),
        ("a trailer ended by LF", b"0\r\nA: b\n\r\n"),
        ("NUL in a trailer", b"0\r\nA: \x00\r\n\r\n"),
        ("a request for a trailer", b"0\r\nGET /x HTTP/1.1\r\n" + HOST + b"\r\n"),
    )
)

REFUSED: tuple[Case, ...] = (*REQUEST_LINES, *LINE_ENDS, *FIELD_LINES, *HOSTS, *FRAMING)
"""Refused by their head: nothing at all is sent upstream."""
