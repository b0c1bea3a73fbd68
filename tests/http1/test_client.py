"""The client connection: what leaves, what arrives, who waits for whom."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionLost
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseDone

from gateway.core import reasons
from gateway.model.timeout import Timeout
from gateway.upstream.errors import UpstreamError
from tests.http1.wire import wire
from tests.upstream.memory import ANSWER, HEAD, Content, Network, Taker

BIG = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"


class ClientCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.network = Network()

    def started(self, body: Any = None, method: bytes = b"GET") -> tuple[Any, Any]:
        deferred = self.network.get(method, body)
        return deferred, self.network.accept()

    def taken(self, deferred: Any, pause_at: int | None = None) -> Taker:
        taker = Taker(pause_at)
        self.successResultOf(deferred).deliverBody(taker)
        return taker

    def upstream_error(self, failure: Any) -> UpstreamError:
        error = failure.value
        self.assertIsInstance(error, UpstreamError)
        return error  # type: ignore[no-any-return]

    def assert_done(self, taker: Taker, data: bytes) -> None:
        self.assertEqual(taker.data, data)
        assert taker.end is not None
        taker.end.trap(ResponseDone)


class ResponseTests(ClientCase):
    def test_every_cut(self) -> None:
        """A response arrives the same however the network cuts it, and the connection is used again."""
        for pieces in wire(ANSWER).cuts():
            self.network = Network()
            deferred, socket = self.started()
            self.assertEqual(socket.writes, [HEAD])
            taker = Taker()
            deferred.addCallback(lambda response, taker=taker: response.deliverBody(taker))
            for piece in pieces:
                socket.says(piece)
            self.assert_done(taker, b"hi")
            again = self.network.get()
            self.assertEqual((self.network.dials, socket.value()), (1, HEAD * 2))
            socket.says(ANSWER)
            self.assertEqual(self.successResultOf(again).code, 200)

    def test_no_delay(self) -> None:
        """Small requests are not held back by Nagle's algorithm."""
        self.assertTrue(self.started()[1].nodelay)

    def test_waiting_content(self) -> None:
        """Nothing is read while nobody takes the content, and nothing of it is lost."""
        deferred, socket = self.started()
        socket.says(BIG + b"abc")
        self.assertEqual(socket.producerState, "paused")
        taker = self.taken(deferred)
        self.assertEqual((socket.producerState, taker.data), ("producing", b"abc"))
        socket.says(b"defghij")
        self.assert_done(taker, b"abcdefghij")

    def test_content_before_taker(self) -> None:
        """A small response that is complete waits for its taker without holding the connection."""
        first, socket = self.started()
        socket.says(ANSWER)
        self.network.get()
        self.assertEqual(self.network.dials, 1)
        self.assert_done(self.taken(first), b"hi")

    def test_taken_once(self) -> None:
        """Content is delivered once."""
        deferred, socket = self.started()
        socket.says(ANSWER)
        response = self.successResultOf(deferred)
        response.deliverBody(Taker())
        self.assertRaises(RuntimeError, response.deliverBody, Taker())

    def test_paused_by_taker(self) -> None:
        """A taker that pauses stops the reading; resuming goes on."""
        deferred, socket = self.started()
        socket.says(BIG)
        taker = self.taken(deferred, pause_at=3)
        socket.says(b"abc")
        self.assertEqual(socket.producerState, "paused")
        self.network.pass_time(1000)
        self.assertIsNone(taker.end)
        taker.transport.resumeProducing()  # type: ignore[union-attr]
        self.assertEqual(socket.producerState, "producing")
        socket.says(b"defghij")
        self.assert_done(taker, b"abcdefghij")
        self.assertEqual(socket.producerState, "producing")

    def test_late_pause(self) -> None:
        """Pausing after the end does not hold up the connection's next request."""
        deferred, socket = self.started()
        socket.says(ANSWER)
        taker = self.taken(deferred)
        self.network.get()
        for call in ("pauseProducing", "resumeProducing", "stopProducing", "loseConnection"):
            getattr(taker.transport, call)()
        self.assertEqual((socket.producerState, socket.lost), ("producing", False))

    def test_stopped_by_taker(self) -> None:
        """A taker that stops cuts the connection, and hears of the end."""
        for call in ("stopProducing", "loseConnection"):
            self.network = Network()
            deferred, socket = self.started()
            socket.says(BIG)
            taker = self.taken(deferred)
            getattr(taker.transport, call)()
            self.assertTrue(socket.aborted)
            self.network.pass_time(0)
            self.assertEqual(self.upstream_error(taker.end).kind, reasons.UPSTREAM_CLOSED)

    def test_stopped_at_once(self) -> None:
        """A taker that stops as soon as it is connected gets no content."""
        deferred, socket = self.started()
        taker = Taker()
        taker.connectionMade = lambda: taker.transport.stopProducing()  # type: ignore[method-assign,union-attr]
        deferred.addCallback(lambda response: response.deliverBody(taker))
        socket.says(BIG + b"abc")
        self.network.pass_time(0)
        self.assertEqual(taker.data, b"")
        self.upstream_error(taker.end)

    def test_cancelled(self) -> None:
        """Cancelling a request cuts its connection."""
        deferred, socket = self.started()
        deferred.cancel()
        self.failureResultOf(deferred)
        self.assertTrue(socket.aborted)
        self.network.pass_time(0)
        self.assertEqual(self.network.agent.stats(), {})

    def test_cancelled_in_callback(self) -> None:
        """Whoever drops a response when it hears of it leaves no connection behind."""
        deferred, socket = self.started()
        deferred.addCallback(lambda response: response._transport.stopProducing())
        socket.says(BIG + b"abc")
        self.assertTrue(socket.aborted)

    def test_closed_midway(self) -> None:
        """Content that the close cuts off fails the taker."""
        for head in (BIG, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n"):
            self.network = Network()
            deferred, socket = self.started()
            socket.says(head + b"abc")
            taker = self.taken(deferred)
            socket.hangs_up()
            error = self.upstream_error(taker.end)
            self.assertEqual((taker.data, error.kind, error.sent), (b"abc", reasons.UPSTREAM_CLOSED, True))

    def test_closed_before_taker(self) -> None:
        """A failure that comes before the taker waits for it."""
        deferred, socket = self.started()
        socket.says(BIG + b"abc")
        socket.hangs_up()
        taker = self.taken(deferred)
        self.assertEqual((taker.data, self.upstream_error(taker.end).kind), (b"abc", reasons.UPSTREAM_CLOSED))

    def test_until_close(self) -> None:
        """Content without a length ends with an orderly close; a reset cuts it off."""
        deferred, socket = self.started()
        socket.says(b"HTTP/1.1 200 OK\r\n\r\nab")
        taker = self.taken(deferred)
        socket.says(b"c")
        socket.hangs_up()
        self.assert_done(taker, b"abc")
        deferred, socket = self.started()
        socket.says(b"HTTP/1.1 200 OK\r\n\r\nab")
        taker = self.taken(deferred)
        socket.hangs_up(ConnectionLost())
        self.assertEqual(self.upstream_error(taker.end).kind, reasons.UPSTREAM_CLOSED)

    def test_bad_response(self) -> None:
        """What is no response fails the request and cuts the connection."""
        deferred, socket = self.started()
        socket.says(b"SSH-2.0\r\n")
        error = self.upstream_error(self.failureResultOf(deferred))
        self.assertEqual((error.kind, socket.aborted), (reasons.UPSTREAM_BAD_RESPONSE, True))

    def test_bad_chunk(self) -> None:
        """Content that breaks off into nonsense fails the taker."""
        deferred, socket = self.started()
        socket.says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        taker = self.taken(deferred)
        socket.says(b"nonsense")
        self.assertEqual(self.upstream_error(taker.end).kind, reasons.UPSTREAM_BAD_RESPONSE)

    def test_not_kept(self) -> None:
        """A connection the peer will close, or that sent too much, is not used again."""
        for answer in (
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
            ANSWER + b"HTTP/1.1 200 OK\r\n",
        ):
            self.network = Network()
            deferred, socket = self.started()
            socket.says(answer)
            self.assertEqual(self.successResultOf(deferred).code, 200)
            self.assertTrue(socket.lost)

    def test_stubborn_peer(self) -> None:
        """A peer that does not close its side is cut off."""
        _, socket = self.started()
        socket._later = lambda reason: None
        socket.says(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n")
        self.assertFalse(socket.aborted)
        self.network.pass_time(5)
        self.assertTrue(socket.aborted)


class TimeoutTests(ClientCase):
    def kind(self, deferred: Any) -> str:
        return self.upstream_error(self.failureResultOf(deferred)).kind

    def test_no_answer(self) -> None:
        """No byte of an answer within the read timeout fails the request."""
        deferred, socket = self.started()
        self.network.pass_time(4.9)
        self.assertNoResult(deferred)
        self.network.pass_time(0.2)
        self.assertEqual((self.kind(deferred), socket.aborted), (reasons.UPSTREAM_READ_TIMEOUT, True))

    def test_between_reads(self) -> None:
        """The read timeout runs between reads, in the head as in the content."""
        deferred, socket = self.started()
        for piece in wire(BIG).split_every(5):
            self.network.pass_time(4)
            socket.says(piece)
        taker = self.taken(deferred)
        for _ in range(5):
            self.network.pass_time(4)
            socket.says(b"x")
        self.network.pass_time(5.1)
        self.assertEqual(self.upstream_error(taker.end).kind, reasons.UPSTREAM_READ_TIMEOUT)

    def test_shorter_limit_on_kept_connection(self) -> None:
        """A kept connection keeps to the limits of each request, not of the first."""
        deferred, socket = self.started()
        socket.says(ANSWER)
        self.successResultOf(deferred)
        deferred = self.network.get(timeout=Timeout(1.0, 1.0, 0.5))
        self.network.pass_time(0.6)
        self.assertEqual(self.kind(deferred), reasons.UPSTREAM_READ_TIMEOUT)

    def test_nobody_takes(self) -> None:
        """A response whose content nobody asks for does not hold its connection for ever."""
        deferred, socket = self.started()
        socket.says(BIG)
        self.network.pass_time(5.1)
        self.assertTrue(socket.aborted)
        self.assertEqual(self.upstream_error(self.taken(deferred).end).kind, reasons.UPSTREAM_READ_TIMEOUT)

    def test_full_socket(self) -> None:
        """A peer that takes no bytes for the send timeout fails the request."""
        body = Content()
        deferred, socket = self.started(body, b"POST")
        self.network.pass_time(100)
        self.assertNoResult(deferred)
        socket.full = True
        body.consumer.write(b"x" * 10)
        self.network.pass_time(3.1)
        self.assertEqual(self.kind(deferred), reasons.UPSTREAM_SEND_TIMEOUT)
        self.assertEqual(body.calls, ["start", "pause", "stop"])

    def test_slow_drain(self) -> None:
        """A peer that takes some bytes within every send timeout is only slow."""
        body = Content()
        deferred, socket = self.started(body, b"POST")
        socket.full = True
        body.consumer.write(b"x" * 10)
        for _ in range(5):
            self.network.pass_time(2.9)
            socket.take(1)
            self.assertNoResult(deferred)
        for _ in range(2):
            self.network.pass_time(3.1)
        self.assertEqual(self.kind(deferred), reasons.UPSTREAM_SEND_TIMEOUT)

    def test_reading_starts_when_sent(self) -> None:
        """The read timeout starts when the request has left, not before."""
        body = Content()
        deferred, socket = self.started(body, b"POST")
        socket.full = True
        body.consumer.write(b"x")
        body.done.callback(None)
        self.network.pass_time(2)
        socket.take()
        self.assertIsNone(socket.producer)
        self.network.pass_time(4.9)
        self.assertNoResult(deferred)
        self.network.pass_time(0.2)
        self.assertEqual(self.kind(deferred), reasons.UPSTREAM_READ_TIMEOUT)

    def test_one_timer(self) -> None:
        """Requests on a kept connection share one timer."""
        deferred, socket = self.started()
        for _ in range(50):
            socket.says(ANSWER)
            self.successResultOf(deferred)
            self.network.pass_time(0.01)
            deferred = self.network.get()
        self.assertEqual(len(self.network.reactor.getDelayedCalls()), 1)
        socket.hangs_up()
        # The dial that tries again has the only other.
        self.assertEqual(len(self.network.reactor.getDelayedCalls()), 1)
