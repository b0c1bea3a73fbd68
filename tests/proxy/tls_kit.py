"""A TLS client in memory, and a listener's connection it talks to."""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL, crypto
from twisted.internet.address import IPv4Address

from gateway.model import pem
from tests import certs
from tests.proxy.server_contract import Transport


def client_context(
    identity: certs.Pair | None = None, *, versions: tuple[int, int] | None = None, ciphers: bytes = b""
) -> SSL.Context:
    """A client's context that trusts whoever answers."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    if versions is not None:
        context.set_min_proto_version(versions[0])
        context.set_max_proto_version(versions[1])
    if ciphers:
        context.set_cipher_list(ciphers)
    if identity is not None:
        chain = pem.certificates(identity.cert)
        context.use_certificate(crypto.X509.from_cryptography(chain[0]))
        for one in chain[1:]:
            context.add_extra_chain_cert(crypto.X509.from_cryptography(one))
        key: Any = pem.private_key(identity.key)
        context.use_privatekey(crypto.PKey.from_cryptography_key(key))
    return context


class _Transport(Transport):
    def setTcpNoDelay(self, on: bool) -> None:
        """As a real one."""


class TLSClient:
    """
    One connection of a client.

    Attributes:
        transport: The server's end of it.
        failure: What ended the handshake, in OpenSSL's words; None if it did not fail.
    """

    def __init__(
        self, factory: Any, server_name: str | None = None, context: SSL.Context | None = None
    ) -> None:
        self.connection = SSL.Connection(context or client_context(), None)
        self.connection.set_connect_state()
        if server_name is not None:
            self.connection.set_tlsext_host_name(server_name.encode())
        self.transport = _Transport()
        protocol = factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 5))
        self.transport.protocol = protocol
        protocol.makeConnection(self.transport)
        self.failure: str | None = None

    def hello(self) -> bytes:
        """The first bytes of the client."""
        try:
            self.connection.do_handshake()
        except SSL.WantReadError:
            pass
        return self.connection.bio_read(1 << 16)

    def pump(self) -> None:
        """Carry bytes both ways until nothing moves."""
        moved = True
        while moved:
            moved = False
            try:
                sent = self.connection.bio_read(1 << 16)
            except SSL.WantReadError:
                sent = b""
            if sent and self.transport.connected:
                moved = True
                self.transport.protocol.dataReceived(sent)
            answer = self.transport.value()
            if answer:
                moved = True
                self.transport.clear()
                self.connection.bio_write(answer)
                self._step()

    def _step(self) -> None:
        try:
            self.connection.do_handshake()
        except SSL.WantReadError:
            pass
        except SSL.Error as error:
            self._note(error)

    def handshake(self) -> TLSClient:
        """Shake hands."""
        self._step()
        self.pump()
        # What TLS 1.3 refuses of a client's certificate comes after the client's handshake.
        self.receive()
        return self

    @property
    def serial(self) -> int | None:
        """The serial number of the certificate shown by the server."""
        shown = self.connection.get_peer_certificate()
        return None if shown is None else shown.get_serial_number()

    def send(self, data: bytes) -> bytes:
        """Send *data*; returns what the server says to it."""
        self.connection.send(data)
        self.pump()
        return self.receive()

    def receive(self) -> bytes:
        """What the server has said."""
        said = b""
        while True:
            try:
                said += self.connection.recv(1 << 16)
            except (SSL.WantReadError, SSL.ZeroReturnError):
                return said
            except SSL.Error as error:
                self._note(error)
                return said

    def _note(self, error: SSL.Error) -> None:
        reasons = error.args[0] if error.args else ()
        self.failure = self.failure or str(reasons[-1][-1] if reasons else error)
