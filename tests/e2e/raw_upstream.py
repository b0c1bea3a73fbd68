"""Upstreams that do exactly what a test wants, well-behaved or not, on real sockets."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable

from tests.limits import LIMIT_S

Behaviour = Callable[["RawUpstream", "Peer"], None]


def announced(head: bytes) -> int:
    """The length of the content that follows a request's head."""
    lines = [line.lower() for line in head.split(b"\r\n")]
    return next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)


class Peer:
    """One connection from the gateway, read request by request."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._buffer = b""

    def head(self) -> bytes | None:
        """The next request's head without its blank line; None when the gateway closed."""
        while b"\r\n\r\n" not in self._buffer:
            data = self.socket.recv(65536)
            if not data:
                return None
            self._buffer += data
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        return head

    def whole(self, head: bytes) -> bytes:
        """The content of the announced length; less when the gateway closed."""
        length = announced(head)
        while len(self._buffer) < length and (data := self.socket.recv(1 << 18)):
            self._buffer += data
        content, self._buffer = self._buffer[:length], self._buffer[length:]
        return content

    def content(self, head: bytes) -> int:
        """Read content of the announced length and forget it; returns how much came."""
        length = announced(head)
        seen = len(self._buffer)
        self._buffer = b""
        while seen < length:
            data = self.socket.recv(1 << 18)
            if not data:
                break
            seen += len(data)
        return seen

    def take(self) -> bytes:
        """What comes next, whatever it is; empty when the gateway has no more to say."""
        data, self._buffer = self._buffer, b""
        return data or self.socket.recv(1 << 18)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def reset(self) -> None:
        """End with a TCP reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


class RawUpstream:
    """
    Listens on loopback, on a port of the system's choice, until ``close``.

    Attributes:
        heads: The heads of all requests, in the order they came.
        connections: How many connections were accepted.
    """

    def __init__(self, behaviour: Behaviour, port: int = 0) -> None:
        """
        Args:
            port: Where to listen, if it must be one that was used before.
        """
        self.heads: list[bytes] = []
        self.connections = 0
        self._behaviour = behaviour
        self._listener = socket.create_server(("127.0.0.1", port), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(LIMIT_S)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            connection.settimeout(LIMIT_S)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                self._behaviour(self, Peer(connection))
        except OSError:
            pass  # The gateway, or the test, ended the connection.


def answering(response: bytes) -> Behaviour:
    """Answer every request with the same bytes, on connections that stay open."""

    def behave(upstream: RawUpstream, peer: Peer) -> None:
        while (head := peer.head()) is not None:
            upstream.heads.append(head)
            peer.content(head)
            peer.send(response)

    return behave


OK = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def once(response: bytes, *, reset: bool = False) -> Behaviour:
    """Answer the first request of a connection with these bytes, then close or reset it."""

    def behave(upstream: RawUpstream, peer: Peer) -> None:
        head = peer.head()
        if head is not None:
            upstream.heads.append(head)
            peer.send(response)
            if reset:
                peer.reset()

    return behave


def silent(upstream: RawUpstream, peer: Peer) -> None:
    """Read a request and never answer."""
    head = peer.head()
    if head is not None:
        upstream.heads.append(head)
        peer.socket.recv(1)


def streams(upstream: RawUpstream, peer: Peer) -> None:
    """``GET /bytes/<n>`` sends n bytes; other requests are read and answered with their length."""
    piece = b"x" * (1 << 16)
    while (head := peer.head()) is not None:
        upstream.heads.append(head)
        target = head.split(b" ", 2)[1]
        if target.startswith(b"/bytes/"):
            left = int(target.rpartition(b"/")[2])
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % left)
            while left:
                peer.send(piece[: min(left, len(piece))])
                left -= min(left, len(piece))
        else:
            seen = b"%d" % peer.content(head)
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(seen), seen))
