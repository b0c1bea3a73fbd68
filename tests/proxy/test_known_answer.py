"""What is sent of a response head that came before."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.core.recurring import Recurring
from gateway.http1.response import ResponseHead, ResponseReader
from gateway.proxy.known_answer import known_answer, status_line

_ANSWER = (
    b"HTTP/1.1 200 Fine\r\nContent-Length: 2\r\nConnection: x-a\r\nX-A: 1\r\nX-B: 2\r\nServer: x\r\n\r\nhi"
)


def _heads(
    answer: bytes, times: int, method: bytes = b"GET", known: Recurring[ResponseHead] | None = None
) -> list[ResponseHead]:
    """The heads of *times* answers with the same bytes."""
    known = Recurring(8) if known is None else known
    heads = []
    for _ in range(times):
        reader = ResponseReader(known_heads=known)
        reader.expect(method)
        reader.feed(answer)
        assert reader.head is not None
        heads.append(reader.head)
    return heads


class KnownAnswerTests(SynchronousTestCase):
    def test_made_once(self) -> None:
        """It is made once for all answers with one head, if that is remembered."""
        first, second = _heads(_ANSWER, 2)
        made = known_answer(first, b"gateway")
        assert made is not None
        self.assertIs(known_answer(second, b"gateway"), made)
        (alone,) = _heads(_ANSWER, 1, known=Recurring(0))
        self.assertIsNone(known_answer(alone, b"gateway"))
        self.assertEqual(made.pairs, [(b"x-b", b"2"), (b"server", b"gateway")])
        self.assertLessEqual({b"x-b", b"server", b"date", b"content-length", b"connection"}, made.names)
        self.assertEqual(made.lines, b"X-B: 2\r\nServer: gateway\r\n")
        self.assertEqual(made.start, b"HTTP/1.1 200 OK\r\nX-B: 2\r\nServer: gateway\r\n")
        self.assertEqual((made.end, made.length, made.count), (b"Content-Length: 2\r\n\r\n", 2, 2))
        self.assertFalse(made.dated)

    def test_dated(self) -> None:
        """A Date of the upstream's is told of: no second one is to be added."""
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDate: Fri, 27 Nov 2026 08:00:00 GMT\r\n\r\nhi"
        made = known_answer(_heads(answer, 2)[-1], b"gateway")
        self.assertTrue(made is not None and made.dated)

    def test_other_server(self) -> None:
        """Whoever calls itself something else now says so."""
        head = _heads(_ANSWER, 2)[-1]
        known_answer(head, b"gateway/1")
        made = known_answer(head, b"gateway/2")
        assert made is not None
        self.assertIn(b"Server: gateway/2\r\n", made.start)

    def test_never(self) -> None:
        """Answers without a length, without content, or to HEAD are made each time."""
        for answer, method in (
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"GET"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"GET"),
            (b"HTTP/1.1 204 None\r\n\r\n", b"GET"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b"HEAD"),
        ):
            for head in _heads(answer, 4, method):
                self.assertIsNone(known_answer(head, b"gateway"), answer)


class StatusLineTests(SynchronousTestCase):
    def test_lines(self) -> None:
        """Statuses that nobody has registered have a line, too."""
        self.assertEqual(status_line(404), b"HTTP/1.1 404 Not Found\r\n")
        self.assertEqual(status_line(299), b"HTTP/1.1 299 Unknown\r\n")

    def test_as_the_page(self) -> None:
        """The line says what the page says, whatever names the standard library has."""
        self.assertEqual(status_line(413), b"HTTP/1.1 413 Content Too Large\r\n")
        self.assertEqual(status_line(503), b"HTTP/1.1 503 Service Temporarily Unavailable\r\n")
