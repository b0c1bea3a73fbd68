"""What every server in front of the runner promises about the cases of ``tests.hostile.smuggling``."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.core import reasons
from tests.hostile.smuggling import CHUNKS, REFUSED, Case
from tests.http1.wire import wire
from tests.proxy.server_contract import GET, ServerCase

_LONG = 1000
"""Cases longer than this are not cut at every position: it is their length that is wrong with them."""
_REASONS = {
    400: reasons.BAD_REQUEST,
    501: reasons.TRANSFER_CODING_NOT_SUPPORTED,
    505: reasons.VERSION_NOT_SUPPORTED,
}


class RefusalContract(ServerCase):
    """One answer, the end of the connection, and nothing sent upstream."""

    def say(self, pieces: Iterable[bytes]) -> bytes:
        """Connect, send *pieces* until the server hangs up, and return what it said."""
        self.connect()
        for piece in pieces:
            if self.transport.disconnected:
                break
            self.send(piece)
        return self.read()

    def check_refused(self, case: Case, pieces: Iterable[bytes], sent: int) -> None:
        before = len(self.dispatcher.sent)
        self.gateway.ended.clear()
        said = self.say(pieces)
        self.assertRegex(said, rb"^HTTP/1\.[01] %d " % case.status, case.name)
        self.assertEqual(said.count(b"HTTP/1."), 1, case.name)
        self.assertIn(b"\r\nConnection: close\r\n", said, case.name)
        self.assertTrue(self.transport.disconnected, case.name)
        self.assertEqual(len(self.dispatcher.sent) - before, sent, case.name)
        self.assertEqual(self.outcomes(), [_REASONS[case.status]], case.name)

    def test_whole(self) -> None:
        """One answer that says what is wrong, then the end of the connection; upstreams hear nothing."""
        for case in REFUSED:
            self.check_refused(case, [case.data], 0)

    def test_byte_by_byte(self) -> None:
        """The same when the request trickles in."""
        for case in REFUSED:
            self.check_refused(case, wire(case.data).split_every(1), 0)

    def test_broken_chunks(self) -> None:
        """Content that breaks its framing is refused, and what follows it is not another request."""
        for case in CHUNKS:
            self.check_refused(case, [case.data], 1)
            self.check_refused(case, wire(case.data).split_every(1), 1)

    def test_behind_a_good_request(self) -> None:
        """A request that is refused is refused as well when it was pipelined behind one that is not."""
        for case in REFUSED:
            self.connect()
            self.send(GET + case.data)
            self.answer(200, (b"content-length", b"0")).end()
            self.clock.advance(0)
            said = self.read()
            self.assertTrue(said.startswith(b"HTTP/1.1 200 "), case.name)
            self.assertRegex(said, rb"\r\n\r\nHTTP/1\.[01] %d " % case.status, case.name)
            self.assertEqual(said.count(b"HTTP/1."), 2, case.name)
            self.assertTrue(self.transport.disconnected, case.name)
        self.assertEqual(len(self.dispatcher.sent), len(REFUSED))

    def check_every_cut(self, cases: Iterable[Case], sent: int) -> None:
        for case in cases:
            if len(case.data) <= _LONG:
                for pieces in wire(case.data).cuts():
                    self.check_refused(case, pieces, sent)
