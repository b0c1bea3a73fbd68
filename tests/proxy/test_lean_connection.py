"""The server contract over the lean server, and what it is stricter about: its connections."""

from __future__ import annotations

from gateway.proxy import lean_connection
from tests.proxy import server_contract as contract
from tests.proxy.server_contract import GET, HalfTransport
from tests.proxy.test_lean import Lean


class ConnectionTests(Lean, contract.ConnectionContract):
    """Connections."""

    def test_slow_head_behind_a_cut_blank_line(self) -> None:
        """A blank line that comes in two pieces changes nothing for the heads that follow."""
        self.send(b"\r")
        self.send(b"\n")
        self.send(GET)
        self.answer(200, (b"content-length", b"0")).end()
        self.read()
        self.clock.advance(self.limits.idle_timeout_s / 2)
        self.send(GET[:9])
        self.clock.advance(self.limits.idle_timeout_s / 2 + 1)
        self.assertFalse(self.transport.disconnected)
        self.clock.advance(self.limits.header_timeout_s)
        self.assertTrue(self.read().startswith(b"HTTP/1.1 408 "))

    def test_first_request_while_stopping(self) -> None:
        """A client that connected before the stop is heard, for a while; it is told that this is all."""
        heard = self.transport
        self.connect()
        silent = self.transport
        self.site.drain()
        self.assertTrue(self.site.expecting)
        heard.protocol.dataReceived(GET)
        self.answer(200, (b"content-length", b"0")).end()
        self.assertIn(b"Connection: close", heard.value())
        self.assertTrue(heard.disconnected)
        self.assertFalse(silent.disconnected)
        self.site.drain_rest()
        self.assertTrue(silent.disconnected)
        self.assertFalse(self.site.expecting)

    def test_next_request_while_stopping(self) -> None:
        """A client that was idle may be about to ask: it is answered once more, and told that this is all."""
        self.send(GET)
        self.answer(200, (b"content-length", b"0")).end()
        asks = self.transport
        asks.clear()
        self.connect()
        silent = self.transport
        self.send(GET + GET[:9])
        self.answer(200, (b"content-length", b"0")).end()
        self.site.drain()
        self.assertEqual((asks.disconnected, self.site.expecting), (False, True))
        asks.protocol.dataReceived(GET)
        self.answer(200, (b"content-length", b"0")).end()
        self.assertIn(b"Connection: close", asks.value())
        self.assertEqual((asks.disconnected, silent.disconnected), (True, False))
        self.site.drain_rest()
        self.assertTrue(silent.disconnected)
        self.assertFalse(self.site.expecting)

    def test_refused_over_tls(self) -> None:
        """Under TLS a connection ends as a whole, or the answer would be lost with the half."""
        self.site.tls = True
        transport = HalfTransport()
        self.connect(transport)
        self.send(b"no request\r\n")
        self.assertTrue(self.read().startswith(b"HTTP/1.1 400 "))
        self.assertEqual((transport.half_closed, transport.disconnected), (False, True))

    def test_blank_lines_first(self) -> None:
        """Blank lines before a request are passed over (RFC 9112 section 2.2)."""
        self.send(b"\r\n\r\n" + GET)
        self.assertEqual(len(self.dispatcher.sent), 1)
        self.connect()
        self.send(b"\r\n" + GET)
        self.assertEqual(len(self.dispatcher.sent), 2)

    def test_blank_lines_between(self) -> None:
        """Those before one request do not count for the next."""
        for number in range(1, 10):
            self.send(b"\r\n")
            self.send(GET)
            self.answer().end()
            self.assertEqual(len(self.dispatcher.sent), number)

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

    def test_many_pipelined(self) -> None:
        """A long row of pipelined requests that are answered at once does not pile up on the stack."""
        self.send(b"GET /no HTTP/1.1\r\nHost: a\r\n\r\n" * 800)
        answered = self.read().count(b"HTTP/1.1 401")
        # Not all at one go, either: others have their turn in between.
        self.assertLess(answered, 100)
        while self.clock.getDelayedCalls() and answered < 800:
            self.clock.advance(0)
            answered += self.read().count(b"HTTP/1.1 401")
        self.assertEqual(answered, 800)
        self.assertTrue(self.reading)

    def test_answers_that_are_not_read(self) -> None:
        """A client that sends requests and reads no answers gets no more of them, and is let go."""
        self.send(b"GET /no HTTP/1.1\r\nHost: a\r\n\r\n")
        self.channel.pauseProducing()
        self.read()
        self.send(b"GET /no HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual((self.read(), self.reading), (b"", False))
        self.channel.resumeProducing()
        self.clock.advance(0)
        self.assertTrue(self.read().startswith(b"HTTP/1.1 401"))
        self.assertTrue(self.reading)
        self.channel.pauseProducing()
        self.clock.advance(self.limits.send_timeout_s)
        self.assertTrue(self.transport.aborted)

    def test_slow_is_not_stuck(self) -> None:
        """A client that takes few bytes but does take them is served to the end."""
        self.send(GET)
        self.answer()
        left = [300, 200, 100]
        self.patch(lean_connection, "unsent", lambda transport: left[0])
        self.channel.pauseProducing()
        while len(left) > 1:
            left.pop(0)
            self.clock.advance(self.limits.send_timeout_s)
            self.assertFalse(self.transport.aborted)
        self.clock.advance(self.limits.send_timeout_s)
        self.assertTrue(self.transport.aborted)

    def test_pipelined_bytes_are_bounded(self) -> None:
        """While a request is in flight only so much of the next ones is taken."""
        self.send(GET)
        self.send(b"x" * (self.limits.max_pipelined_bytes + 1))
        self.assertFalse(self.reading)
