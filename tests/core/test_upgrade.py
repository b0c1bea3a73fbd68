from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.core.fields import Fields
from gateway.core.upgrade import answered, requested


def asked(connection: bytes, upgrade: bytes, version: tuple[int, int] = (1, 1)) -> tuple[bytes, bytes] | None:
    pairs = [(b"connection", connection), (b"upgrade", upgrade)]
    return requested(Fields((name, value) for name, value in pairs if value), version)


class RequestedTests(SynchronousTestCase):
    def test_asked(self) -> None:
        """A request asks with both fields; what they say about the connection is passed on as it is."""
        self.assertEqual(asked(b"Upgrade", b"websocket"), (b"Upgrade", b"websocket"))
        self.assertEqual(
            asked(b"keep-alive, UPGRADE", b"foo/2, bar"), (b"keep-alive, UPGRADE", b"foo/2, bar")
        )
        lines = [
            (b"connection", b"close"),
            (b"upgrade", b"a"),
            (b"connection", b"upgrade"),
            (b"upgrade", b"b"),
        ]
        self.assertEqual(requested(Fields(lines), (1, 1)), (b"close, upgrade", b"a, b"))

    def test_options_that_drop_fields(self) -> None:
        """A client cannot have the next hop drop a field that the gateway has set."""
        asks = b"x-consumer-username, Upgrade, x-real-ip"
        self.assertEqual(asked(asks, b"websocket"), (b"Upgrade", b"websocket"))

    def test_not_asked(self) -> None:
        """One field alone, HTTP/1.0, or none at all is no question (RFC 9110 section 7.8)."""
        self.assertIsNone(asked(b"", b"websocket"))
        self.assertIsNone(asked(b"keep-alive", b"websocket"))
        self.assertIsNone(asked(b"upgrade", b""))
        self.assertIsNone(asked(b"upgrade", b"websocket", (1, 0)))

    def test_not_passed_on(self) -> None:
        """HTTP/2 in the clear and TLS would lead past every route and plugin."""
        for protocol in (b"h2c", b"H2C", b"websocket, h2c", b"TLS/1.2, HTTP/1.1", b"HTTP/2.0"):
            self.assertIsNone(asked(b"upgrade, http2-settings", protocol), protocol)


class AnsweredTests(SynchronousTestCase):
    def test_answered(self) -> None:
        """The answer names the protocol."""
        self.assertEqual(answered([(b"x", b"y"), (b"upgrade", b"websocket")]), b"websocket")
        for pairs in ([], [(b"upgrade", b"")], [(b"connection", b"upgrade")]):
            self.assertIsNone(answered(pairs))
