"""TLS towards upstreams."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen
from cryptography import x509
from OpenSSL import SSL
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import CertificateOptions, TLSVersion, optionsForClientTLS, platformTrust
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

from gateway.http1.eager_tls import EagerTLS
from gateway.upstream.request import Peer

_PROTOCOLS = [b"http/1.1"]
_VERIFIED_LIMIT = 64
"""How many names' contexts are kept: each holds a copy of the trusted authorities."""


@frozen
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


@implementer(IOpenSSLClientConnectionCreator)
@frozen
class _Unverified:
    """Encrypts, and trusts whoever answers."""

    context: SSL.Context
    server_name: bytes | None

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        connection = SSL.Connection(self.context, None)
        connection.set_app_data(tlsProtocol)
        if self.server_name is not None:
            connection.set_tlsext_host_name(self.server_name)
        return connection


class ClientTLS:
    """
    Makes the TLS side of connections to upstreams.

    Certificates are verified only where ``Peer.verify`` says so.
    """

    def __init__(self, trust_root: Any = None) -> None:
        """
        Args:
            trust_root: What ``optionsForClientTLS`` takes: whom to trust where certificates are
                verified. None trusts the platform's authorities.
        """
        self._trust_root = platformTrust() if trust_root is None else trust_root
        self._open: SSL.Context | None = None
        self._verified: dict[str, Any] = {}

    def wrap(self, peer: Peer, factory: Any) -> Any:
        """
        Put TLS around the connections of a client factory.

        Raises:
            ValueError: the name cannot be a host name.
        """
        wrapped = TLSMemoryBIOFactory(self.creator(peer), True, factory)
        wrapped.protocol = EagerTLS
        return wrapped

    def creator(self, peer: Peer) -> Any:
        """The ``IOpenSSLClientConnectionCreator`` for *peer*."""
        if peer.verify:
            return self._verifying(peer.server_name or peer.host)
        if self._open is None:
            options = CertificateOptions(
                verify=False, raiseMinimumTo=TLSVersion.TLSv1_2, acceptableProtocols=_PROTOCOLS
            )
            self._open = options.getContext()
        return _Unverified(self._open, _sni(peer.server_name))

    def _verifying(self, name: str) -> Any:
        known = self._verified.get(name)
        if known is None:
            known = optionsForClientTLS(
                name,
                trustRoot=self._trust_root,
                acceptableProtocols=_PROTOCOLS,
                extraCertificateOptions={"raiseMinimumTo": TLSVersion.TLSv1_2},
            )
            if len(self._verified) >= _VERIFIED_LIMIT:
                del self._verified[next(iter(self._verified))]
            self._verified[name] = known
        return known


def _sni(name: str | None) -> bytes | None:
    """Source: RFC 6066 section 3: names only, no addresses, no trailing dot."""
    if not name or isIPAddress(name) or isIPv6Address(name):
        return None
    return name.rstrip(".").encode("idna")
