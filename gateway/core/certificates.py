"""Which certificate is for which name, and what clients have to show where they want to go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from attrs import define, field, frozen

from gateway.core.regex_limits import MatchTimeout, Regex, compiling_for
from gateway.core.regexes import compile_regex
from gateway.model.ssl import ClientAuth, KeyPair, Ssl, plain_name
from gateway.model.upstream import Upstream


class CertificateSource(Protocol):
    """Where the compiler gets what a TLS library makes of an ssl."""

    def load(self, ssl: Ssl) -> object:
        """
        Make it ready for use.

        Raises:
            UnresolvedReference: a secret it refers to is not to be had now.
            ValueError: it cannot be used.
        """

    def load_authority(self, pem: str) -> object:
        """Make a certificate authority ready for use. Raises as ``load`` does."""


@frozen
class NoTLS:
    """A ``CertificateSource`` where nothing is served over TLS."""

    def load(self, ssl: Ssl) -> object:
        return None

    def load_authority(self, pem: str) -> object:
        return None


def _patterns(ssl: Ssl) -> tuple[Regex, ...]:
    if ssl.client is None:
        return ()
    with compiling_for(f"ssl/{ssl.id}"):
        return tuple(map(compile_regex, ssl.client.skip_mtls_uri_regex))


@frozen(eq=False)
class ServedSsl:
    """
    An ssl in use.

    Attributes:
        loaded: What the source made of it.
        open_to: Where one of these is found in the URI, clients need no certificate.
    """

    ssl: Ssl
    loaded: object = field(repr=False)
    open_to: tuple[Regex, ...] = field(init=False, repr=False)

    @open_to.default
    def _open_to(self) -> tuple[Regex, ...]:
        return _patterns(self.ssl)

    def is_open(self, path: str) -> bool:
        """Whether clients need no certificate for *path*; they need one where it takes too long to tell."""
        try:
            return any(pattern.search(path) for pattern in self.open_to)
        except MatchTimeout:
            return False


@define(eq=False)
class TLSSession:
    """
    What is known of a client's TLS connection.

    Attributes:
        server_name: The SNI, in lower case; empty without.
        verified: Whether the client has shown a certificate that is good for that name.
        fault: Why the one it has shown is not good; empty if it is, or if there is none.
    """

    server_name: str
    verified: bool = False
    fault: str = ""


class Secured(Protocol):
    """``gateway.core.snapshot.CompiledUpstream``, as far as its TLS is concerned."""

    @property
    def upstream(self) -> Upstream: ...

    @property
    def identity(self) -> object: ...


@frozen
class Trust:
    """
    What is known of an upstream's TLS.

    Attributes:
        identity: What is shown to nodes that ask for a certificate, or None.
        authorities: Whom to trust; empty for those the system trusts.
        missing: What it needs and cannot have, in words; empty if all is there.
    """

    identity: Any = None
    authorities: tuple[Any, ...] = ()
    missing: str = ""


@frozen(eq=False, repr=False)
class CertificateTable:
    """
    The ssls of one snapshot, by name.

    Attributes:
        clients: Those for upstreams, by id.
        identities, authorities: What else upstreams may name, by id, loaded.
        shadowed: Id → a name it is for and that another one, which is newer, serves.
        guarded: Whether any of them asks clients for a certificate.
    """

    exact: Mapping[str, ServedSsl]
    wild: Mapping[str, ServedSsl]
    clients: Mapping[str, ServedSsl]
    shadowed: Mapping[str, str]
    guarded: bool
    identities: Mapping[str, object]
    authorities: Mapping[str, object]
    _odd: bool
    _trusts: WeakKeyDictionary[Any, Trust] = field(factory=WeakKeyDictionary, init=False)

    @classmethod
    def of(
        cls,
        served: Iterable[ServedSsl],
        identities: Mapping[str, object] = MappingProxyType({}),
        authorities: Mapping[str, object] = MappingProxyType({}),
    ) -> CertificateTable:
        """
        Sort *served* by name.

        Args:
            served: In the order of creation: of two for the same name, the newer one counts.
        """
        exact: dict[str, ServedSsl] = {}
        wild: dict[str, ServedSsl] = {}
        clients: dict[str, ServedSsl] = {}
        shadowed: dict[str, str] = {}
        for one in served:
            if not one.ssl.enabled:
                continue
            if one.ssl.type == "client":
                clients[one.ssl.id] = one
                continue
            for name in one.ssl.snis:
                table, key = (wild, name[1:]) if name.startswith("*") else (exact, name)
                if key in table:
                    shadowed[table[key].ssl.id] = name
                table[key] = one
        guarded = any(one.ssl.client is not None for table in (exact, wild) for one in table.values())
        odd = any(suffix and not suffix.startswith(".") for suffix in wild)
        return cls(exact, wild, clients, shadowed, guarded, identities, authorities, odd)

    def find(self, name: str) -> ServedSsl | None:
        """
        The ssl for a host name.

        Args:
            name: Lower-case and without a dot at its end.
        Source:
            Data-plane contract §12: exact before wildcard; a star stands for one label, or a part of it;
            alone it stands for everything.
        """
        found = self.exact.get(name)
        if found is None and self.wild:
            first = name.find(".")
            label = len(name) if first < 0 else first
            for start in range(1 if self._odd else max(label, 1), label + 1):
                found = self.wild.get(name[start:]) if start < len(name) else None
                if found is not None:
                    return found
            found = self.wild.get("")
        return found

    def trust(self, compiled: Secured) -> Trust:
        """What *compiled* needs for its TLS; remembered as long as both are in use."""
        known = self._trusts.get(compiled)
        if known is None:
            known = self._trusts[compiled] = self._trust(compiled.upstream, compiled.identity)
        return known

    def _trust(self, upstream: Upstream, identity: object) -> Trust:
        if upstream.client_cert_id is not None:
            served = self.clients.get(upstream.client_cert_id)
            if served is None:
                return Trust(missing=f"there is no client certificate in ssl {upstream.client_cert_id}")
            identity = served.loaded
        elif upstream.client_certificate is not None:
            if upstream.client_certificate not in self.identities:
                return Trust(missing=f"there is no certificate {upstream.client_certificate}")
            identity = self.identities[upstream.client_certificate]
        authorities = []
        for id in upstream.ca_certificates:
            if id not in self.authorities:
                return Trust(missing=f"there is no CA certificate {id}")
            authorities.append(self.authorities[id])
        return Trust(identity, tuple(authorities))

    def refusal(self, session: TLSSession, host: str, path: str) -> str | None:
        """
        Why a request must not be served over this connection; None if it may.

        Args:
            host: The request's Host without port, in lower case. path: Its decoded path.
        Source:
            Data-plane contract §12: a host that asks for client certificates is served to those who
            have shown one to that very name.
        """
        if not self.guarded:
            return None
        name = plain_name(host)
        served = self.find(name)
        if served is None or served.ssl.client is None:
            return None
        if not session.verified:
            if served.is_open(path):
                return None
            return (
                f"the client's certificate is not valid: {session.fault}"
                if session.fault
                else ("the client has shown no certificate")
            )
        if session.server_name != name:
            return f"the certificate was shown to {session.server_name!r}, not to the host of the request"
        return None


EMPTY = CertificateTable.of(())
_SNI_DEPTH = 10
"""Intermediate authorities between a client's certificate and its authority, where nobody says how many."""


def ssl_of_sni(
    id: str, document: Mapping[str, Any], pairs: Mapping[str, KeyPair], authorities: Mapping[str, str]
) -> Ssl | str:
    """
    What an ``sni`` with its certificate and its authorities amounts to; or why it cannot be served.

    Args:
        pairs: ``certificate`` resources by id. authorities: PEM of ``ca_certificate`` resources by id.
    Source:
        Data-plane contract §12: the enterprise dialect's newer form.
    """
    pair = pairs.get(document["certificate_id"])
    if pair is None:
        return f"there is no certificate {document['certificate_id']}"
    client = None
    if document.get("mtls_enabled"):
        ids = document.get("ca_certificates", ())
        missing = [one for one in ids if one not in authorities]
        if missing or not ids:
            return f"there is no CA certificate {missing[0]}" if missing else "it names no CA certificate"
        client = ClientAuth("\n".join(authorities[one] for one in ids), _SNI_DEPTH)
    return Ssl(f"sni/{id}", "server", (pair,), (plain_name(document["domain"]),), client)
