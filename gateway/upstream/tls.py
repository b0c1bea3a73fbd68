"""TLS towards upstreams."""

from __future__ import annotations

from typing import Any

from attrs import frozen
from OpenSSL import SSL, crypto
from service_identity.hazmat import DNS_ID, IPAddress_ID, verify_service_identity
from service_identity.pyopenssl import extract_patterns
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    TLSVersion,
    platformTrust,
    trustRootFromCertificates,
)
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from gateway.http1.eager_tls import EagerTLS
from gateway.upstream.identity import Authority, ClientIdentity
from gateway.upstream.request import Peer

_PROTOCOLS = [b"http/1.1"]
_CONTEXT_LIMIT = 256
"""How many contexts are kept: there is one for each combination of authorities and certificate in use."""
_SESSION_LIMIT = 1024
"""How many peers' sessions are kept, to be resumed."""


class ClientTLS:
    """
    Makes the TLS side of connections to upstreams.

    Certificates are verified only where ``Peer.verify`` says so. Sessions are resumed, with the same
    peer only: one that was verified, and for the same name.
    """

    def __init__(self, trust_root: Any = None) -> None:
        """
        Args:
            trust_root: What ``CertificateOptions`` takes: whom to trust where certificates are
                verified and the peer names nobody. None trusts the platform's authorities.
        """
        self._trust_root = platformTrust() if trust_root is None else trust_root
        self._contexts: dict[tuple[bool, ClientIdentity | None, tuple[Authority, ...]], SSL.Context] = {}
        self.sessions: dict[Peer, SSL.Session] = {}

    def wrap(self, peer: Peer, factory: Any) -> Any:
        """
        Put TLS around the connections of a client factory.

        Raises:
            ValueError: the name cannot be a host name.
        """
        return _ClientFactory(self.creator(peer), factory)

    def creator(self, peer: Peer) -> Creator:
        """The ``IOpenSSLClientConnectionCreator`` for *peer*. Raises ValueError as ``wrap``."""
        service = _service(peer.server_name or peer.host) if peer.verify else None
        return Creator(self, peer, self._context(peer), _sni(peer.server_name), service)

    def keep(self, peer: Peer, session: SSL.Session | None) -> None:
        """Resume *session* in the next connection to *peer*."""
        sessions = self.sessions
        sessions.pop(peer, None)
        if session is not None:
            if len(sessions) >= _SESSION_LIMIT:
                del sessions[next(iter(sessions))]
            sessions[peer] = session

    def _context(self, peer: Peer) -> SSL.Context:
        key = (peer.verify, peer.identity, peer.authorities if peer.verify else ())
        context = self._contexts.pop(key, None)
        if context is None:
            context = self._make(peer)
            if len(self._contexts) >= _CONTEXT_LIMIT:
                del self._contexts[next(iter(self._contexts))]
        self._contexts[key] = context
        return context

    def _make(self, peer: Peer) -> SSL.Context:
        trust: Any = None
        if peer.verify:
            trust = self._trust_root
            if peer.authorities:
                trusted = [one for authority in peer.authorities for one in authority.certificates]
                trust = trustRootFromCertificates(
                    [Certificate(crypto.X509.from_cryptography(one)) for one in trusted]
                )
        identity = peer.identity
        chain = [] if identity is None else [crypto.X509.from_cryptography(one) for one in identity.chain]
        options = CertificateOptions(
            trustRoot=trust,
            privateKey=None if identity is None else crypto.PKey.from_cryptography_key(identity.key),
            certificate=chain[0] if chain else None,
            extraCertChain=chain[1:] or None,
            raiseMinimumTo=TLSVersion.TLSv1_2,
            acceptableProtocols=_PROTOCOLS,
            enableSessionTickets=True,
        )
        context: SSL.Context = options.getContext()
        return context


@implementer(IOpenSSLClientConnectionCreator)
@frozen(eq=False)
class Creator:
    """Makes the OpenSSL side of connections to one peer."""

    tls: ClientTLS
    peer: Peer
    context: SSL.Context
    server_name: bytes | None
    service: DNS_ID | IPAddress_ID | None

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        connection = SSL.Connection(self.context, None)
        connection.set_app_data(tlsProtocol)
        if self.service is not None:
            connection.set_verify(SSL.VERIFY_PEER, _verifier(tlsProtocol, self.service))
        if self.server_name is not None:
            connection.set_tlsext_host_name(self.server_name)
        connection.set_alpn_protos(_PROTOCOLS)
        session = self.tls.sessions.get(self.peer)
        if session is not None:
            connection.set_session(session)
        return connection


class _ClientProtocol(EagerTLS):
    """Keeps the session once the peer has said something after the handshake: in TLS 1.3 it comes late."""

    _kept = False

    def dataReceived(self, data: bytes) -> None:
        done = self._handshakeDone
        super().dataReceived(data)
        if done and not self._kept:
            self._kept = True
            factory: Any = self.factory
            factory.keep(self._tlsConnection)


class _ClientFactory(TLSMemoryBIOFactory):
    protocol = _ClientProtocol
    noisy = False

    def __init__(self, creator: Creator, wrapped: Any) -> None:
        super().__init__(creator, True, wrapped)
        self._creator = creator

    def keep(self, connection: SSL.Connection) -> None:
        """A connection is in use; its session may be resumed by the next one."""
        self._creator.tls.keep(self._creator.peer, connection.get_session())


def _service(name: str) -> DNS_ID | IPAddress_ID:
    """Whom a certificate has to be for. Raises ValueError if nobody can be called so."""
    if isIPAddress(name) or isIPv6Address(name):
        return IPAddress_ID(name)
    return DNS_ID(name.rstrip("."))


def _verifier(protocol: Any, service: DNS_ID | IPAddress_ID) -> Any:
    """What OpenSSL asks of each certificate: one that is valid must be for the expected name, too."""

    def check(connection: SSL.Connection, shown: crypto.X509, error: int, depth: int, good: int) -> bool:
        if depth:
            return bool(good)
        # Also of one that is not valid: that it is somebody else's says more.
        try:
            verify_service_identity(extract_patterns(shown), [service], [])
        except Exception:
            # Of whatever kind: OpenSSL must not see an exception, and a name that was not verified is wrong.
            protocol.failVerification(Failure())
            return False
        return bool(good)

    return check


def _sni(name: str | None) -> bytes | None:
    """Source: RFC 6066 section 3: names only, no addresses, no trailing dot."""
    if not name or isIPAddress(name) or isIPv6Address(name):
        return None
    return name.rstrip(".").encode("idna")
