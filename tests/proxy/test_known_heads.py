"""Heads that are remembered."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.core.exchange import RequestHead
from gateway.http1.request import Head, parse_head
from gateway.proxy.admission import Admitted, admit_read
from gateway.proxy.known_heads import MAX_HEAD_BYTES, KnownHeads


def made(data: bytes) -> tuple[Head, RequestHead, Admitted]:
    head = parse_head(data[:-2], 100, 8000)
    assert isinstance(head, Head)
    request = RequestHead(head.method, head.target, head.pairs, head.version)
    admitted = admit_read(request, head.hosts)
    assert isinstance(admitted, Admitted)
    return head, request, admitted


def wire(number: int, more: str = "") -> bytes:
    return f"GET /{number} HTTP/1.1\r\nHost: a\r\nCookie: secret\r\n{more}\r\n".encode()


class KnownHeadsTests(SynchronousTestCase):
    def test_the_second_time(self) -> None:
        """A head is known from its second time on, byte for byte."""
        heads = KnownHeads(10)
        data = wire(1)
        heads.learn(data, *made(data))
        self.assertIsNone(heads.get(data))
        heads.learn(data, *made(data))
        known = heads.get(data)
        assert known is not None
        self.assertEqual((known[1].target, known[2].path, known[2].host), (b"/1", "/1", "a"))
        self.assertIsNone(heads.get(data.replace(b"Host", b"host")))

    def test_bounded(self) -> None:
        """Neither many heads nor long ones fill the memory; with a limit of 0 there is none."""
        heads = KnownHeads(10)
        for number in range(100):
            for _ in range(2):
                heads.learn(wire(number), *made(wire(number)))
            self.assertLessEqual(len(heads), 10)
        long = wire(1, f"X: {'y' * MAX_HEAD_BYTES}\r\n")
        none = KnownHeads(0)
        for _ in range(2):
            heads.learn(long, *made(long))
            none.learn(wire(1), *made(wire(1)))
        self.assertIsNone(heads.get(long))
        self.assertEqual(len(none), 0)

    def test_secret(self) -> None:
        """Heads hold credentials: none stands in a repr."""
        heads = KnownHeads(10)
        for _ in range(2):
            heads.learn(wire(1), *made(wire(1)))
        self.assertNotIn("secret", repr(heads))
