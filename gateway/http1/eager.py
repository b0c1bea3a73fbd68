"""TCP transports that write at once.

Twisted's own gather what is written, ask the reactor to tell when the socket can take it, and send on its
next turn: two system calls and one turn more for each message. Here a write goes to the socket
directly if nothing is waiting before it; what the socket does not take is left to Twisted, with its
buffering, its producers and their back-pressure.

``write`` and ``unsent`` rely on names that ``twisted.internet.abstract.FileDescriptor`` keeps to itself;
``tests/http1/test_eager.py`` pins them.
"""

from __future__ import annotations

import errno
import fcntl
import socket
import sys
import termios
from typing import Any

from twisted.internet import main, tcp
from twisted.internet.interfaces import IListeningPort
from twisted.internet.posixbase import PosixReactorBase

_USUAL_READ = 1 << 16
_LARGE_READ = 1 << 18
_LATER = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EINTR)


class EagerMixin:
    """Over ``tcp.Connection``."""

    connected: Any
    socket: Any
    protocol: Any
    dataBuffer: bytes
    _tempDataBuffer: list[bytes]
    _writeDisconnected: bool
    _read_bytes = _USUAL_READ

    def write(self, data: bytes) -> None:
        """As ``ITransport.write``."""
        sent = 0
        if not (self._tempDataBuffer or self.dataBuffer or not self.connected or self._writeDisconnected):
            try:
                sent = self.socket.send(data)
            except OSError:
                pass  # Full, or broken: Twisted finds out which, on its own turn.
            if sent == len(data):
                return
        later: Any = super()
        later.write(data[sent:] if sent else data)

    def writeSequence(self, pieces: Any) -> None:
        """As ``ITransport.writeSequence``."""
        self.write(b"".join(pieces))

    def doRead(self) -> Any:
        """Read once; in larger pieces as long as there is that much."""
        try:
            data = self.socket.recv(self._read_bytes)
        except OSError as error:
            return None if error.errno in _LATER else main.CONNECTION_LOST
        if not data:
            return main.CONNECTION_DONE
        self._read_bytes = _LARGE_READ if len(data) == self._read_bytes else _USUAL_READ
        return self.protocol.dataReceived(data)


class EagerServer(EagerMixin, tcp.Server):
    """A connection that was accepted."""


class EagerClient(EagerMixin, tcp.Client):
    """A connection that was made."""


class EagerPort(tcp.Port):
    """A listening port whose connections write at once."""

    transport = EagerServer


class EagerConnector(tcp.Connector):
    """Makes connections that write at once."""

    def _makeTransport(self) -> EagerClient:
        return EagerClient(self.host, self.port, self.bindAddress, self, self.reactor)


def works_with(reactor: Any) -> bool:
    """Whether *reactor* is one whose transports these are: those of twisted.internet.posixbase."""
    return isinstance(reactor, PosixReactorBase)


def listen(reactor: Any, port: int, factory: Any, backlog: int, interface: str) -> IListeningPort:
    """As ``IReactorTCP.listenTCP``, writing at once where *reactor* allows it."""
    if not works_with(reactor):
        made: IListeningPort = reactor.listenTCP(port, factory, backlog=backlog, interface=interface)
        return made
    listening = EagerPort(port, factory, backlog, interface, reactor)
    listening.startListening()
    return listening


def adopt(reactor: Any, listening: socket.socket, factory: Any) -> IListeningPort:
    """As ``IReactorSocket.adoptStreamPort``, writing at once where *reactor* allows it."""
    if not works_with(reactor):
        made: IListeningPort = reactor.adoptStreamPort(listening.fileno(), listening.family, factory)
        return made
    port: Any = EagerPort._fromListeningDescriptor(reactor, listening.fileno(), listening.family, factory)
    port.startListening()
    adopted: IListeningPort = port
    return adopted


def connector(reactor: Any) -> Any:
    """What connects in place of ``reactor.connectTCP``, for the agent; None if that has to do."""
    if not works_with(reactor):
        return None

    def connect(
        host: str, port: int, factory: Any, timeout: Any = 30, bindAddress: Any = None
    ) -> EagerConnector:
        made = EagerConnector(host, port, factory, timeout, bindAddress, reactor)
        made.connect()
        return made

    return connect


def unsent(transport: Any) -> int:
    """
    Bytes that were written to a transport and its peer has not taken; 0 where that cannot be told.

    What waits in the system's buffer counts: there is room for minutes of a slow peer's time.
    """
    transport = getattr(transport, "transport", transport)  # Under TLS.
    try:
        waiting: int = len(transport.dataBuffer) - transport.offset + transport._tempDataLen
    except AttributeError:
        return 0
    try:
        queued = fcntl.ioctl(transport.socket.fileno(), termios.TIOCOUTQ, b"\0" * 4)
    except (AttributeError, OSError, ValueError):
        return waiting
    return waiting + int.from_bytes(queued, sys.byteorder)
