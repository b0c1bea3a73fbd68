"""Tokens for tests, good and bad. Signed here without authlib, so that tests compare two implementations."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

PrivateKey = (
    rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
)
SigningKey = bytes | PrivateKey

SECRET = "my-shared-secret"  # noqa: S105 - the example secret of tests and documents

_SECRET_BYTES = SECRET.encode()
_HASHES: Mapping[str, type[hashes.SHA256] | type[hashes.SHA384] | type[hashes.SHA512]] = {
    "256": hashes.SHA256,
    "384": hashes.SHA384,
    "512": hashes.SHA512,
}
_CURVES: Mapping[str, type[ec.EllipticCurve]] = {
    "ES256": ec.SECP256R1,
    "ES384": ec.SECP384R1,
    "ES512": ec.SECP521R1,
}


def b64url(data: bytes) -> str:
    """Unpadded base64url (RFC 7515 appendix C)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def compact(document: object) -> bytes:
    """Compact JSON."""
    return json.dumps(document, separators=(",", ":")).encode()


@cache
def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    """An RSA key, made once a process."""
    return rsa.generate_private_key(65537, bits)


@cache
def private_key(algorithm: str) -> PrivateKey:
    """A private key for an asymmetric algorithm, made once a process."""
    if algorithm in _CURVES:
        return ec.generate_private_key(_CURVES[algorithm]())
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa_key()


def signing_key(algorithm: str) -> SigningKey:
    """What signs for ``credential(algorithm)``."""
    return SECRET.encode() if algorithm.startswith("HS") else private_key(algorithm)


def public_pem(key: PrivateKey) -> str:
    """The public half of a key, as ``public_key`` takes it."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")


def private_pem(key: PrivateKey) -> str:
    """A private key in PEM form: what must never be configured."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")


def credential(algorithm: str = "HS256", key: str = "user-key", **more: Any) -> dict[str, Any]:
    """Credential settings whose tokens ``mint(..., signing_key(algorithm), algorithm)`` signs."""
    config: dict[str, Any] = {"key": key, "algorithm": algorithm, **more}
    if algorithm.startswith("HS"):
        config.setdefault("secret", SECRET)
    else:
        config.setdefault("public_key", public_pem(private_key(algorithm)))
    return config


def sign(algorithm: str, key: SigningKey, signing_input: bytes) -> bytes:
    """
    Sign, as RFC 7518 section 3 and RFC 8037 say.

    Args:
        algorithm: One of the thirteen names.
        key: The MAC key, or a private key of the algorithm's type.
    """
    if isinstance(key, bytes):
        return hmac.digest(key, signing_input, f"sha{algorithm[2:]}")
    if isinstance(key, rsa.RSAPrivateKey):
        digest = _HASHES[algorithm[2:]]()
        if algorithm.startswith("PS"):
            pss = padding.PSS(padding.MGF1(digest), digest.digest_size)
            return key.sign(signing_input, pss, digest)
        return key.sign(signing_input, padding.PKCS1v15(), digest)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        r, s = decode_dss_signature(key.sign(signing_input, ec.ECDSA(_HASHES[algorithm[2:]]())))
        size = (key.key_size + 7) // 8
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")
    return key.sign(signing_input)


def assemble(header: bytes, payload: bytes, key: SigningKey = _SECRET_BYTES, algorithm: str = "HS256") -> str:
    """A token with exactly these bytes as header and payload, whatever they are, and a good signature."""
    signing_input = f"{b64url(header)}.{b64url(payload)}"
    return f"{signing_input}.{b64url(sign(algorithm, key, signing_input.encode()))}"


def mint(
    claims: object,
    key: SigningKey = _SECRET_BYTES,
    algorithm: str = "HS256",
    *,
    header: Mapping[str, Any] | None = None,
) -> str:
    """
    A token.

    Args:
        claims: The payload; anything JSON has, for tests of what is refused.
        header: Added to, or put over, ``alg`` and ``typ``. A member that is None is left out.
    """
    members = {"alg": algorithm, "typ": "JWT", **(header or {})}
    members = {name: value for name, value in members.items() if value is not None}
    return assemble(compact(members), compact(claims), key, algorithm)


def with_signature(token: str, signature: str) -> str:
    """*token* with another third part."""
    return f"{token.rpartition('.')[0]}.{signature}"


def malformed(claims: Mapping[str, Any]) -> dict[str, str]:
    """
    Tokens that must be refused before any key is looked up, by what is wrong with them.

    Args:
        claims: A payload that would be accepted; those with a signature carry a good one, by ``SECRET``.
    """
    good = mint(claims)
    header, payload, signature = good.split(".")
    alg = b'{"alg":"HS256"}'
    body = compact(claims)
    padded = b64url(b'{"alg":"HS256" }') + "="
    plain64 = base64.b64encode(b'{"alg":"HS256","x":"~~~???"}').decode()
    deep = b'{"a":' * 40 + b"1" + b"}" * 40
    return {
        "nothing": "",
        "one part": header,
        "two parts": f"{header}.{payload}",
        "four parts": f"{good}.{signature}",
        "five parts": f"{good}.{header}.{payload}",
        "six parts": f"{good}.a.b.c",
        "dots only": "..",
        "leading dot": f".{good}",
        "trailing dot": f"{good}.",
        "doubled dot": f"{header}..{payload}.{signature}",
        "empty header": f".{payload}.{signature}",
        "empty payload": f"{header}..{signature}",
        "empty signature": f"{header}.{payload}.",
        "prefixed": f"invalid-{good}",
        "padded header": f"{padded}.{payload}.{signature}",
        "white space within": f"{header}.{payload[:4]} {payload[4:]}.{signature}",
        "line break at the end of the header": f"{header}\n.{payload}.{signature}",
        "not base64url": f"@@@@.{payload}.{signature}",
        "standard base64": f"{plain64}.{payload}.{signature}",
        "header is not JSON": assemble(b"nope", body),
        "header is an array": assemble(b'["HS256"]', body),
        "header is text": assemble(b'"HS256"', body),
        "header has a member twice": assemble(b'{"alg":"HS256","alg":"HS256"}', body),
        "header is UTF-16": assemble('{"alg":"HS256"}'.encode("utf-16"), body),
        "header has a byte order mark": assemble(b"\xef\xbb\xbf" + alg, body),
        "payload is not JSON": assemble(alg, b"nope"),
        "payload is empty text": assemble(alg, b" "),
        "payload is null": assemble(alg, b"null"),
        "payload is a number": assemble(alg, b"7"),
        "payload is an array": assemble(alg, b"[" + body + b"]"),
        "payload is text": assemble(alg, compact("text")),
        "payload has a member twice": assemble(alg, body[:-1] + b',"sub":1,"sub":2}'),
        "payload has a nested member twice": assemble(alg, body[:-1] + b',"sub":{"a":1,"a":1}}'),
        "payload is not UTF-8": assemble(alg, body[:-1] + b',"sub":"\xff"}'),
        "payload has a lone surrogate": assemble(alg, body[:-1] + b',"sub":"\\ud800"}'),
        "payload has NaN": assemble(alg, body[:-1] + b',"sub":NaN}'),
        "payload has Infinity": assemble(alg, body[:-1] + b',"sub":-Infinity}'),
        "payload has a number out of range": assemble(alg, body[:-1] + b',"sub":1e999}'),
        "payload has a number of 5000 digits": assemble(alg, body[:-1] + b',"sub":' + b"9" * 5000 + b"}"),
        "payload is nested too deep": assemble(alg, body[:-1] + b',"sub":' + deep + b"}"),
        "payload is cut": assemble(alg, body[:-1]),
        "payload has more after its end": assemble(alg, body + b"x"),
        "too long": mint({**claims, "sub": "x" * 20000}),
    }


def encrypt(header: Mapping[str, Any], content: bytes, secret: bytes, iv: bytes = b"123456789012") -> bytes:
    """An encrypted token in compact form: ``dir`` with A256GCM, whatever *header* says (RFC 7516)."""
    protected = b64url(compact(header)).encode()
    sealed = AESGCM(secret).encrypt(iv, content, protected)
    parts = (protected.decode(), "", b64url(iv), b64url(sealed[:-16]), b64url(sealed[-16:]))
    return ".".join(parts).encode()
