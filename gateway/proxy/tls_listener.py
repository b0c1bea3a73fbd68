"""The TLS side of a listener: the name a client asks for decides what it is served with.

``HelloReader`` owns a connection until the client's first message is complete. Then it makes the
TLS connection with the context for that name, puts it in its own place and hands over what was
read. What is current at that moment counts: a certificate that was replaced is used from the
next handshake on, and connections that are open do not notice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import (
    IDelayedCall,
    IOpenSSLServerConnectionCreator,
    IProtocolNegotiationFactory,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from gateway.core.certificates import CertificateTable, TLSSession
from gateway.core.client_hello import (
    ALERT_DECODE_ERROR,
    ALERT_HANDSHAKE_FAILURE,
    ALERT_UNRECOGNIZED_NAME,
    Hello,
    NotTLS,
    alert,
    read_hello,
)
from gateway.core.pages import error_page
from gateway.http1.eager_tls import EagerTLS
from gateway.proxy.tls_contexts import server_connection

_METHODS = (b"GET ", b"POST", b"PUT ", b"HEAD", b"DELE", b"OPTI", b"PATC", b"CONN", b"TRAC", b"PRI ")
_PLAIN_HTTP = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html; charset=utf-8\r\nConnection: close\r\n\r\n"
)


class Certificates:
    """
    Where handshakes find their context.

    Attributes:
        fallback: For names that no ssl is for, and for clients that send none; None refuses them.
        fallback_sni: The name taken for clients that send none; empty for ``fallback`` alone.
    """

    def __init__(
        self,
        table: Callable[[], CertificateTable],
        fallback: SSL.Context | None = None,
        fallback_sni: str = "",
    ) -> None:
        """
        Args:
            table: The ssls that are served now.
        """
        self._table = table
        self.fallback = fallback
        self.fallback_sni = fallback_sni

    def context(self, name: str | None) -> SSL.Context | None:
        """
        The context for a client that asks for *name*, or for none in particular.

        Source:
            Data-plane contract §12, matching.
        """
        wanted = name or self.fallback_sni
        served = self._table().find(wanted) if wanted else None
        if served is None:
            return self.fallback
        context: Any = served.loaded
        return context  # type: ignore[no-any-return]


class SessionProtocol(EagerTLS):
    """
    A client's TLS connection.

    Attributes:
        tls_session: What is known of it; for the HTTP server above and OpenSSL's callbacks below.
        protocols: What the server above speaks, its favourite first (ALPN).
    """

    tls_session: TLSSession
    protocols: Sequence[bytes] = ()

    def peer_ended(self) -> bool:
        """As its base: who has said all it has to say still gets what it asked for."""
        ended: Callable[[], bool] | None = getattr(self.wrappedProtocol, "client_ended", None)
        return ended is not None and not self.disconnecting and ended()


@implementer(IOpenSSLServerConnectionCreator)
class _Chosen:
    """Makes the connections of a ``SessionFactory``: each with the context chosen for it."""

    def __init__(self) -> None:
        self.context: SSL.Context | None = None
        self.hello = Hello(None)

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        assert self.context is not None
        connection = server_connection(self.context, self.hello.server_name or "", self.hello.tls13)
        connection.set_app_data(tlsProtocol)
        return connection


class _SessionFactory(TLSMemoryBIOFactory):
    protocol = SessionProtocol
    noisy = False

    def __init__(self, wrapped: Any, clock: Any) -> None:
        self._chosen = _Chosen()
        super().__init__(self._chosen, False, wrapped, clock)
        self._protocols: tuple[bytes, ...] = ()
        if IProtocolNegotiationFactory.providedBy(wrapped):
            self._protocols = tuple(wrapped.acceptableProtocols())

    def session(self, addr: Any, context: SSL.Context, hello: Hello) -> SessionProtocol | None:
        """A protocol for one connection, ready to be connected; None if the server above wants no more."""
        wrapped = self.wrappedFactory.buildProtocol(addr)
        if wrapped is None:
            return None
        # The base makes its connection in makeConnection, which follows at once.
        self._chosen.context, self._chosen.hello = context, hello
        session = SessionProtocol(self, wrapped)
        session.tls_session = TLSSession(hello.server_name or "")
        session.protocols = self._protocols
        return session


class HelloReader(Protocol):
    """A connection whose client has not said yet whom it wants."""

    transport: Any
    factory: TLSListenerFactory

    def __init__(self, addr: Any) -> None:
        self._addr = addr
        self._data = b""
        self._timer: IDelayedCall | None = None

    def connectionMade(self) -> None:
        if hasattr(self.transport, "setTcpNoDelay"):
            self.transport.setTcpNoDelay(True)
        self.factory.waiting.add(self)
        self._timer = self.factory.clock.callLater(self.factory.hello_timeout_s, self._too_slow)

    def dataReceived(self, data: bytes) -> None:
        if self._timer is None:
            return
        self._data += data
        try:
            hello = read_hello(self._data)
        except NotTLS:
            self._refuse(_plain_http() if self._data.startswith(_METHODS) else alert(ALERT_DECODE_ERROR))
            return
        if hello is None:
            return
        name = hello.server_name
        context = self.factory.certificates.context(name)
        if context is None:
            self._refuse(alert(ALERT_HANDSHAKE_FAILURE if name is None else ALERT_UNRECOGNIZED_NAME))
            return
        session = self.factory.sessions.session(self._addr, context, hello)
        self._settle()
        if session is None:
            self.transport.abortConnection()
            return
        data, self._data = self._data, b""
        transport = self.transport
        transport.protocol = session
        session.makeConnection(transport)
        session.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._settle()

    def close(self) -> None:
        """The listener wants no more of it."""
        self._settle()
        self.transport.abortConnection()

    def _refuse(self, answer: bytes) -> None:
        self._settle()
        self.transport.write(answer)
        self.transport.loseConnection()

    def _too_slow(self) -> None:
        self._timer = None
        self.factory.waiting.discard(self)
        self.transport.abortConnection()

    def _settle(self) -> None:
        self.factory.waiting.discard(self)
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()


def _plain_http() -> bytes:
    return _PLAIN_HTTP + error_page(400)


class TLSListenerFactory(Factory):
    """
    Puts TLS before the connections of another factory.

    Attributes:
        wrappedFactory: That one: an HTTP server's.
        waiting: Connections whose first message is not complete.
    """

    noisy = False

    def __init__(
        self,
        certificates: Certificates,
        wrapped: Any,
        clock: Any,
        *,
        hello_timeout_s: float = 60.0,
        max_waiting: int = 0,
    ) -> None:
        """
        Args:
            clock: Provides ``IReactorTime``.
            hello_timeout_s: How long a client may take over its first message.
            max_waiting: Connections that may wait for theirs at a time; more are closed. 0 is no limit.
        """
        self.certificates = certificates
        self.wrappedFactory = wrapped
        self.clock = clock
        self.hello_timeout_s = hello_timeout_s
        self.max_waiting = max_waiting
        self.sessions = _SessionFactory(wrapped, clock)
        self.waiting: set[HelloReader] = set()

    def doStart(self) -> None:
        self.sessions.doStart()
        super().doStart()

    def doStop(self) -> None:
        self.sessions.doStop()
        super().doStop()

    def drain_rest(self) -> None:
        """Wait for no first message any longer."""
        for one in list(self.waiting):
            one.close()

    def buildProtocol(self, addr: Any) -> Any:
        """A connection, or None (it is closed) when too many have not said a word yet."""
        if self.max_waiting and len(self.waiting) >= self.max_waiting:
            return None
        reader = HelloReader(addr)
        reader.factory = self
        return reader
