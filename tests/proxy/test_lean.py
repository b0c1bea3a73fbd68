"""The server contract over the lean server, and what it is stricter about."""

from __future__ import annotations

from gateway.proxy.lean import LeanFactory
from tests.proxy import server_contract as contract
from tests.proxy.server_contract import GET, HEAD


class Lean(contract.ServerCase):
    def listener(self) -> LeanFactory:
        factory = LeanFactory(self.gateway.runner, self.clock)
        factory.doStart()
        return factory


class ResponseTests(Lean, contract.ResponseContract):
    """Answers."""

    def test_one_write(self) -> None:
        """Head and content that are there together leave in one write."""
        written: list[bytes] = []
        self.patch(self.transport, "write", written.append)
        self.send(GET)
        response = self.answer(200, (b"content-length", b"3"))
        written.clear()
        self.send(b"")
        self.connect()
        self.patch(self.transport, "write", written.append)
        self.send(b"GET /no HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual(len(written), 1)
        self.assertTrue(written[0].endswith(b"stopped"))
        response.end()

    def test_many_pipelined(self) -> None:
        """A long row of pipelined requests that are answered at once does not pile up on the stack."""
        self.send(b"GET /no HTTP/1.1\r\nHost: a\r\n\r\n" * 800)
        self.assertEqual(self.read().count(b"HTTP/1.1 401"), 800)

    def test_pipelined_bytes_are_bounded(self) -> None:
        """While a request is in flight only so much of the next ones is taken."""
        self.send(GET)
        self.send(b"x" * (self.limits.max_header_bytes + 1))
        self.assertFalse(self.reading)


class RequestContentTests(Lean, contract.RequestContentContract):
    """Requests with content."""

    def test_content_and_the_next_request(self) -> None:
        """What stands behind a request's content is the next request, however the bytes are cut."""
        both = HEAD + b"Content-Length: 3\r\n\r\nabc" + GET
        for cut in range(1, len(both)):
            self.connect()
            sent = len(self.dispatcher.sent)
            self.send(both[:cut])
            self.send(both[cut:])
            self.assertEqual(self.dispatcher.collected.content, b"abc", cut)
            self.answer(200, (b"content-length", b"0")).end()
            self.clock.advance(0)
            self.assertEqual(len(self.dispatcher.sent), sent + 2, cut)
            self.answer(201, (b"content-length", b"0")).end()
            self.assertIn(b"HTTP/1.1 201 ", self.read())

    def test_chunks_byte_by_byte(self) -> None:
        """Chunked content and its trailers may come in single bytes; the trailers are dropped."""
        wire = b"3;x=y\r\nabc\r\n3\r\ndef\r\n0\r\nX-Trailer: 1\r\n\r\n"
        self.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        for byte in wire:
            self.send(bytes([byte]))
        self.assertEqual(
            (self.dispatcher.collected.content, self.dispatcher.body.complete), (b"abcdef", True)
        )


class ConnectionTests(Lean, contract.ConnectionContract):
    """Connections."""

    def refused(self, data: bytes) -> None:
        self.connect()
        ended = len(self.gateway.ended)
        self.send(data)
        self.assertRegex(self.read(), b"^HTTP/1.1 400 ", data)
        self.assertTrue(self.transport.disconnected)
        self.assertEqual(len(self.gateway.ended), ended + 1, data)

    def test_grammar(self) -> None:
        """What breaks the grammar is refused, logged, and reaches no upstream."""
        line, host = b"GET /x HTTP/1.1\r\n", b"Host: a\r\n"
        for data in (
            b"GET /x\r\n\r\n",
            b"GET  /x HTTP/1.1\r\n" + host + b"\r\n",
            b"GET /x HTTP/1.1 \r\n" + host + b"\r\n",
            b"GET /x HTTP/1.2\r\n" + host + b"\r\n",
            b"GET /x HTTP/2.0\r\n" + host + b"\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"GET /x HTTP/1.1\n",
            b"\x00",
            line + host + b" folded: 1\r\n\r\n",
            line + host + b"A : 1\r\n\r\n",
            line + host + b": 1\r\n\r\n",
            line + host + b"A\r\n\r\n",
            line + host + b"A: 1\nB: 2\r\n\r\n",
            line + host + b"A: \x001\r\n\r\n",
            line + host + b"A: 1\rB: 2\r\n\r\n",
            line + host + "\xe9: 1\r\n\r\n".encode(),
            line + host + b"Content-Length: 1, 1\r\n\r\n",
            line + host + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
            line + host + b"Content-Length: -1\r\n\r\n",
            line + host + b"Content-Length: \r\n\r\n",
            line + host + b"Content-Length: 1" + b"0" * 30 + b"\r\n\r\n",
            line + host + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        ):
            self.refused(data)
        self.assertEqual(self.dispatcher.sent, [])

    def test_chunk_grammar(self) -> None:
        """Sloppy chunks are refused: 400, and the connection ends."""
        for chunks in (b"0x3", b"+3", b"3 ", b"3_0", b"", b"-1", b"g", b"f" * 17, b"3\n", b"3\r\nabcd"):
            self.refused(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"\r\n")

    def test_too_many_fields(self) -> None:
        """More field lines than allowed are refused."""
        self.refused(GET[:-2] + b"A: 1\r\n" * self.limits.max_headers + b"\r\n")

    def test_blank_lines_first(self) -> None:
        """Blank lines before a request are passed over (RFC 9112 section 2.2)."""
        self.send(b"\r\n\r\n" + GET)
        self.assertEqual(len(self.dispatcher.sent), 1)

    def test_every_cut(self) -> None:
        """A head may come in any two pieces."""
        for cut in range(1, len(GET)):
            self.connect()
            sent = len(self.dispatcher.sent)
            self.send(GET[:cut])
            self.send(GET[cut:])
            self.assertEqual(len(self.dispatcher.sent), sent + 1, cut)

    def test_stuck_after_the_answer(self) -> None:
        """A client that does not take the end of its answer is cut off."""
        self.send(GET.replace(b"1.1", b"1.0"))
        self.patch(self.transport, "loseConnection", lambda: None)
        self.answer(200, (b"content-length", b"0")).end()
        self.assertFalse(self.transport.aborted)
        aborted: list[bool] = []
        self.patch(self.transport, "abortConnection", lambda: aborted.append(True))
        self.clock.advance(self.limits.send_timeout_s)
        self.assertEqual(aborted, [True])
