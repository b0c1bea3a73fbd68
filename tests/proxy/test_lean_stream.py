"""The server contract over the lean server, and what it is stricter about: one request and its answer."""

from __future__ import annotations

from tests.proxy import server_contract as contract
from tests.proxy.server_contract import GET, HEAD
from tests.proxy.test_lean import Lean


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
