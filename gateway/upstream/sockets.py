"""Sending bytes to log collectors over TCP, TLS and UDP (``gateway.interfaces.SocketCalls``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from OpenSSL import SSL
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHandshakeListener, IOpenSSLClientConnectionCreator
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.internet.ssl import CertificateOptions, optionsForClientTLS
from twisted.python.failure import Failure
from zope.interface import implementer

from gateway.http1.eager import unsent
from gateway.interfaces import SendFailed


class SocketSender:
    """Sends; every call has a connection of its own, which it closes."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def send(
        self,
        kind: str,
        host: str,
        port: int,
        content: Sequence[bytes],
        *,
        timeout_s: float = 3.0,
        server_name: str | None = None,
        verify: bool = False,
    ) -> Deferred[None]:
        """See ``gateway.interfaces.SocketCalls.send``."""
        place = f"{kind}://{host}:{port}"
        if kind == "udp":
            waiting = Deferred.fromCoroutine(self._datagrams(host, port, content))
        else:
            name = server_name or host
            waiting = Deferred.fromCoroutine(self._stream(kind == "tls", host, port, content, name, verify))
        late: list[bool] = []

        def too_late() -> None:
            late.append(True)
            waiting.cancel()

        timer = self._reactor.callLater(timeout_s, too_late)

        def over(result: Any) -> None:
            if timer.active():
                timer.cancel()
            if isinstance(result, Failure):
                why = f"not done within {timeout_s:g} s" if late else result.getErrorMessage()
                raise SendFailed(f"{place}: {why or type(result.value).__name__}")

        return waiting.addBoth(over)

    async def _stream(
        self, tls: bool, host: str, port: int, content: Sequence[bytes], name: str, verify: bool
    ) -> None:
        endpoint: Any = HostnameEndpoint(self._reactor, host, port)
        if tls:
            endpoint = wrapClientTLS(optionsForClientTLS(name) if verify else _Unverified(name), endpoint)
        writer: _Writer = await endpoint.connect(Factory.forProtocol(lambda: _Writer(b"".join(content), tls)))
        await writer.done

    async def _datagrams(self, host: str, port: int, content: Sequence[bytes]) -> None:
        address = await self._reactor.resolve(host)
        own = "::" if ":" in address else ""
        transport = self._reactor.listenUDP(0, DatagramProtocol(), interface=own)
        try:
            for data in content:
                transport.write(data, (address, port))
        finally:
            transport.stopListening()


@implementer(IOpenSSLClientConnectionCreator)
class _Unverified:
    """TLS with whoever answers. Unlike towards upstreams no protocol is offered: it is not HTTP."""

    def __init__(self, name: str) -> None:
        self._name = None if isIPAddress(name) or isIPv6Address(name) else name.encode("idna")
        self._context = CertificateOptions(verify=False).getContext()

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        connection = SSL.Connection(self._context, None)
        connection.set_app_data(tlsProtocol)
        if self._name is not None:
            connection.set_tlsext_host_name(self._name)
        return connection


@implementer(IHandshakeListener)
class _Writer(Protocol):
    """
    Writes, and closes. What the peer has taken is sent, however it ends the connection: many that speak TLS
    do not answer a goodbye (RFC 8446 section 6.1), and what they have would come twice if it were sent again.
    """

    def __init__(self, content: bytes, tls: bool) -> None:
        self._content = content
        self._ready = not tls
        self.done: Deferred[None] = Deferred(lambda _: self._cut())

    def handshakeCompleted(self) -> None:
        self._ready = True

    def _taken(self) -> bool:
        return self._ready and unsent(self.transport) == 0

    def _cut(self) -> None:
        transport: Any = self.transport
        if transport is None:
            return
        if self._taken():
            self.done.callback(None)
            # Under TLS, which would wait for an answer.
            getattr(transport, "transport", transport).loseConnection()
        else:
            transport.abortConnection()

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self._content)
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # Protocol has a default
        if self.done.called:
            return
        if reason.check(ConnectionDone) or self._taken():
            self.done.callback(None)
        else:
            self.done.errback(reason)
