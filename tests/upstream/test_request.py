"""Prepared requests."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.upstream.request import Peer
from tests.upstream.memory import prepared


class PeerTests(SynchronousTestCase):
    def test_identity(self) -> None:
        """Connections are shared by scheme, host, port and TLS identity."""
        one = Peer("https", "h", 443, "a", True)
        self.assertEqual(
            (one, hash(one)), (Peer("https", "h", 443, "a", True), hash(Peer("https", "h", 443, "a", True)))
        )
        for other in (
            Peer("http", "h", 443, "a", True),
            Peer("https", "i", 443, "a", True),
            Peer("https", "h", 444, "a", True),
            Peer("https", "h", 443, "b", True),
            Peer("https", "h", 443, "a", False),
        ):
            self.assertNotEqual(one, other)

    def test_origin(self) -> None:
        """The origin names the port only where it is not the usual one, and brackets IPv6."""
        for peer, origin in (
            (Peer("http", "h", 80), b"http://h"),
            (Peer("https", "h", 80), b"https://h:80"),
            (Peer("http", "::1", 8080), b"http://[::1]:8080"),
        ):
            self.assertEqual(peer.origin, origin)


class PreparedRequestTests(SynchronousTestCase):
    def test_reads_as_headers(self) -> None:
        """Any agent can read it as headers."""
        request = prepared(fields=[(b"host", b"h"), (b"x-a", b"1"), (b"x-a", b"2")])
        self.assertTrue(request.hasHeader(b"Host"))
        self.assertEqual(request.getRawHeaders("x-a"), ["1", "2"])
        self.assertEqual(dict(request.getAllRawHeaders()), {b"Host": [b"h"], b"X-A": [b"1", b"2"]})
        self.assertEqual(request.url, b"http://10.0.0.1:8080/x")

    def test_fixed(self) -> None:
        """It cannot be changed in ways that would not be sent; a copy can."""
        request = prepared()
        self.assertRaises(TypeError, request.setRawHeaders, b"a", [b"b"])
        self.assertRaises(TypeError, request.addRawHeader, b"a", b"b")
        self.assertRaises(TypeError, request.removeHeader, b"host")
        copy = request.copy()
        copy.addRawHeader(b"a", b"b")
        self.assertFalse(request.hasHeader(b"a"))
        self.assertEqual(copy.getRawHeaders(b"host"), [b"a.example"])

    def test_keeps_secrets(self) -> None:
        """Its repr shows neither field values nor the query."""
        text = repr(prepared(target=b"/x?key=s3cret", fields=[(b"authorization", b"s3cret")]))
        self.assertNotIn("s3cret", text)
        self.assertIn("authorization", text)
