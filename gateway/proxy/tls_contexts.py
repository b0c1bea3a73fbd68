"""What OpenSSL makes of an ssl: a context for clients' connections, or the identity shown to upstreams."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakValueDictionary

from cryptography import x509
from OpenSSL import SSL, _util, crypto

from gateway.core.certificates import TLSSession
from gateway.core.secrets import Secrets, no_manager, resolve
from gateway.model import pem
from gateway.model.ssl import DEFAULT_PROTOCOLS, Ssl
from gateway.upstream.identity import Authority, ClientIdentity

_lib: Any = _util.lib
_OLD_CIPHERS = ":ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:AES128-SHA:@SECLEVEL=0"
"""TLS 1.1 has no better ones, and OpenSSL 3 wants to be told that they are meant."""

_ALWAYS = SSL.OP_NO_COMPRESSION | SSL.OP_CIPHER_SERVER_PREFERENCE | SSL.OP_NO_RENEGOTIATION
_NOT = {
    "TLSv1.1": SSL.OP_NO_TLSv1_1,
    "TLSv1.2": SSL.OP_NO_TLSv1_2,
    "TLSv1.3": SSL.OP_NO_TLSv1_3,
}

PEMPair = tuple[str, str]
"""A certificate chain and its private key."""


class ContextLoader:
    """
    Makes contexts (``gateway.core.certificates.CertificateSource``).

    The same content gives the same context, as long as anybody uses it.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        ciphers: str,
        secrets: Secrets = no_manager,
        *,
        session_timeout_s: int = 0,
    ) -> None:
        """
        Args:
            environ: Where ``$env://`` references are looked up.
            ciphers: For TLS 1.2, in OpenSSL's form.
            secrets: Knows what ``$secret://`` references stand for.
            session_timeout_s: How long clients may resume a session; 0: never.
        """
        self._environ = environ
        self._ciphers = ciphers
        self._secrets = secrets
        self._session_timeout_s = session_timeout_s
        self._contexts: WeakValueDictionary[bytes, SSL.Context] = WeakValueDictionary()

    def load(self, ssl: Ssl) -> object:
        """
        Make the ``SSL.Context`` of a server's ssl, the ``ClientIdentity`` of a client's.

        Raises:
            UnresolvedReference: a secret it refers to is not to be had.
            ValueError: OpenSSL does not take it; the words say which pair it is.
        """
        pairs = [(self._resolved(pair.cert), self._resolved(pair.key)) for pair in ssl.pairs]
        if ssl.type == "client":
            return ClientIdentity.load(*pairs[0])
        ca = None if ssl.client is None else self._resolved(ssl.client.ca)
        depth = 0 if ssl.client is None else ssl.client.depth
        needed = ssl.client is not None and not ssl.client.skip_mtls_uri_regex
        return self.context(pairs, ssl.protocols, ca=ca, depth=depth, needed=needed)

    def load_authority(self, pem: str) -> Authority:
        """As ``CertificateSource.load_authority``."""
        return Authority.load(self._resolved(pem))

    def context(
        self,
        pairs: Sequence[PEMPair],
        protocols: frozenset[str] = DEFAULT_PROTOCOLS,
        *,
        ca: str | None = None,
        depth: int = 1,
        needed: bool = True,
    ) -> SSL.Context:
        """
        The context for these certificates.

        Args:
            pairs: One for each kind of key.
            ca: Whose certificates clients have to show; None if they need none.
            depth: How many intermediate authorities may stand between.
            needed: Whether the handshake fails without one; else it is only noted.
        """
        key = _digest(repr((list(pairs), sorted(protocols), ca, depth, needed)))
        context = self._contexts.get(key)
        if context is None:
            try:
                context = _server_context(pairs, protocols, self._ciphers)
                if ca is not None:
                    _ask_clients(context, ca, depth, needed)
            except (SSL.Error, crypto.Error) as error:
                raise ValueError(f"OpenSSL does not take it: {openssl_reason(error)}") from None
            # Sessions are remembered by clients alone, as tickets; their keys are this context's own.
            context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
            if ca is not None or "TLSv1.3" not in protocols or not self._session_timeout_s:
                # Who has to show a certificate shows it each time; of versions see server_connection.
                context.set_options(SSL.OP_NO_TICKET)
            else:
                context.set_timeout(self._session_timeout_s)
            context.set_alpn_select_callback(_select)
            self._contexts[key] = context
        return context

    def _resolved(self, text: str) -> str:
        resolved: str = resolve({"": text}, self._environ, self._secrets)[""]
        return resolved


def server_connection(context: SSL.Context, server_name: str, tls13: bool) -> SSL.Connection:
    """
    A connection to a client, with the context for the name it asks for.

    Sessions are resumed under the name they were made for, and in TLS 1.3 alone: there a key exchange
    goes with it, so that a ticket's key opens nothing that was said. Those of another context cannot be.

    Args:
        tls13: Whether the client speaks TLS 1.3.
    Source:
        Data-plane contract §12, host vs SNI; RFC 8446 sections 2.2 and 4.6.1.
    """
    # The connection keeps what its context has at this moment. pyOpenSSL's own call is for contexts without
    # connections, as others might be made at the same time; here they are not.
    name = _digest(server_name)
    _lib.SSL_CTX_set_session_id_context(context._context, name, len(name))
    connection = SSL.Connection(context, None)
    if not tls13:
        _lib.SSL_set_options(connection._ssl, SSL.OP_NO_TICKET)
    return connection


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _parsed(cert: str, key: str) -> tuple[list[x509.Certificate], pem.PrivateKey]:
    chain, private = pem.certificates(cert), pem.private_key(key)
    if not pem.belong_together(chain[0], private):
        raise ValueError("cert and key do not match")
    return chain, private


def _server_context(pairs: Sequence[PEMPair], protocols: frozenset[str], ciphers: str) -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_options(_ALWAYS)
    context.set_min_proto_version(SSL.TLS1_1_VERSION)
    for name, option in _NOT.items():
        if name not in protocols:
            context.set_options(option)
    context.set_cipher_list((ciphers + (_OLD_CIPHERS if "TLSv1.1" in protocols else "")).encode("ascii"))
    for index, (cert, key) in enumerate(pairs):
        chain, private = _parsed(cert, key)
        try:
            if len(pairs) == 1 or len(chain) == 1:
                context.use_certificate(crypto.X509.from_cryptography(chain[0]))
                for one in chain[1:]:
                    context.add_extra_chain_cert(crypto.X509.from_cryptography(one))
            else:
                # Only so has each kind of key a chain of its own.
                with _file_of(cert.encode("ascii")) as name:
                    context.use_certificate_chain_file(name)
            context.use_privatekey(crypto.PKey.from_cryptography_key(private))
        except SSL.Error as error:
            which = f"cert-key pair[{index}]: " if index else ""
            raise ValueError(f"{which}OpenSSL does not take it: {openssl_reason(error)}") from None
    return context


def openssl_reason(error: Exception) -> str:
    """OpenSSL's own words for what went wrong."""
    reasons = error.args[0] if error.args else ()
    return ", ".join(str(entry[-1]) for entry in reasons) or "no reason given"


@contextmanager
def _file_of(content: bytes) -> Iterator[str]:
    """A file with *content*, which is public; in memory where the system can do that."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("certificates")
        try:
            os.write(descriptor, content)
            name = f"/proc/self/fd/{descriptor}"
            if os.path.exists(name):
                yield name
                return
        finally:
            os.close(descriptor)
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        yield file.name


def _ask_clients(context: SSL.Context, ca: str, depth: int, needed: bool) -> None:
    store = context.get_cert_store()
    assert store is not None
    for one in pem.certificates(ca):
        authority = crypto.X509.from_cryptography(one)
        store.add_cert(authority)
        context.add_client_ca(authority)
    context.set_verify_depth(depth)
    mode = SSL.VERIFY_PEER | (SSL.VERIFY_FAIL_IF_NO_PEER_CERT if needed else 0)
    context.set_verify(mode, _note_and_fail if needed else _note)


def _note(connection: SSL.Connection, certificate: Any, error: int, depth: int, good: int) -> bool:
    """Called for each certificate of the chain, the client's own last; notes, and lets all pass."""
    session = session_of(connection)
    if session is None:
        return False
    if not good:
        session.verified = False
        session.fault = session.fault or _VERIFY_ERRORS.get(error, f"OpenSSL error {error}")
    elif depth == 0 and not session.fault:
        session.verified = True
    return True


def _note_and_fail(connection: SSL.Connection, certificate: Any, error: int, depth: int, good: int) -> bool:
    return _note(connection, certificate, error, depth, good) and bool(good)


_VERIFY_ERRORS = {
    2: "its issuer is not known",
    9: "it is not valid yet",
    10: "it has expired",
    18: "it is self-signed",
    19: "a self-signed certificate is in its chain",
    20: "its issuer is not known",
    21: "its issuer is not known",
    22: "its chain is too long",
    23: "it is revoked",
    26: "it is not for this use",
}
"""OpenSSL's numbers (x509_vfy.h) for what happens; others are told as numbers."""


def _select(connection: SSL.Connection, offered: Sequence[bytes]) -> Any:
    """Choose the protocol (ALPN, RFC 7301): the server's favourite among those the client offers."""
    for protocol in getattr(connection.get_app_data(), "protocols", ()):
        if protocol in offered:
            return protocol
    # Go on without: what the server speaks by itself may do.
    return SSL.NO_OVERLAPPING_PROTOCOLS


def session_of(connection: SSL.Connection) -> TLSSession | None:
    """The session that belongs to a connection of OpenSSL's."""
    return getattr(connection.get_app_data(), "tls_session", None)
