"""An authority of the gateway's own, and certificates it signs for data planes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from attrs import field, frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFE_DAYS = 365
_AUTHORITY_DAYS = 3650


@frozen
class Pair:
    """A certificate and its private key, both PEM."""

    cert: str
    key: str = field(repr=False)


def authority(name: str) -> Pair:
    """A new authority, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    return _signed(name, key, name, key, _AUTHORITY_DAYS, is_authority=True)


def issued(by: Pair, name: str, days: int) -> Pair:
    """A new certificate for a client called *name*, good for *days* from now."""
    signer = load_pem_private_key(by.key.encode(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    issuer = x509.load_pem_x509_certificate(by.cert.encode()).subject.get_attributes_for_oid(
        NameOID.COMMON_NAME
    )
    key = ec.generate_private_key(ec.SECP256R1())
    return _signed(name, key, str(issuer[0].value), signer, days, is_authority=False)


def _signed(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    signer: ec.EllipticCurvePrivateKey,
    days: int,
    *,
    is_authority: bool,
) -> Pair:
    def called(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(called(name))
        .issuer_name(called(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # A clock that is a little behind must take it, too.
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=0 if is_authority else None), True)
    )
    if not is_authority:
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = builder.add_extension(usage, critical=False)
    made = builder.sign(signer, hashes.SHA256())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")
    return Pair(made.public_bytes(Encoding.PEM).decode("ascii"), private)
