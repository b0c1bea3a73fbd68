"""TCP transports that write at once.

Twisted's own gather what is written, ask the reactor to tell when the socket can take it, and send on its
next turn: two system calls and one turn more for each message. Here a write goes to the socket
directly if nothing is waiting before it; what the socket does not take is left to Twisted, with its
buffering, its producers and their back-pressure.

What is written while the reactor deals with several events is sent when it has done so (``Turn``): a
peer that sleeps is woken once, not while there is more to do for others.

``write``, ``send_gathered`` and ``unsent`` rely on names that ``twisted.internet.abstract.FileDescriptor``
keeps to itself; ``tests/http1/test_eager.py`` pins them.
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

_USUAL_READ = 96 << 10
"""
An answer of 64 KiB and its head in one piece. Not more: for 128 KiB and up the C library asks the system
for the memory, and gives it back, at each read.
"""
_LARGE_READ = 1 << 18
_MOST_PIECES = 64
_SMALL = 16 << 10
"""More is sent at once: memory is not held for a turn."""
_MOST_WAITING = 64
"""So many peers wait for the end of a turn at most."""
LATER = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EINTR)
"""Errors of a socket that is not broken."""


class Turn:
    """
    One go of the reactor through the sockets that have something to read.

    Attributes:
        open: Whether it is going on, so that small writes are gathered.
    """

    __slots__ = ("_waiting", "open")

    def __init__(self) -> None:
        self.open = False
        self._waiting: list[EagerMixin] = []

    def gather(self, transport: EagerMixin) -> None:
        """*transport* has something to send when the turn ends, or so many have."""
        waiting = self._waiting
        waiting.append(transport)
        if len(waiting) >= _MOST_WAITING:
            self.send()

    def close(self) -> None:
        """It is over."""
        self.open = False
        if self._waiting:
            self.send()

    def send(self) -> None:
        """Send what was gathered."""
        waiting, self._waiting = self._waiting, []
        for transport in waiting:
            if transport._gathering:
                transport.send_gathered()


turn = Turn()
"""This process's: it has one reactor."""


class EagerMixin:
    """Over ``tcp.Connection``."""

    connected: Any
    socket: Any
    protocol: Any
    dataBuffer: bytes
    _tempDataBuffer: list[bytes]
    _writeDisconnected: bool
    _read_bytes: int
    _gathering: bool
    _tempDataLen: int
    _aborting: bool

    def _own_attributes(self) -> None:
        # They are read at each write, and are read faster here than in the class.
        self.dataBuffer = b""
        self._writeDisconnected = False
        self._read_bytes = _USUAL_READ
        self._gathering = False

    def write(self, data: bytes) -> None:
        """As ``ITransport.write``."""
        if self._gathering and self._gathers_more(data):
            return
        sent = 0
        if not (self._tempDataBuffer or self.dataBuffer or not self.connected or self._writeDisconnected):
            if turn.open and len(data) <= _SMALL:
                self._gather(data)
                return
            try:
                sent = self.socket.send(data)
            except OSError:
                pass  # Full, or broken: Twisted finds out which, on its own turn.
            if sent == len(data):
                return
        later: Any = super()
        later.write(data[sent:] if sent else data)

    def has_more(self) -> bool:
        """Whether something has arrived that was not read, be it the end."""
        try:
            self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            pass
        return True

    def expect_little(self) -> None:
        """What is read next is no part of a large content."""
        self._read_bytes = _USUAL_READ

    def takes_at_once(self) -> bool:
        """Whether what is sent now, past this object, comes after all that was written before."""
        return bool(self.connected) and not (
            self._tempDataBuffer or self.dataBuffer or self._writeDisconnected or self._aborting
        )

    def writeSequence(self, pieces: Any) -> None:
        """As ``ITransport.writeSequence``; the pieces need not be joined first."""
        pieces = list(pieces)
        if self._gathering:
            self.send_gathered()
        sent = 0
        if not (self._tempDataBuffer or self.dataBuffer or not self.connected or self._writeDisconnected):
            try:
                sent = self.socket.sendmsg(pieces[:_MOST_PIECES])
            except OSError:
                pass  # As in write.
            if sent == sum(map(len, pieces)):
                return
        rest = b"".join(pieces)
        later: Any = super()
        later.write(rest[sent:] if sent else rest)

    def _gather(self, data: bytes) -> None:
        # Where Twisted keeps what waits, so that whatever happens before the end of the turn finds it there.
        self._tempDataBuffer.append(data)
        self._tempDataLen += len(data)
        self._gathering = True
        turn.gather(self)

    def _gathers_more(self, data: bytes) -> bool:
        if self._tempDataLen + len(data) > _SMALL:
            self.send_gathered()
            return False
        self._tempDataBuffer.append(data)
        self._tempDataLen += len(data)
        return True

    def send_gathered(self) -> None:
        """Send what was gathered in this turn; what the socket does not take is left to Twisted."""
        self._gathering = False
        if not self.connected or self._aborting or self.dataBuffer:
            return  # It is gone, or Twisted has begun to send it by itself.
        pieces = self._tempDataBuffer
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        try:
            sent = self.socket.send(data)
        except OSError:
            sent = 0  # As in write.
        left = len(data) - sent
        self._tempDataBuffer = [data[sent:]] if left else []
        self._tempDataLen = left
        if left:
            later: Any = self
            later.startWriting()

    def abortConnection(self) -> None:
        """As ``ITCPTransport.abortConnection``. What was written before is sent before, if that can be."""
        if self._gathering:
            self.send_gathered()
        later: Any = super()
        later.abortConnection()

    def doRead(self) -> Any:
        """Read once; in larger pieces as long as there is that much."""
        try:
            data = self.socket.recv(self._read_bytes)
        except OSError as error:
            return None if error.errno in LATER else main.CONNECTION_LOST
        if not data:
            if self._gathering:
                self.send_gathered()  # The end of what a peer says may be all that it ends.
            return main.CONNECTION_DONE
        if len(data) == self._read_bytes:
            self._read_bytes = _LARGE_READ
        elif self._read_bytes is not _USUAL_READ:
            self._read_bytes = _USUAL_READ
        return self.protocol.dataReceived(data)


class EagerServer(EagerMixin, tcp.Server):
    """A connection that was accepted."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._own_attributes()


class EagerClient(EagerMixin, tcp.Client):
    """A connection that was made."""

    def _connectDone(self) -> None:
        self._own_attributes()
        super()._connectDone()


class EagerPort(tcp.Port):
    """A listening port whose connections write at once."""

    transport = EagerServer  # type: ignore[assignment]  # made as its base is


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
