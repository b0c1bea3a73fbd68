"""Certificates and private keys as PEM text (RFC 7468): what can be said of them without serving them."""

from __future__ import annotations

import re

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey | Ed448PrivateKey
"""The kinds of key a TLS server can sign with."""

_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]{1,40})-----[^-]{0,200000}-----END \1-----")


class PemError(ValueError):
    """The text is no certificate, or no key, that could be used. It never quotes the text."""


def certificates(text: str) -> list[x509.Certificate]:
    """
    Read a certificate, or a chain of them, the first being the one that is meant.

    Raises:
        PemError: there is none, or one of them is damaged.
    """
    try:
        found = x509.load_pem_x509_certificates(text.encode("ascii"))
        for one in found:
            one.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion):
        raise PemError("no PEM certificate that can be read") from None
    return found


def private_key(text: str) -> PrivateKey:
    """
    Read a private key. What stands beside it, such as EC parameters, is passed over.

    Raises:
        PemError: it is none, is damaged, is encrypted, or is of a kind TLS servers have no use for.
    """
    blocks = [block[0] for block in _BLOCK.finditer(text) if block[1].endswith("PRIVATE KEY")]
    if len(blocks) != 1:
        raise PemError("no PEM private key" if not blocks else "more than one private key")
    if "ENCRYPTED" in blocks[0]:
        raise PemError("the key is encrypted; give it without a passphrase")
    try:
        key = load_pem_private_key(blocks[0].encode("ascii"), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise PemError("no PEM private key that can be read") from None
    if not isinstance(key, PrivateKey):
        raise PemError("a key of this kind cannot be used with TLS")
    return key


def belong_together(certificate: x509.Certificate, key: PrivateKey) -> bool:
    """Whether *key* is the private half of the certificate's key."""
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    return certificate.public_key().public_bytes(*form) == key.public_key().public_bytes(*form)
