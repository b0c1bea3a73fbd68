"""The certificate of the admin listener: given by the user, or self-signed and kept in the data directory."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.ssl import CertificateOptions, TLSVersion
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from gateway.files import write_atomically

LIFETIME = timedelta(days=825)
"""The longest that today's clients accept."""
RENEW_BEFORE = timedelta(days=7)
"""A self-signed certificate is made anew when it has less than this to live."""
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")

_DNS_NAME = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)


@frozen
class CertificateFiles:
    """A PEM certificate (chain) and its PEM private key, which open together."""

    certificate: Path
    private_key: Path


def fault(certificate: Path, private_key: Path) -> tuple[str, str] | None:
    """
    Check that a pair can be served.

    Returns:
        None if it can; else which of the two is at fault (``certificate`` or
        ``private_key``) and what is wrong with it.
    """
    for name, path in (("certificate", certificate), ("private_key", private_key)):
        try:
            with path.open("rb"):
                pass
        except OSError as error:
            return name, f"{path} cannot be read: {error.strerror or error}"
    try:
        parsed = x509.load_pem_x509_certificates(certificate.read_bytes())
    except ValueError:
        return "certificate", f"{certificate} holds no PEM certificate"
    if parsed[0].not_valid_after_utc <= datetime.now(UTC):
        return "certificate", f"{certificate} expired on {parsed[0].not_valid_after_utc:%Y-%m-%d}"

    def refuse() -> str:
        raise ValueError("it is encrypted")  # otherwise OpenSSL asks at the terminal

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, private_key, refuse)
    except ValueError:
        return "private_key", f"{private_key} is encrypted; give one without a passphrase"
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            return "private_key", f"{private_key} is not the key of {certificate}"
        return "private_key", f"{private_key} holds no PEM private key that can be used"
    return None


def cipher_fault(ciphers: str) -> str | None:
    """What is wrong with a list of cipher suites in OpenSSL's form; None if it can be used."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).set_ciphers(ciphers)
    except (ssl.SSLError, ValueError):
        return "OpenSSL knows no cipher suite in it"
    return None


def self_signed(names: Iterable[str], now: datetime, lifetime: timedelta = LIFETIME) -> tuple[bytes, bytes]:
    """
    Make a certificate for *names*, signed by its own fresh P-256 key.

    Args:
        names: DNS names and IP addresses; what is neither is left out.
        now: Valid from an hour before it, for clocks that are late.
    Returns:
        The certificate and the private key, both PEM.
    """
    alternatives: dict[str, x509.GeneralName] = {}
    for name in names:
        try:
            alternatives.setdefault(name, x509.IPAddress(ip_address(name)))
        except ValueError:
            if _DNS_NAME.fullmatch(name):
                alternatives.setdefault(name.lower(), x509.DNSName(name.lower()))
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gateway admin")])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now - timedelta(hours=1) + lifetime)
        .add_extension(x509.SubjectAlternativeName(list(alternatives.values())), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    return (
        certificate.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )


def ensure_self_signed(
    directory: Path, hostname: str, *, stem: str = "admin", now: datetime | None = None
) -> CertificateFiles:
    """
    The self-signed pair in *directory*: ``<stem>.crt`` and ``<stem>.key`` (mode 0600).

    It is made if it is not there, and anew if it is expired, about to expire, damaged, or if
    certificate and key do not belong together; otherwise it stays, so that clients may pin it.

    Args:
        directory: Exists and can be written.
        hostname: Served besides localhost and the loopback addresses.
    Raises:
        OSError: a file cannot be written.
    """
    moment = now or datetime.now(UTC)
    files = CertificateFiles(directory / f"{stem}.crt", directory / f"{stem}.key")
    if not _good(files, moment):
        certificate, key = self_signed((*LOCAL_NAMES, hostname), moment)
        write_atomically(files.private_key, key)
        write_atomically(files.certificate, certificate, mode=0o644)
    return files


def _good(files: CertificateFiles, now: datetime) -> bool:
    if fault(files.certificate, files.private_key) is not None:
        return False
    if os.stat(files.private_key).st_mode & 0o077:
        os.chmod(files.private_key, 0o600)
    certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    return certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc - RENEW_BEFORE


def fingerprint(certificate: Path) -> str:
    """The SHA-256 fingerprint of a PEM certificate, as tools print it: ``AB:CD:…``."""
    digest = x509.load_pem_x509_certificate(certificate.read_bytes()).fingerprint(hashes.SHA256())
    return digest.hex(":").upper()


@implementer(IOpenSSLServerConnectionCreator)
class ReplaceableOptions:
    """
    How a listener serves a pair that may be replaced while it listens: the next handshake has the new one.
    """

    def __init__(self, files: CertificateFiles) -> None:
        """Raises as ``server_options``."""
        self._context = server_options(files).getContext()

    def replace(self, files: CertificateFiles) -> None:
        """Serve *files* from now on. Raises as ``server_options``; then nothing has changed."""
        self._context = server_options(files).getContext()

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """As ``IOpenSSLServerConnectionCreator``."""
        connection = SSL.Connection(self._context, None)
        connection.set_app_data(tlsProtocol)
        return connection


def server_options(files: CertificateFiles) -> CertificateOptions:
    """
    How a listener serves *files*: the whole chain, TLS 1.2 and later.

    Raises:
        OSError, ValueError, OpenSSL.crypto.Error: ``fault`` would have said why.
    """
    chain = [
        crypto.X509.from_cryptography(one)
        for one in x509.load_pem_x509_certificates(files.certificate.read_bytes())
    ]
    return CertificateOptions(
        privateKey=crypto.load_privatekey(crypto.FILETYPE_PEM, files.private_key.read_bytes()),
        certificate=chain[0],
        extraCertChain=chain[1:],
        raiseMinimumTo=TLSVersion.TLSv1_2,
    )
