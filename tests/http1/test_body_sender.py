"""Content of requests on its way to the upstream."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionLost

from gateway.core import reasons
from gateway.http1.body_sender import BodyLengthError
from tests.http1.test_client import ClientCase
from tests.upstream.memory import ANSWER, PEER, Content, Network

BIG = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"


class RequestContentTests(ClientCase):
    def test_one_write(self) -> None:
        """Head and content that is there already leave in one piece, framing included."""
        _, socket = self.started(Content(3, b"abc", whole=True), b"POST")
        self.assertEqual(len(socket.writes), 1)
        self.assertTrue(socket.value().endswith(b"Content-Length: 3\r\n\r\nabc"))
        self.assertIsNone(socket.producer)
        self.network = Network()
        _, socket = self.started(Content(first=b"abc", whole=True), b"POST")
        self.assertEqual(len(socket.writes), 1)
        self.assertTrue(
            socket.value().endswith(b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
            socket.value(),
        )

    def test_head_waits(self) -> None:
        """The head waits for content that is at hand, and not for more than that."""
        for rest, end in ((b"abc", b"\r\n\r\nabc"), (b"", b"\r\n\r\n")):
            self.network = Network()
            body: Any = Content(5)
            body.imminent = True
            _, socket = self.started(body, b"POST")
            self.assertEqual(socket.writes, [])
            body.consumer.write(rest)
            self.assertEqual(socket.writes, [])
            body.consumer.flush()
            body.consumer.flush()
            self.assertEqual(len(socket.writes), 1)
            self.assertTrue(socket.value().endswith(end))
            self.assertIsNotNone(socket.producer)
            body.consumer.write(b"de" if rest else b"abcde")
            body.done.callback(None)
            self.assertEqual(len(socket.writes), 2)

    def test_head_waits_for_the_end(self) -> None:
        """If the content ends meanwhile, that is all there is to send."""
        body: Any = Content(3)
        body.imminent = True
        _, socket = self.started(body, b"POST")
        body.consumer.write(b"abc")
        body.done.callback(None)
        self.assertEqual(len(socket.writes), 1)
        self.assertTrue(socket.value().endswith(b"\r\n\r\nabc"))
        self.assertIsNone(socket.producer)
        body.consumer.flush()
        self.assertEqual(len(socket.writes), 1)

    def test_head_goes_first(self) -> None:
        """The head does not wait for content that takes its time."""
        body = Content()
        deferred, socket = self.started(body, b"POST")
        self.assertTrue(socket.value().endswith(b"chunked\r\n\r\n"))
        body.consumer.write(b"abc")
        body.consumer.write(b"")
        body.done.callback(None)
        self.assertTrue(socket.value().endswith(b"\r\n\r\n3\r\nabc\r\n0\r\n\r\n"))
        socket.says(ANSWER)
        self.assertEqual(self.network.agent.stats()[PEER].idle, 1)
        self.successResultOf(deferred)

    def test_full_socket(self) -> None:
        """The producer pauses while the socket is full, and goes on when it is not."""
        body = Content()
        _, socket = self.started(body, b"POST")
        socket.full = True
        body.consumer.write(b"abc")
        self.assertEqual(body.calls, ["start", "pause"])
        socket.take()
        self.assertEqual(body.calls, ["start", "pause", "resume"])

    def test_large_first_write(self) -> None:
        """A producer that writes much at once is paused at once, not gathered without end."""
        body = Content(first=b"x" * 100_000)
        deferred, socket = self.started(body, b"POST")
        self.assertGreater(len(socket.value()), 100_000)
        self.assertIsNotNone(socket.producer)
        self.assertNoResult(deferred)

    def test_wrong_length(self) -> None:
        """Content that does not fit its length fails the request; nothing beyond it is sent."""
        body = Content(3)
        deferred, socket = self.started(body, b"POST")
        body.consumer.write(b"abcd")
        self.failureResultOf(deferred, BodyLengthError)
        self.assertTrue(socket.aborted)
        self.assertFalse(socket.value().endswith(b"abcd"))
        self.assertIn("stop", body.calls)
        body = Content(3)
        deferred, socket = self.started(body, b"POST")
        body.consumer.write(b"ab")
        body.done.callback(None)
        self.failureResultOf(deferred, BodyLengthError)
        self.assertTrue(socket.aborted)

    def test_producer_fails(self) -> None:
        """A producer's own failure is the request's, and cuts the connection."""
        body = Content()
        deferred, socket = self.started(body, b"POST")
        body.done.errback(ZeroDivisionError())
        self.failureResultOf(deferred, ZeroDivisionError)
        self.assertTrue(socket.aborted)
        body = Content()
        body.startProducing = lambda consumer: 1 / 0  # type: ignore[method-assign,assignment,return-value]
        deferred, socket = self.started(body, b"POST")
        self.failureResultOf(deferred, ZeroDivisionError)

    def test_early_answer(self) -> None:
        """An answer to half a request is delivered; the rest is not sent, the connection not kept."""
        body = Content(10)
        deferred, socket = self.started(body, b"POST")
        body.consumer.write(b"abc")
        socket.says(ANSWER)
        self.assert_done(self.taken(deferred), b"hi")
        self.assertEqual((body.calls, socket.aborted), (["start", "stop"], True))
        body.consumer.write(b"def")
        body.done.callback(None)
        self.assertTrue(socket.value().endswith(b"abc"))
        self.network.pass_time(0)
        self.assertEqual(self.network.agent.stats(), {})

    def test_answer_behind_a_failed_write(self) -> None:
        """An upstream that answers an upload and closes is heard, though writing to it fails first."""
        body = Content(10)
        deferred, socket = self.started(body, b"POST")
        body.consumer.write(b"abc")
        socket.doRead = lambda: socket.says(ANSWER)
        socket.hangs_up(ConnectionLost())
        self.assert_done(self.taken(deferred), b"hi")
        self.assertEqual(body.calls, ["start", "stop"])
        self.assertEqual(self.network.agent.stats(), {})

    def test_early_head(self) -> None:
        """While an answer is arriving, the request goes on; complete, the connection is kept."""
        body = Content(6)
        deferred, socket = self.started(body, b"POST")
        body.consumer.write(b"abc")
        socket.says(BIG)
        taker = self.taken(deferred)
        body.consumer.write(b"def")
        body.done.callback(None)
        socket.says(b"0123456789")
        self.assert_done(taker, b"0123456789")
        self.assertFalse(socket.lost)

    def test_answer_while_draining(self) -> None:
        """A request that has not left the socket's buffer is not completely sent."""
        body = Content(3)
        deferred, socket = self.started(body, b"POST")
        socket.full = True
        body.consumer.write(b"abc")
        body.done.callback(None)
        socket.says(ANSWER)
        self.assert_done(self.taken(deferred), b"hi")
        self.assertTrue(socket.aborted)

    def test_connection_lost(self) -> None:
        """The producer is stopped when the connection goes."""
        body = Content()
        deferred, socket = self.started(body, b"POST")
        socket.hangs_up(ConnectionLost())
        self.assertEqual(body.calls, ["start", "stop"])
        self.assertEqual(self.upstream_error(self.failureResultOf(deferred)).kind, reasons.UPSTREAM_CLOSED)

    def test_cancelled(self) -> None:
        """Cancelling stops the producer."""
        body = Content()
        deferred, _ = self.started(body, b"POST")
        deferred.cancel()
        self.failureResultOf(deferred)
        self.assertEqual(body.calls, ["start", "stop"])
