"""Connections that wait for their next request, kept by peer."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen
from twisted.python.failure import Failure

from gateway.http1.client import HTTP1Client
from gateway.model.upstream import KeepalivePool
from gateway.upstream.request import Peer


@frozen
class PoolStats:
    """
    Attributes:
        idle: Connections that wait for a request.
        open: All established connections, the idle ones included.
    """

    idle: int
    open: int


class Pool:
    """
    The connections to one peer. It owns each from its first request on.

    The connection used last is used next, so that those a falling load no longer needs grow old
    and close. A connection that the peer closes leaves at once.

    Attributes:
        settings: How many to keep, and for how long; the latest request's count.
        forgotten: Whether it is empty, and another one takes its place.
    """

    __slots__ = ("_idle", "_on_empty", "_room", "forgotten", "open", "peer", "settings")

    def __init__(
        self,
        peer: Peer,
        settings: KeepalivePool,
        room: IdleRoom,
        on_empty: Callable[[Pool], None] = lambda pool: None,
    ) -> None:
        """
        Args:
            room: The limit that all pools of an agent share.
            on_empty: Called when the last connection has gone.
        """
        self.peer = peer
        self.settings = settings
        self.open = 0
        self.forgotten = False
        self._idle: list[HTTP1Client] = []
        self._room = room
        self._on_empty = on_empty

    def take(self) -> HTTP1Client | None:
        """An idle connection, now the caller's to send one request on; None if there is none."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            self._room.used -= 1
            if connection.alive:
                return connection
        return None

    def add(self, connection: HTTP1Client) -> None:
        """Become the owner of a new connection, which is about to send."""
        connection.owner = self
        self.open += 1

    def stats(self) -> PoolStats:
        """How many there are now."""
        return PoolStats(len(self._idle), self.open)

    def close_idle(self) -> None:
        """Close every connection that carries no request."""
        while (connection := self.take()) is not None:
            connection.close()

    # -- ConnectionOwner

    def connection_ready(self, connection: HTTP1Client) -> None:
        """It was ready when it came."""

    def connection_free(self, connection: HTTP1Client) -> None:
        """Keep it, or close it."""
        settings = self.settings
        room = self._room
        if room.used >= room.size or connection.requests >= settings.requests or settings.idle_timeout_s <= 0:
            connection.close()
            return
        idle = self._idle
        idle.append(connection)
        room.used += 1
        connection.idle(settings.idle_timeout_s)
        if len(idle) > settings.size:
            room.used -= 1
            idle.pop(0).close()

    def connection_closed(self, connection: HTTP1Client, reason: Failure) -> None:
        """Forget it."""
        try:
            self._idle.remove(connection)
        except ValueError:
            pass
        else:
            self._room.used -= 1
        self.open -= 1
        if not self.open:
            self._on_empty(self)


class IdleRoom:
    """
    The limit on idle connections that all pools share: a peer's name may come from a client's
    ``Host`` (as SNI), so there may be many pools.

    Attributes:
        size: Most idle connections. used: How many there are.
    """

    __slots__ = ("size", "used")

    def __init__(self, size: int) -> None:
        self.size = size
        self.used = 0

    def close(self) -> None:
        """Keep no more."""
        self.size = 0
