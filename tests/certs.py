"""Certificates and keys for tests, made when they run and kept for the run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import ip_address

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID
from OpenSSL import SSL


@frozen
class Pair:
    """
    A certificate and its key.

    Attributes:
        cert: PEM; the certificate alone. key: PEM.
    """

    cert: str
    key: str
    _certificate: x509.Certificate
    _private: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

    @property
    def serial(self) -> int:
        """What tells it from others."""
        return self._certificate.serial_number

    def encrypted_key(self) -> str:
        """The key, with a passphrase."""
        return self._private.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"passphrase")
        ).decode()


@cache
def _private_key(kind: str, name: str) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    if kind in ("rsa", "small"):
        return rsa.generate_private_key(65537, 2048 if kind == "rsa" else 1024)
    return ec.generate_private_key(ec.SECP256R1())


def _names(names: tuple[str, ...]) -> list[x509.GeneralName]:
    found: list[x509.GeneralName] = []
    for name in names:
        try:
            found.append(x509.IPAddress(ip_address(name)))
        except ValueError:
            found.append(x509.DNSName(name))
    return found


@cache
def pair(*names: str, kind: str = "ec", issuer: Pair | None = None, ca: bool = False, tag: str = "") -> Pair:
    """
    A certificate for *names*, signed by *issuer* or by itself.

    Args:
        kind: ``ec``, ``rsa``, or ``small`` for an RSA key that is too short. ca: Whether it may sign others.
        tag: Another tag makes another certificate for the same names.
    """
    key = _private_key(kind, repr((names, tag)) if kind == "ec" else "")
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer._certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName(_names(names)), critical=False)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    made = builder.sign(key if issuer is None else issuer._private, hashes.SHA256())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return Pair(made.public_bytes(Encoding.PEM).decode(), pem, made, key)


def authority(name: str = "authority.test") -> Pair:
    """A certificate authority."""
    return pair(name, ca=True)


def shake_hands(client: SSL.Connection, server: SSL.Connection) -> list[SSL.Connection]:
    """
    Have two ends in memory, their states set, shake hands.

    Returns:
        Those that have not come to the end of it.
    """
    waiting = [client, server]
    for _ in range(10):
        for end, other in ((client, server), (server, client)):
            try:
                end.do_handshake()
                waiting = [one for one in waiting if one is not end]
            except SSL.WantReadError:
                pass
            try:
                other.bio_write(end.bio_read(1 << 16))
            except SSL.WantReadError:
                pass
    return waiting
