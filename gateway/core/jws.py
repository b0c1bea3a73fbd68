"""Signatures by authlib's JWS algorithms; the one module that imports ``authlib.jose``.

A key is imported once, checked against the one algorithm it is for, and never used for another:
what a token's header says plays no part here.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

from attrs import field, frozen
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

with warnings.catch_warnings():
    # authlib says on import that it would rather be another package; its own module must come
    # first, because importing it turns that warning on.
    from authlib.deprecate import AuthlibDeprecationWarning

    warnings.simplefilter("ignore", AuthlibDeprecationWarning)
    from authlib.jose import ECKey, JsonWebSignature, OctKey, OKPKey, RSAKey  # noqa: TID251 - this is the one

Verifier = Callable[[bytes, bytes], bool]
"""Given the signing input and the signature, whether the signature is good. Never raises."""

HMAC_ALGORITHMS = ("HS256", "HS384", "HS512")
ASYMMETRIC_ALGORITHMS = (
    "RS256",
    "RS384",
    "RS512",
    "ES256",
    "ES384",
    "ES512",
    "PS256",
    "PS384",
    "PS512",
    "EdDSA",
)
ALGORITHMS = HMAC_ALGORITHMS + ASYMMETRIC_ALGORITHMS
"""Every algorithm a credential may be for (RFC 7518 section 3.1, RFC 8037); never ``none``."""

MIN_RSA_BITS = 2048
"""RFC 7518 section 3.3."""
MAX_RSA_BITS = 16384
"""OpenSSL refuses to use larger ones."""

_CURVES = {"ES256": ("secp256r1", "P-256"), "ES384": ("secp384r1", "P-384"), "ES512": ("secp521r1", "P-521")}
# Taken once: the registry is a mutable global.
_IMPLEMENTATIONS: Mapping[str, Any] = {
    name: JsonWebSignature.ALGORITHMS_REGISTRY[name] for name in ALGORITHMS
}


class _ImportedECKey(ECKey):  # type: ignore[misc]  # authlib has no types
    """An EC public key that is not rebuilt from its coordinates for each signature, as ECKey's is."""

    @property
    def curve_key_size(self) -> int:
        bits: int = self.public_key.curve.key_size
        return bits


@frozen
class VerificationKey:
    """
    A key, imported for one algorithm.

    Attributes:
        algorithm: That algorithm.
        signature_bytes: The one length a signature by this key has.
        native: The library's key object.
    """

    algorithm: str
    signature_bytes: int
    native: Any = field(repr=False)


def import_secret(algorithm: str, secret: bytes) -> VerificationKey:
    """
    Import the shared key of an HMAC algorithm.

    Args:
        algorithm: One of ``HMAC_ALGORITHMS``.
        secret: The MAC key. Shorter than the hash is accepted, although RFC 7518 section 3.2 asks for
            more: users have such secrets.
    Raises:
        ValueError: it is empty, or it is the text of a PEM or SSH key, which is no secret.
    """
    if not secret:
        raise ValueError("secret is empty")
    try:
        native = OctKey.import_key(secret)
    except ValueError:
        raise ValueError("secret is the text of a PEM or SSH key, which is no shared secret") from None
    return VerificationKey(algorithm, int(algorithm[2:]) // 8, native)


def import_public_key(algorithm: str, pem: str) -> VerificationKey:
    """
    Import the public key of an asymmetric algorithm.

    Args:
        algorithm: One of ``ASYMMETRIC_ALGORITHMS``.
        pem: A SubjectPublicKeyInfo (``PUBLIC KEY``) or PKCS #1 (``RSA PUBLIC KEY``) block.
    Raises:
        ValueError: with words about ``public_key``: it is a private key, a certificate, not PEM, of
            another type or curve than the algorithm's, or an RSA key of too few bits.
    Source:
        RFC 7518 sections 3.3 to 3.5; RFC 8037 section 3.1.
    """
    if "PRIVATE KEY-----" in pem:
        raise ValueError("public_key holds a private key; keep that to the issuer and give the public key")
    if "CERTIFICATE-----" in pem:
        raise ValueError("public_key holds a certificate; give the public key in it")
    try:
        key = load_pem_public_key(pem.encode("ascii"))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("missing valid public key: public_key is not a public key in PEM form") from None
    if algorithm[:2] in ("RS", "PS"):
        if not isinstance(key, RSAPublicKey):
            raise ValueError(f"public_key is not an RSA key, which {algorithm} needs")
        if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
            raise ValueError(
                f"public_key is an RSA key of {key.key_size} bits; needed: {MIN_RSA_BITS} to {MAX_RSA_BITS}"
            )
        return VerificationKey(algorithm, (key.key_size + 7) // 8, RSAKey.import_key(key))
    if algorithm in _CURVES:
        curve, name = _CURVES[algorithm]
        if not isinstance(key, EllipticCurvePublicKey) or key.curve.name != curve:
            raise ValueError(f"public_key is not an EC key on the curve {name}, which {algorithm} needs")
        return VerificationKey(algorithm, 2 * ((key.key_size + 7) // 8), _ImportedECKey.import_key(key))
    if not isinstance(key, (Ed25519PublicKey, Ed448PublicKey)):
        raise ValueError(f"public_key is not an Ed25519 or Ed448 key, which {algorithm} needs")
    return VerificationKey(
        algorithm, 64 if isinstance(key, Ed25519PublicKey) else 114, OKPKey.import_key(key)
    )


def verifier(algorithm: str, key: VerificationKey) -> Verifier:
    """
    Bind a key to its algorithm.

    Args:
        algorithm: The algorithm the credential fixes.
        key: As imported for that algorithm.
    Returns:
        A function of the received signing input and the decoded signature. It is False for every
        signature of another length than the key's. MACs are compared in constant time.
    Raises:
        ValueError: the key was imported for another algorithm.
    Source:
        RFC 7518 section 3; RFC 8725 section 3.1 (one key, one algorithm).
    """
    if key.algorithm != algorithm:
        raise ValueError(f"the key is for {key.algorithm}, not for {algorithm}")
    check = _IMPLEMENTATIONS[algorithm].verify
    native = key.native
    length = key.signature_bytes

    def verify(signing_input: bytes, signature: bytes) -> bool:
        if len(signature) != length:
            return False
        try:
            return check(signing_input, signature, native) is True
        except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
            return False

    return verify
