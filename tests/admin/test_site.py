from __future__ import annotations

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from gateway.admin.site import APISIX_TOO_LARGE, AdminSite
from tests.admin.kit import TOKEN, Gateway

LIMIT = 1000


class BoundedRequestTests(SynchronousTestCase):
    def setUp(self) -> None:
        gateway = Gateway()
        site = AdminSite(gateway.api.resource(), max_body_bytes=LIMIT, reactor=Clock())
        self.protocol = site.buildProtocol(None)
        self.transport = StringTransport()
        self.protocol.makeConnection(self.transport)

    def _send(self, framing: str, content: bytes = b"") -> bytes:
        head = (
            "PUT /apisix/admin/consumers/jack?gateway_group_id=default HTTP/1.1\r\n"
            f"Host: h\r\nX-API-KEY: {TOKEN}\r\n{framing}\r\n\r\n"
        )
        self.protocol.dataReceived(head.encode() + content)
        return bytes(self.transport.value())

    def test_cut_off_in_other_words(self) -> None:
        """Where clients of the apisix dialect connect, far too much content is 400 in their words."""
        resource = Gateway().api.resource()
        site = AdminSite(resource, max_body_bytes=LIMIT, cut_off=APISIX_TOO_LARGE, reactor=Clock())
        protocol, transport = site.buildProtocol(None), StringTransport()
        protocol.makeConnection(transport)
        protocol.dataReceived(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n")
        self.assertTrue(transport.value().startswith(b"HTTP/1.1 400 Bad Request\r\n"))
        self.assertIn(b"request size 100000 is greater than the maximum size 1000 allowed", transport.value())

    def test_allowed_addresses(self) -> None:
        """A client that is not on the list of addresses gets 403 and a page, before anything else."""
        request = b"HEAD /apisix/admin HTTP/1.1\r\nHost: h\r\n\r\n"
        for peer, status in (("127.0.0.1", b"200"), ("192.0.2.7", b"403"), ("::1", b"403")):
            resource = Gateway().api.resource(["127.0.0.0/8"], page=True)
            site = AdminSite(resource, max_body_bytes=LIMIT, reactor=Clock())
            protocol = site.buildProtocol(None)
            transport = StringTransport(peerAddress=IPv4Address("TCP", peer, 1))
            protocol.makeConnection(transport)
            protocol.dataReceived(request)
            self.assertTrue(transport.value().startswith(b"HTTP/1.1 %s " % status), peer)

    def test_small(self) -> None:
        """Content within the limit is taken as usual."""
        self.assertIn(b" 200 ", self._send(f"Content-Length: {LIMIT}", b"{}".ljust(LIMIT)))

    def test_content_type(self) -> None:
        """Content is JSON, whatever its type says: that of a form too, and without the form's syntax."""
        for type in ("multipart/form-data", "multipart/form-data; boundary=x", "text/plain",
                     "application/x-www-form-urlencoded", ""):  # fmt: skip
            content = b'{"name":"s"}'
            head = (
                "POST /apisix/admin/services?gateway_group_id=default HTTP/1.1\r\nHost: h\r\n"
                f"X-API-KEY: {TOKEN}\r\nContent-Type: {type}\r\nContent-Length: {len(content)}\r\n\r\n"
            )
            self.transport.clear()
            self.protocol.dataReceived(head.encode() + content)
            self.assertTrue(self.transport.value().startswith(b"HTTP/1.1 200 "), type)

    def test_absolute_target(self) -> None:
        """A client may send the whole URL as the target of its request."""
        for target, status in (
            ("https://h:7443/api/version", b"200"),
            ("HTTP://h/api/version?a=b", b"200"),
            ("https://h", b"404"),
            ("https://h?a=b", b"404"),
        ):
            self.transport.clear()
            head = f"GET {target} HTTP/1.1\r\nHost: h\r\nX-API-KEY: {TOKEN}\r\n\r\n"
            self.protocol.dataReceived(head.encode())
            self.assertTrue(self.transport.value().startswith(b"HTTP/1.1 %s " % status), target)

    def test_large(self) -> None:
        """Content a little above the limit is read, not kept, and answered 413."""
        answer = self._send(f"Content-Length: {LIMIT + 1}", b" " * (LIMIT + 1))
        self.assertTrue(answer.startswith(b"HTTP/1.1 413 "))
        self.assertIn(b"more than", answer)

    def test_chunked(self) -> None:
        """The limit holds for content of unknown length too."""
        chunk = b"%x\r\n%s\r\n" % (600, b" " * 600)
        answer = self._send("Transfer-Encoding: chunked", chunk * 2 + b"0\r\n\r\n")
        self.assertTrue(answer.startswith(b"HTTP/1.1 413 "))

    def test_endless(self) -> None:
        """A client that announces or sends far too much is cut off at once."""
        answer = self._send("Content-Length: 9999999999")
        self.assertTrue(answer.startswith(b"HTTP/1.1 413 "))
        self.assertTrue(self.transport.disconnecting)

    def test_endless_chunks(self) -> None:
        """So is one that never stops sending chunks; it is told once."""
        chunk = b"%x\r\n%s\r\n" % (600, b" " * 600)
        self._send("Transfer-Encoding: chunked")
        for _ in range(30):
            self.protocol.dataReceived(chunk)
        self.assertTrue(self.transport.disconnecting)
        self.assertEqual(self.transport.value().count(b"HTTP/1.1 413 "), 1)
