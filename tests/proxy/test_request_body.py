"""Request content on its way: read-ahead, back-pressure, and what happens when nobody wants it."""

from __future__ import annotations

from twisted.internet.interfaces import IConsumer
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer
from zope.interface.verify import verifyObject

from gateway.core.exchange import ContentTooLarge
from gateway.proxy.request_body import HeldBody, RequestBody


class FakeSource:
    """Counts what the body asks of the client's connection."""

    def __init__(self) -> None:
        self.reading = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


@implementer(IConsumer)
class FakeConsumer:
    def __init__(self) -> None:
        self.written: list[bytes] = []

    def registerProducer(self, producer: object, streaming: bool) -> None:
        raise NotImplementedError

    def unregisterProducer(self) -> None:
        raise NotImplementedError

    def write(self, data: bytes) -> None:
        self.written.append(data)


class RequestBodyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.source = FakeSource()
        self.asked = 0

    def body(self, length: int | None = None, read_ahead: int = 10) -> RequestBody:
        return RequestBody(length, self.source, read_ahead=read_ahead, on_start=self.ask)

    def ask(self) -> None:
        self.asked += 1

    def test_interface(self) -> None:
        """It is an IBodyProducer with a known or unknown length."""
        verifyObject(IBodyProducer, self.body(5))
        self.assertEqual((self.body(5).length, self.body().length), (5, UNKNOWN_LENGTH))

    def test_recorded(self) -> None:
        """The beginning can be kept by the way; nothing else changes for that."""
        body, consumer = self.body(8), FakeConsumer()
        self.assertEqual(body.recorded, b"")
        body.data(b"ab")
        body.record(5)
        body.record(3)
        self.assertEqual(body.recorded, b"ab")
        body.startProducing(consumer)
        body.data(b"cd")
        body.data(b"efgh")
        body.end()
        self.assertEqual((body.recorded, consumer.written), (b"abcde", [b"ab", b"cd", b"efgh"]))

    def test_read_ahead_is_bounded(self) -> None:
        """Until an upstream takes the content, the client is only read up to the limit."""
        body = self.body()
        body.data(b"12345")
        self.assertTrue(self.source.reading)
        body.data(b"67890")
        self.assertFalse(self.source.reading)

    def test_held_content_comes_first(self) -> None:
        """What was read ahead is passed on before what follows, in one piece, and reading resumes."""
        body, consumer = self.body(), FakeConsumer()
        body.data(b"12345")
        body.data(b"67890")
        done = body.startProducing(consumer)
        self.assertEqual(consumer.written, [b"1234567890"])
        self.assertTrue(self.source.reading)
        body.data(b"x")
        self.assertNoResult(done)
        body.end()
        self.successResultOf(done)
        self.assertEqual(consumer.written, [b"1234567890", b"x"])

    def test_complete_before_start(self) -> None:
        """Content that was complete before anybody took it is passed on all the same."""
        body, consumer = self.body(), FakeConsumer()
        body.data(b"abc")
        body.end()
        self.successResultOf(body.startProducing(consumer))
        self.assertEqual(consumer.written, [b"abc"])

    def test_straight(self) -> None:
        """Pieces may go straight to the upstream once nothing can need them here any more."""
        body, consumer = self.body(100), FakeConsumer()
        body.startProducing(consumer)
        body.data(b"x" * 10)
        self.assertIsNone(body.straight, "all of it is kept, for another node")
        body.data(b"y")
        self.assertEqual(body.straight, consumer)
        body.pauseProducing()
        self.assertIsNone(body.straight)
        body.data(b"z")
        self.assertIsNone(body.straight)
        body.resumeProducing()
        body.data(b"z")
        self.assertEqual(body.straight, consumer)
        body.record(5)
        self.assertIsNone(body.straight)
        body.data(b"z")
        self.assertIsNone(body.straight, "somebody wants a copy")

    def test_straight_to_the_end(self) -> None:
        """After the last piece nothing is left that would keep it and the upstream's side in memory."""
        body, consumer = self.body(12), FakeConsumer()
        body.startProducing(consumer)
        body.data(b"x" * 11)
        body.data(b"y")
        self.assertEqual(body.straight, consumer)
        body.end()
        self.assertIsNone(body.straight)

    def test_nothing_goes_straight_to_who_left(self) -> None:
        """An upstream that gives up while it is written to gets nothing more."""
        body, consumer = self.body(100), FakeConsumer()
        consumer.write = lambda data: body.stopProducing()  # type: ignore[method-assign]
        body.startProducing(consumer)
        body.data(b"x" * 11)
        self.assertIsNone(body.straight)
        body.data(b"y")
        self.assertIsNone(body.straight)

    def test_slow_upstream_pauses_the_client(self) -> None:
        """While the upstream takes no more, the client is not read; the rest follows in order."""
        body, consumer = self.body(), FakeConsumer()
        done = body.startProducing(consumer)
        body.pauseProducing()
        self.assertFalse(self.source.reading)
        self.source.reading = True  # twisted.web may resume on its own
        body.data(b"late")
        self.assertFalse(self.source.reading)
        self.assertEqual(consumer.written, [])
        body.end()
        self.assertNoResult(done)
        body.resumeProducing()
        self.assertEqual(consumer.written, [b"late"])
        self.successResultOf(done)

    def test_asks_for_the_content_once(self) -> None:
        """A client that waits for 100 Continue is asked when an upstream wants the content, and only once."""
        body = self.body()
        self.assertEqual(self.asked, 0)
        body.startProducing(FakeConsumer())
        body.want()
        self.assertEqual(self.asked, 1)

    def test_never_asks_for_what_it_has(self) -> None:
        """A client that did not wait is not told to continue once its content is complete."""
        body = self.body()
        body.data(b"abc")
        body.end()
        body.startProducing(FakeConsumer())
        self.assertEqual(self.asked, 0)

    def test_dropped_content_is_read_and_forgotten(self) -> None:
        """Content nobody wants any more does not pile up."""
        body, consumer = self.body(), FakeConsumer()
        body.startProducing(consumer)
        body.pauseProducing()
        body.drop()
        self.assertTrue(self.source.reading)
        body.data(b"x" * 1000)
        self.assertEqual((consumer.written, body.received, body.can_start), ([], 1000, False))
        self.assertRaises(RuntimeError, body.startProducing, consumer)

    def test_small_content_can_be_sent_again(self) -> None:
        """While all of it is kept, another node gets it from the beginning, and what comes meanwhile."""
        body, first, second = self.body(), FakeConsumer(), FakeConsumer()
        body.startProducing(first)
        body.data(b"abc")
        body.stopProducing()
        body.data(b"def")
        self.assertTrue(body.can_start)
        done = body.startProducing(second)
        body.end()
        self.successResultOf(done)
        self.assertEqual((first.written, second.written), ([b"abc"], [b"abcdef"]))
        self.assertEqual(self.asked, 1)

    def test_large_content_cannot(self) -> None:
        """Content past the read-ahead is not kept; when its upstream is gone the rest is dropped."""
        body, consumer = self.body(), FakeConsumer()
        body.startProducing(consumer)
        body.data(b"12345")
        body.data(b"678901")
        self.assertFalse(body.can_start)
        body.stopProducing()
        body.data(b"x" * 100)
        self.assertTrue(self.source.reading)
        self.assertRaises(RuntimeError, body.startProducing, FakeConsumer())

    def test_between_two_tries(self) -> None:
        """Between two tries no more than the read-ahead is taken from the client."""
        body = self.body()
        body.startProducing(FakeConsumer())
        body.stopProducing()
        body.data(b"1234567890")
        self.assertFalse(self.source.reading)

    def test_one_consumer_at_a_time(self) -> None:
        """Content that is being passed on cannot be started a second time."""
        body = self.body()
        body.startProducing(FakeConsumer())
        self.assertRaises(RuntimeError, body.startProducing, FakeConsumer())


class GatherTests(SynchronousTestCase):
    """Content that a plugin has to see before it is sent."""

    def setUp(self) -> None:
        self.source = FakeSource()
        self.asked = 0

    def body(self, length: int | None = None) -> RequestBody:
        return RequestBody(length, self.source, read_ahead=10, on_start=self.ask)

    def ask(self) -> None:
        self.asked += 1

    def test_whole(self) -> None:
        """All of it comes, beyond the read-ahead; it is sent afterwards, twice if need be."""
        body = self.body()
        waiting = body.gather(100)
        self.assertEqual(self.asked, 1)
        for piece in (b"x" * 30, b"y" * 30):
            body.data(piece)
        self.assertTrue(self.source.reading)
        self.assertFalse(body.waiting_for_upstream)
        self.assertNoResult(waiting)
        body.end()
        whole = b"x" * 30 + b"y" * 30
        self.assertEqual(self.successResultOf(waiting), whole)
        self.assertEqual(self.successResultOf(body.gather(100)), whole)
        for _ in range(2):
            consumer = FakeConsumer()
            self.successResultOf(body.startProducing(consumer))
            self.assertEqual(b"".join(consumer.written), whole)
            self.assertTrue(body.can_start)
            body.stopProducing()

    def test_too_large(self) -> None:
        """Content over the limit is refused as soon as that is known, and reading stops."""
        error = self.failureResultOf(self.body(101).gather(100), ContentTooLarge).value
        self.assertEqual((error.limit, error.length), (100, 101))  # type: ignore[attr-defined]
        body = self.body()
        waiting = body.gather(100)
        body.data(b"x" * 101)
        self.failureResultOf(waiting, ContentTooLarge)
        self.assertFalse(self.source.reading)
        body.drop()
        self.assertTrue(self.source.reading)

    def test_given_up(self) -> None:
        """Whoever waits may stop waiting; what comes later hurts nobody."""
        body = self.body()
        waiting = body.gather(100)
        waiting.addErrback(lambda failure: None)
        waiting.cancel()
        body.data(b"x")
        body.end()
        self.assertTrue(body.complete)

    def test_on_its_way(self) -> None:
        """Content that is being sent cannot be gathered."""
        body = self.body()
        body.startProducing(FakeConsumer())
        self.failureResultOf(body.gather(100), RuntimeError)


class HeldBodyTests(SynchronousTestCase):
    """Content that a plugin made."""

    def test_again(self) -> None:
        """It has a length, and can be sent more than once."""
        body = HeldBody(b"abc")
        verifyObject(IBodyProducer, body)
        for _ in range(2):
            consumer = FakeConsumer()
            self.successResultOf(body.startProducing(consumer))
            self.assertEqual((body.length, consumer.written, body.can_start), (3, [b"abc"], True))


class WholeRecordTests(SynchronousTestCase):
    """All of the content for somebody else."""

    def setUp(self) -> None:
        self.source = FakeSource()
        self.copies: list[bytes | None] = []
        self.consumer = FakeConsumer()

    def test_as_it_passes(self) -> None:
        """The copy is there once all has passed; what is passed on is not held up for it."""
        body = RequestBody(None, self.source, read_ahead=4)
        body.data(b"ab")
        body.record(100, self.copies.append)
        body.record(100, self.copies.append)
        body.startProducing(self.consumer)
        for data in (b"cdefgh", b"ijklmnop"):
            body.data(data)
        self.assertEqual((b"".join(self.consumer.written), self.copies), (b"abcdefghijklmnop", []))
        body.end()
        self.assertEqual(self.copies, [b"abcdefghijklmnop"] * 2)

    def test_complete(self) -> None:
        """Content that is there already is copied at once."""
        body = RequestBody(2, self.source, read_ahead=4)
        body.data(b"ab")
        body.end()
        body.record(2, self.copies.append)
        self.assertEqual(self.copies, [b"ab"])

    def test_too_large(self) -> None:
        """Content beyond the limit gives no copy, announced or not."""
        RequestBody(5, self.source, read_ahead=4).record(4, self.copies.append)
        self.assertEqual(self.copies, [None])
        body = RequestBody(None, self.source, read_ahead=4)
        body.record(4, self.copies.append)
        body.startProducing(self.consumer)
        for data in (b"abc", b"def", b"ghi"):
            body.data(data)
        body.end()
        self.assertEqual((self.copies, b"".join(self.consumer.written)), ([None, None], b"abcdefghi"))

    def test_beside_others(self) -> None:
        """Who wants the beginning and who wants all are both served, whoever asks for more."""
        for first, second in ((3, 10), (10, 3)):
            body = RequestBody(None, self.source, read_ahead=4)
            body.record(first)
            body.record(second, self.copies.append)
            for data in (b"abc", b"def"):
                body.data(data)
            body.end()
            self.assertEqual(body.recorded, b"abcdef")
        self.assertEqual(self.copies, [b"abcdef", None])

    def test_dropped(self) -> None:
        """An answer that comes early does not end the copy; content that is gone cannot be copied."""
        body = RequestBody(None, self.source, read_ahead=4)
        body.record(10, self.copies.append)
        body.data(b"ab")
        body.drop()
        body.record(10, self.copies.append)
        body.data(b"cd")
        body.end()
        self.assertEqual(self.copies, [None, b"abcd"])
