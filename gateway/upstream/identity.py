"""What the gateway shows of itself in TLS towards upstreams, and whom it trusts there."""

from __future__ import annotations

import hashlib
from typing import Any

from attrs import field, frozen
from cryptography import x509

from gateway.model import pem


@frozen(cache_hash=True)
class ClientIdentity:
    """
    The certificate shown to upstreams that ask for one, with its key.

    Attributes:
        digest: What tells it from others.
        chain: The certificate, then its issuers.
    """

    digest: bytes = field(repr=False)
    chain: tuple[x509.Certificate, ...] = field(eq=False, repr=False)
    key: Any = field(eq=False, repr=False)

    @classmethod
    def load(cls, cert: str, key: str) -> ClientIdentity:
        """
        Read it from PEM.

        Raises:
            ValueError: it cannot be read, or the two do not belong together.
        """
        chain, private = pem.certificates(cert), pem.private_key(key)
        if not pem.belong_together(chain[0], private):
            raise ValueError("cert and key do not match")
        return cls(_digest(cert, key), tuple(chain), private)


@frozen(cache_hash=True)
class Authority:
    """
    Whom to trust: one certificate authority, or several that stand in one text.

    Attributes:
        digest: What tells it from others.
    """

    digest: bytes = field(repr=False)
    certificates: tuple[x509.Certificate, ...] = field(eq=False, repr=False)

    @classmethod
    def load(cls, text: str) -> Authority:
        """Read it from PEM. Raises ValueError if it cannot be read."""
        return cls(_digest(text), tuple(pem.certificates(text)))


def _digest(*texts: str) -> bytes:
    return hashlib.sha256(repr(texts).encode("utf-8", "surrogatepass")).digest()
