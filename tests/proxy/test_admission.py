"""The first look at a request: what is ambiguous is refused before anything acts on it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.core.exchange import Reply
from gateway.proxy.admission import Admitted, admit

HOST = (b"host", b"Example.com:9080")


class AdmitTests(SynchronousTestCase):
    def admitted(self, target: bytes, *pairs: tuple[bytes, bytes], method: bytes = b"GET") -> Admitted:
        verdict = admit(method, target, list(pairs or (HOST,)), (1, 1))
        assert isinstance(verdict, Admitted), verdict
        return verdict

    def assertRefused(
        self,
        target: bytes,
        *pairs: tuple[bytes, bytes],
        method: bytes = b"GET",
        version: tuple[int, int] = (1, 1),
    ) -> None:
        verdict = admit(method, target, list(pairs), version)
        assert isinstance(verdict, Reply), f"{target!r} {pairs!r} was admitted"
        self.assertEqual((verdict.status, verdict.reason), (400, "bad_request"))
        self.assertIn((b"connection", b"close"), verdict.fields)
        self.assertNotEqual(verdict.detail, "")

    def test_plain(self) -> None:
        """An ordinary request goes on; the host loses case and port, the target stays as sent."""
        got = self.admitted(b"/a//b/../c?x=%2F")
        self.assertEqual((got.path, got.host, got.head.target), ("/a/c", "example.com", b"/a//b/../c?x=%2F"))

    def test_absolute_form_that_disagrees(self) -> None:
        """A target for one host under the Host of another is refused."""
        self.assertRefused(b"http://other.example/x", HOST)

    def test_asterisk_form(self) -> None:
        """``OPTIONS *`` is taken, the same target with another method is not (RFC 9112 section 3.2.4)."""
        self.assertEqual(self.admitted(b"*", method=b"OPTIONS").path, "/")
        self.assertRefused(b"*", HOST)

    def test_authority_form(self) -> None:
        """CONNECT is not served."""
        self.assertRefused(b"example.com:443", HOST, method=b"CONNECT")

    def test_host_rules(self) -> None:
        """HTTP/1.1 needs exactly one valid Host (RFC 9112 section 3.2); HTTP/1.0 may go without."""
        self.assertRefused(b"/")
        self.assertRefused(b"/", HOST, HOST)
        for bad in (b"a b", b"a/b", b"a@b", b"a:80:80", b"[::1", b"a:port", b"a\x00", b'a"b'):
            self.assertRefused(b"/", (b"host", bad))
        self.assertEqual(self.admitted(b"/", (b"host", b"[::1]:9080")).host, "[::1]")
        self.assertIsInstance(admit(b"GET", b"/", [], (1, 0)), Admitted)

    def test_host_grammar(self) -> None:
        """Names, addresses and ports are hosts; what another reader could take for something else is not."""
        for host in (
            b"a",
            b"A.example:80",
            b"a:",
            b"a_b",
            b"a%20b",
            b"127.0.0.1:65535",
            b"[::1]",
            b"[::1]:80",
        ):
            self.admitted(b"/", (b"host", host))
        for host in (
            b"",
            b":80",
            b"a b",
            b"a,b",
            b"a%2",
            b"a:65536",
            b"a:b",
            b"[::g]",
            b"[1.2.3.4]",
            b"[::1",
            b"u@a",
        ):
            self.assertRefused(b"/", (b"host", host))

    def test_absolute_form(self) -> None:
        """A target in absolute form loses its host; that is the Host, which HTTP/1.0 may leave out."""
        for target in (b"http://a/x", b"HTTP://A/x", b"http://a:80/x", b"https://a:443/x"):
            admitted = self.admitted(target, (b"host", b"a"))
            self.assertEqual((admitted.head.target, admitted.host), (b"/x", "a"))
        self.assertEqual(self.admitted(b"http://a?q", (b"host", b"a:80")).head.target, b"/?q")
        verdict = admit(b"GET", b"http://a:8080/x", [], (1, 0))
        assert isinstance(verdict, Admitted)
        self.assertEqual((verdict.head.fields, verdict.host), (((b"host", b"a:8080"),), "a"))

    def test_bytes_no_target_may_hold(self) -> None:
        """Controls, spaces and fragments in the target are refused; so are broken escapes and NUL."""
        for bad in (
            b"/a b",
            b"/a\tb",
            b"/a\x00",
            b"/a#b",
            b"/a\x7f",
            b"",
            b"/%zz",
            b"/%",
            b"/a%00",
            b"/../x",
        ):
            self.assertRefused(bad, HOST)

    def test_methods(self) -> None:
        """Any token is a method; anything else is refused (RFC 9110 section 9.1)."""
        self.assertEqual(self.admitted(b"/", method=b"PROPFIND").head.method, b"PROPFIND")
        for bad in (b"", b"G ET", b"GET\r", b"G@T"):
            self.assertRefused(b"/", HOST, method=bad)

    def test_transfer_codings(self) -> None:
        """A transfer coding that others could read another way is refused (RFC 9112 section 6.1)."""
        for coding in (b"identity", b"gzip, chunked", b"chunked, chunked", b"x", b""):
            self.assertRefused(b"/", HOST, (b"transfer-encoding", coding))
        self.assertRefused(b"/", HOST, (b"transfer-encoding", b"chunked"), version=(1, 0))
        self.admitted(b"/", HOST, (b"transfer-encoding", b"Chunked"))

    def test_field_lines(self) -> None:
        """Bytes that would end a field line early are refused (RFC 9110 section 5.5)."""
        self.assertRefused(b"/", HOST, (b"x", b"a\nb"))
        self.assertRefused(b"/", HOST, (b"x", b"a\x00b"))
        self.assertRefused(b"/", HOST, (b"x y", b"a"))
        self.assertRefused(b"/", HOST, (b"", b"a"))
