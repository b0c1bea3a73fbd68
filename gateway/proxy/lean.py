"""The lean HTTP/1.1 server: what the connections of a listener share.

It does what ``gateway.proxy.site`` does over twisted.web, for less. Timeouts are deadlines that one coarse
clock of the listener compares.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IProtocolNegotiationFactory
from twisted.internet.protocol import Factory
from twisted.web.http import datetimeToString
from zope.interface import implementer

from gateway.core.exchange import RequestHead
from gateway.core.recurring import Recurring
from gateway.http1.request import Framing
from gateway.proxy.admission import Admitted
from gateway.proxy.lean_connection import LeanConnection
from gateway.proxy.runner import Runner

TICK_S = 0.5
"""How often deadlines are looked at: no timeout is more exact than this."""


@implementer(IProtocolNegotiationFactory)
class LeanFactory(Factory):
    """
    A listener's factory.

    Attributes:
        connections: The client connections that are open. accepted: All there have been.
        heads: Request heads that came before, and what was made of them.
        now: Its clock, in seconds.
        draining: Whether connections close after the answer in flight.
        tls: Whether its clients speak TLS to us.
    """

    noisy = False

    def __init__(self, runner: Runner, clock: Any, *, tls: bool = False) -> None:
        """
        Args:
            clock: Provides ``IReactorTime``.
        """
        self.runner = runner
        self.limits = runner.limits
        self.clock = clock
        self.now: Callable[[], float] = clock.seconds
        self.tls = tls
        self.heads: Recurring[tuple[Framing, RequestHead, Admitted]] = Recurring(self.limits.known_heads)
        self.connections: set[LeanConnection] = set()
        self.accepted = 0
        self.draining = False
        self._ticking: IDelayedCall | None = None
        self._date = (-1, b"")

    def doStart(self) -> None:
        super().doStart()
        self._tick()

    def doStop(self) -> None:
        super().doStop()
        if self._ticking is not None and not self.connections:
            self._ticking.cancel()
            self._ticking = None

    def _tick(self) -> None:
        now = self.now()
        for connection in [one for one in self.connections if one.deadline <= now]:
            connection.past_deadline()
        self._ticking = self.clock.callLater(TICK_S, self._tick)

    def date(self) -> bytes:
        """The Date field's line, made once a second (RFC 9110 section 6.6.1)."""
        now = int(self.runner.clock.time())
        if self._date[0] != now:
            self._date = (now, b"Date: %b\r\n" % datetimeToString(now))
        return self._date[1]

    def buildProtocol(self, addr: Any) -> Any:
        """A connection, or None (it is closed) when ``max_connections`` are open."""
        if self.limits.max_connections and len(self.connections) >= self.limits.max_connections:
            return None
        self.accepted += 1
        connection = LeanConnection()
        connection.factory = self
        return connection

    def acceptableProtocols(self) -> list[bytes]:
        """What is offered in TLS (ALPN)."""
        return [b"http/1.1"]

    def states(self) -> dict[str, int]:
        """How many client connections there are and were, by state (data-plane contract §17)."""
        busy = [one._stream for one in self.connections if one._stream is not None]
        reading = sum(not stream.received for stream in busy)
        active = len(self.connections)
        return {
            "active": active,
            "accepted": self.accepted,
            "handled": self.accepted,
            "reading": reading,
            "writing": len(busy) - reading,
            "waiting": active - len(busy),
        }

    def drain(self) -> None:
        """No more requests but those that are on their way: connections close after their next answer."""
        self.draining = True
        for connection in list(self.connections):
            connection.drain()

    @property
    def expecting(self) -> bool:
        """Whether a request is waited for: the first of a client or, while it drains, one more."""
        return any(connection.fresh for connection in self.connections)

    def drain_rest(self) -> None:
        """Wait for no request any longer."""
        for connection in list(self.connections):
            connection.drain_rest()
