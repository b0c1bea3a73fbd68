from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from gateway.core.client_hello import MAX_BYTES, Hello, NotTLS, alert, read_hello


def hello(server_name: bytes | None = b"a.test", version: int = SSL.TLS1_3_VERSION) -> bytes:
    """What OpenSSL's client sends first."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_max_proto_version(version)
    connection = SSL.Connection(context, None)
    connection.set_connect_state()
    if server_name is not None:
        connection.set_tlsext_host_name(server_name)
    try:
        connection.do_handshake()
    except SSL.WantReadError:
        pass
    return connection.bio_read(65536)


def in_records(data: bytes, size: int) -> bytes:
    """The same message in records of *size* bytes."""
    message = data[5:]
    parts = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part for part in parts)


def with_extension(kind: int, content: bytes) -> bytes:
    """A small message with one extension."""
    extension = kind.to_bytes(2, "big") + len(content).to_bytes(2, "big") + content
    body = b"\x03\x03" + bytes(32) + b"\0" + b"\0\2\x13\x01" + b"\1\0"
    body += len(extension).to_bytes(2, "big") + extension
    message = b"\1" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + len(message).to_bytes(2, "big") + message


class ReadTests(SynchronousTestCase):
    def test_name(self) -> None:
        """The name is found, whatever version the client speaks."""
        for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            found = read_hello(hello(b"a.test", version))
            self.assertEqual(found, Hello("a.test", version == SSL.TLS1_3_VERSION))

    def test_versions(self) -> None:
        """A client of TLS 1.3 says so among the versions it speaks; what is malformed there is refused."""
        for content, found in (
            (b"\2\3\3", False),
            (b"\2\3\4", True),
            (b"\4\x7f\x1c\3\4", True),
            (b"\0", False),
        ):
            self.assertEqual(read_hello(with_extension(43, content)), Hello(None, found))
        for content in (b"\3\3\3\4", b"\2\3", b""):
            self.assertRaises(NotTLS, read_hello, with_extension(43, content))

    def test_plain_form(self) -> None:
        """Names are compared in lower case and without a dot at their end."""
        content = b"\0\x09\0\0\x06A.Te.."
        self.assertEqual(read_hello(with_extension(0, content)), Hello("a.te."))
        self.assertEqual(read_hello(hello(b"WWW.A.Test")), Hello("www.a.test", True))

    def test_none(self) -> None:
        """A client need not send one."""
        self.assertEqual(read_hello(hello(None)), Hello(None, True))
        self.assertEqual(read_hello(with_extension(5, b"x")), Hello(None))

    def test_in_pieces(self) -> None:
        """Nothing is decided before all of it is there, and then the same, however it is cut."""
        small = with_extension(0, b"\0\x09\0\0\x06a.test")
        for message, tls13 in (
            (hello(), True),
            (in_records(hello(), 100), True),
            (in_records(small, 7), False),
            (in_records(small, 1), False),
        ):
            for end in range(len(message)):
                self.assertIsNone(read_hello(message[:end]))
            found = Hello("a.test", tls13)
            self.assertEqual(read_hello(message), found)
            self.assertEqual(read_hello(message + b"more"), found)

    def test_not_tls(self) -> None:
        """What will never be a ClientHello is refused at once."""
        whole = hello()
        for data in (
            b"G",
            b"\x80",
            b"\x16\x02",
            b"\x16\x03\x01\xff\xff",
            b"\x16\x03\x01\0\0",
            b"\x16\x03\x01\0\x04\x02\0\0\0",
            b"\x16\x03\x01\0\x04\x01" + (MAX_BYTES).to_bytes(3, "big"),
            whole[:5] + b"\1\0\0\2\3\3",
            in_records(whole, 20)[:25] + b"\x17",
        ):
            self.assertRaises(NotTLS, read_hello, data)

    def test_broken_name(self) -> None:
        """A name that is empty, broken or longer than what it stands in."""
        for content in (b"\0\3\0\0\0", b"\0\5\0\0\2a\0", b"\0\5\0\0\xffab", b"\0"):
            self.assertRaises(NotTLS, read_hello, with_extension(0, content))

    @settings(deadline=None, max_examples=100)
    @given(st.binary(max_size=200), st.integers(0, 200))
    def test_anything(self, noise: bytes, at: int) -> None:
        """Whatever comes, it is a name, a wait or a refusal."""
        message = bytearray(hello())
        message[at : at + len(noise)] = noise
        try:
            found = read_hello(bytes(message))
        except NotTLS:
            return
        self.assertTrue(found is None or isinstance(found, Hello))


class AlertTests(SynchronousTestCase):
    def test_alert(self) -> None:
        """A client understands it."""
        connection = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
        connection.set_connect_state()
        self.assertRaises(SSL.WantReadError, connection.do_handshake)
        connection.bio_write(alert(112))
        error = self.assertRaises(SSL.Error, connection.do_handshake)
        self.assertIn("unrecognized name", str(error))
