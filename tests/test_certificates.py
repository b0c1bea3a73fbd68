"""The admin listener's certificate: made, kept, made anew."""

from __future__ import annotations

import hashlib
import os
import ssl
import stat
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from gateway.certificates import (
    LIFETIME,
    CertificateFiles,
    ensure_self_signed,
    fault,
    fingerprint,
    self_signed,
    server_options,
)
from tests.certs import shake_hands

NOW = datetime(2030, 1, 1, tzinfo=UTC)


class SelfSignedTests(SynchronousTestCase):
    """``self_signed``."""

    def test_names(self) -> None:
        """It is good for the DNS names and addresses given; what is neither is left out."""
        names = ["localhost", "127.0.0.1", "::1", "Box-1.example", "localhost", "not a name", "", "x" * 64]
        certificate, _ = self_signed(names, NOW)
        parsed = x509.load_pem_x509_certificate(certificate)
        alternatives = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertEqual(alternatives.get_values_for_type(x509.DNSName), ["localhost", "box-1.example"])
        self.assertEqual(
            alternatives.get_values_for_type(x509.IPAddress), [ip_address("127.0.0.1"), ip_address("::1")]
        )

    def test_kind(self) -> None:
        """It is an ECDSA P-256 server certificate, no authority, for no longer than clients accept."""
        certificate, key = self_signed(["localhost"], NOW)
        parsed = x509.load_pem_x509_certificate(certificate)
        loaded = load_pem_private_key(key, None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        self.assertIsInstance(loaded.curve, ec.SECP256R1)
        self.assertEqual(parsed.public_key(), loaded.public_key())
        self.assertFalse(parsed.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
        self.assertEqual(parsed.not_valid_after_utc - parsed.not_valid_before_utc, LIFETIME)
        self.assertLess(parsed.not_valid_before_utc, NOW)

    def test_each_is_its_own(self) -> None:
        """No two share a key or a number."""
        one, two = (x509.load_pem_x509_certificate(self_signed(["a"], NOW)[0]) for _ in range(2))
        self.assertNotEqual(one.serial_number, two.serial_number)
        self.assertNotEqual(one.public_key(), two.public_key())


class EnsureTests(SynchronousTestCase):
    """``ensure_self_signed``."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.now = datetime.now(UTC)

    def ensure(self, after: timedelta = timedelta(0)) -> tuple[bytes, bytes]:
        files = ensure_self_signed(self.directory, "box-1", now=self.now + after)
        self.assertIsNone(fault(files.certificate, files.private_key))
        return files.certificate.read_bytes(), files.private_key.read_bytes()

    def test_made_once(self) -> None:
        """The pair stays over restarts, so that clients can pin it."""
        first = self.ensure()
        self.assertEqual(self.ensure(timedelta(days=800)), first)

    def test_modes(self) -> None:
        """Only the owner reads the key; a key that others could read is closed again."""
        self.ensure()
        key = self.directory / "admin.key"
        self.assertEqual(stat.S_IMODE(key.stat().st_mode), 0o600)
        os.chmod(key, 0o644)
        self.ensure()
        self.assertEqual(stat.S_IMODE(key.stat().st_mode), 0o600)

    def test_made_anew_before_it_expires(self) -> None:
        """A pair with only days left is replaced."""
        first = self.ensure()
        self.assertNotEqual(self.ensure(timedelta(days=820)), first)

    def test_made_anew_when_expired(self) -> None:
        """An expired pair is replaced."""
        certificate, key = self_signed(["localhost"], self.now - timedelta(days=2), timedelta(days=1))
        (self.directory / "admin.crt").write_bytes(certificate)
        (self.directory / "admin.key").write_bytes(key)
        self.assertNotEqual(self.ensure()[0], certificate)

    def test_made_anew_when_damaged(self) -> None:
        """A start that was cut short, or a lost file, leaves no gateway that cannot start."""
        first = self.ensure()
        (self.directory / "admin.crt").write_bytes(first[0][:100])
        second = self.ensure()
        self.assertNotEqual(second, first)
        (self.directory / "admin.key").unlink()
        third = self.ensure()
        self.assertNotEqual(third, second)
        (self.directory / "admin.key").write_bytes(first[1])
        self.assertNotEqual(self.ensure(), third)

    def test_other_stem(self) -> None:
        """Another listener can have a pair of its own."""
        files = ensure_self_signed(self.directory, "box-1", stem="proxy")
        self.assertEqual(
            sorted(os.listdir(self.directory)), ["proxy.crt", "proxy.key"], str(files.certificate)
        )

    def test_fingerprint(self) -> None:
        """The fingerprint is the one other tools show."""
        files = ensure_self_signed(self.directory, "box-1")
        text = fingerprint(files.certificate)
        self.assertRegex(text, r"\A[0-9A-F]{2}(:[0-9A-F]{2}){31}\Z")
        der = ssl.PEM_cert_to_DER_cert(files.certificate.read_text())
        self.assertEqual(text.replace(":", "").lower(), hashlib.sha256(der).hexdigest())


class FaultTests(SynchronousTestCase):
    """``fault``: what the settings' own tests do not show."""

    def test_encrypted_key(self) -> None:
        """A key with a passphrase is refused: nobody is asked at the terminal."""
        certificate, key = self_signed(["localhost"], datetime.now(UTC))
        loaded = load_pem_private_key(key, None)
        locked = loaded.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
        paths = Path(self.mktemp()), Path(self.mktemp())
        paths[0].write_bytes(certificate)
        paths[1].write_bytes(locked)
        self.assertEqual(
            fault(*paths), ("private_key", f"{paths[1]} is encrypted; give one without a passphrase")
        )

    def test_empty_files(self) -> None:
        """Empty files are named."""
        paths = Path(self.mktemp()), Path(self.mktemp())
        for path in paths:
            path.write_bytes(b"")
        self.assertEqual(fault(*paths), ("certificate", f"{paths[0]} holds no PEM certificate"))


class ServerOptionsTests(SynchronousTestCase):
    """``server_options``: a real handshake, without sockets."""

    def handshake(self, files: CertificateFiles, trusted: bytes, version: int) -> SSL.Connection:
        (authority := Path(self.mktemp())).write_bytes(trusted)
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.load_verify_locations(str(authority))
        context.set_verify(SSL.VERIFY_PEER)
        context.set_min_proto_version(version)
        context.set_max_proto_version(version)
        client = SSL.Connection(context, None)
        server = SSL.Connection(server_options(files).getContext(), None)
        client.set_connect_state()
        server.set_accept_state()
        self.assertEqual(shake_hands(client, server), [])
        return client

    def setUp(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        self.files = ensure_self_signed(directory, "box-1")
        self.certificate = self.files.certificate.read_bytes()

    def test_verified_by_a_client_that_trusts_the_file(self) -> None:
        """A client that is given admin.crt can verify it, over TLS 1.3 and 1.2."""
        for version, name in ((SSL.TLS1_3_VERSION, "TLSv1.3"), (SSL.TLS1_2_VERSION, "TLSv1.2")):
            client = self.handshake(self.files, self.certificate, version)
            self.assertEqual(client.get_protocol_version_name(), name)

    def test_not_verified_by_others(self) -> None:
        """A client that trusts another certificate refuses it."""
        other, _ = self_signed(["localhost"], datetime.now(UTC))
        self.assertRaises(SSL.Error, self.handshake, self.files, other, SSL.TLS1_3_VERSION)

    def test_chain(self) -> None:
        """What stands behind the certificate in its file is sent too, in order."""
        behind, _ = self_signed(["behind"], datetime.now(UTC))
        self.files.certificate.write_bytes(self.certificate + behind)
        client = self.handshake(self.files, self.certificate, SSL.TLS1_3_VERSION)
        chain = client.get_peer_cert_chain()
        assert chain is not None
        self.assertEqual(
            [one.to_cryptography().public_bytes(Encoding.PEM) for one in chain], [self.certificate, behind]
        )
