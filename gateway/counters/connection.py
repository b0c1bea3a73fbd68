"""A Redis server, and the connection to it: made when it is wanted, made anew when it is lost.

One connection carries all requests of this process, each sent at once and answered in its turn. While the
server is down requests fail at once; it is asked again after ever longer pauses, by nobody's request.

    idle ──wanted──▶ connecting ──▶ up ──lost──▶ connecting
                         │ ▲
                  failed ▼ │ a pause has passed
                        down
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from enum import Enum
from functools import partial
from typing import Any

from attrs import field, frozen
from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from gateway.answer_timer import AnswerTimer
from gateway.interfaces import CountersFailed
from gateway.upstream.request import Peer
from gateway.upstream.tls import ClientTLS

log = Logger()

FIRST_PAUSE_S = 0.1


@frozen
class Target:
    """
    A Redis server and how it is used: what connections are shared by.

    Attributes:
        timeout_s: How long a request waits, connecting included.
        idle_s: How long a connection nobody uses is kept.
        username, password, database: None for the server's own defaults.
        tls, verify: Whether it speaks TLS, and whether its certificate must be valid for *host*.
    """

    host: str
    port: int
    timeout_s: float = 1.0
    idle_s: float = 10.0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    database: int | None = None
    tls: bool = False
    verify: bool = False

    @property
    def name(self) -> str:
        return f"{self.host}:{self.port}"


class Refused(Exception):
    """The server answered with an error; the text is its own."""


def within(seconds: float, work: Deferred[Any], reactor: Any, name: str) -> Deferred[Any]:
    """
    What *work* comes to, if it does in time.

    Returns:
        Fails with ``CountersFailed`` after so many seconds; *work* is cancelled then.
    """
    answered: Deferred[Any] = Deferred(lambda _: work.cancel())

    def too_slow() -> None:
        if not answered.called:
            answered.errback(CountersFailed(f"{name}: no answer within {seconds:g} s"))
        work.cancel()

    timer = reactor.callLater(seconds, too_slow)

    def over(result: Any) -> None:
        if timer.active():
            timer.cancel()
        if not answered.called:
            answered.callback(result)

    work.addBoth(over)
    return answered


class _State(Enum):
    IDLE = "idle"
    CONNECTING = "connecting"
    UP = "up"
    DOWN = "down"


class RedisServer:
    """One server as this process sees it."""

    def __init__(self, target: Target, reactor: Any, tls: ClientTLS, *, retry_s: float) -> None:
        """
        Args:
            retry_s: The longest pause between two tries to reach it.
        """
        self.target = target
        self._reactor = reactor
        self._tls = tls
        self._retry_s = retry_s
        self._state = _State.IDLE
        self._protocol: Any = None
        self._trying: Deferred[Any] | None = None
        self._attempt: object = None
        self._candidate: _Connections | None = None
        self._waiting: list[tuple[Deferred[Any], Callable[[Any], Deferred[Any]]]] = []
        self._sent: set[Deferred[Any]] = set()
        self._failures = 0
        self._why = ""
        self._timer: IDelayedCall | None = None
        self._used_s = 0.0
        self._closed = False

    # -- requests

    def run(self, script: str, keys: Sequence[bytes], args: Sequence[object]) -> Deferred[list[int]]:
        """
        Run a script.

        Returns:
            Fires with what it answers. Fails with ``CountersFailed`` if there is no answer in time, and
            with ``Refused`` if that is an error.
        """
        return self.ask(lambda protocol: protocol.eval(script, keys, args))

    def ask(self, send: Callable[[Any], Deferred[Any]]) -> Deferred[Any]:
        """
        As ``run``, for whatever *send* asks.

        Args:
            send: Sends a command over the txredisapi protocol it is given.
        """
        if self._closed:
            return fail(CountersFailed(f"redis {self.target.name}: the gateway stops"))
        if self._state is _State.DOWN:
            return fail(CountersFailed(self._why))
        self._used_s = self._reactor.seconds()
        answered: Deferred[Any] = Deferred()
        timer = AnswerTimer(self._reactor, self.target.timeout_s, lambda: self._too_slow(answered))

        def over(result: Any) -> Any:
            timer.stop()
            self._sent.discard(answered)
            return result

        answered.addBoth(over)
        if self._state is _State.UP:
            self._send(answered, send)
        else:
            self._waiting.append((answered, send))
            if self._state is _State.IDLE:
                self._connect()
        return answered

    def _send(self, answered: Deferred[Any], send: Callable[[Any], Deferred[Any]]) -> None:
        from txredisapi import ResponseError

        def replied(reply: Any) -> None:
            if answered.called:
                return
            if not isinstance(reply, Failure):
                answered.callback(reply)
            elif reply.check(ResponseError):
                answered.errback(Refused(str(reply.value)))
            else:
                answered.errback(CountersFailed(f"redis {self.target.name}: {reply.getErrorMessage()}"))

        self._sent.add(answered)
        send(self._protocol).addBoth(replied)

    def _too_slow(self, answered: Deferred[Any]) -> None:
        """Nobody knows what becomes of a request without an answer; the ones behind it wait in vain, too."""
        if not answered.called:
            self._fail(f"no answer within {self.target.timeout_s:g} s")

    # -- the connection

    def _connect(self) -> None:
        target = self.target
        if self._state is not _State.DOWN:
            self._state = _State.CONNECTING
        attempt = self._attempt = object()
        made = _Connections(partial(self._usable, attempt), partial(self._lost, attempt), target)
        self._candidate = made
        factory: Any = made
        if target.tls:
            peer = Peer("https", target.host, target.port, target.host, target.verify)
            factory = self._tls.wrap(peer, factory)
        endpoint = HostnameEndpoint(
            self._reactor, target.host.strip("[]"), target.port, timeout=target.timeout_s
        )
        trying = self._trying = endpoint.connect(factory)

        def failed(failure: Failure) -> None:
            if self._trying is trying:
                self._fail(f"cannot connect: {failure.getErrorMessage()}")

        trying.addErrback(failed)
        if self._state is _State.DOWN:
            # No request's time limits this try; a server that accepts and says nothing counts as down.
            self._timer = self._reactor.callLater(target.timeout_s, self._fail, "still no answer")

    def _usable(self, attempt: object, protocol: Any) -> None:
        """A connection that has answered."""
        if attempt is not self._attempt:
            protocol.transport.abortConnection()
            return
        if self._state is _State.DOWN:
            log.info("redis {target} answers again", target=self.target.name)
        self._stop_timer()
        self._trying = self._candidate = None
        self._failures = 0
        self._state = _State.UP
        self._protocol = protocol
        self._timer = self._reactor.callLater(self.target.idle_s, self._look_if_idle)
        waiting, self._waiting = self._waiting, []
        for answered, send in waiting:
            if not answered.called:
                self._send(answered, send)

    def _lost(self, attempt: object, protocol: Any, why: str) -> None:
        """A connection has ended; *protocol* may be one that was never usable."""
        if attempt is not self._attempt:
            return
        if protocol is self._protocol:
            # Its own requests have failed with it. Those that come now have a new one.
            self._protocol = None
            self._stop_timer()
            self._state = _State.IDLE
            if self._waiting:
                self._connect()
        else:
            self._fail(why)

    def _fail(self, why: str) -> None:
        """The server is down: everybody is told, and it is tried again after a while."""
        self._stop_timer()
        self._why = f"redis {self.target.name}: {why}"
        if self._state is not _State.DOWN and not self._closed:
            log.error("redis {target} is down: {why}", target=self.target.name, why=why)
        self._state = _State.DOWN
        self._attempt = None
        protocol, self._protocol = self._protocol, None
        trying, self._trying = self._trying, None
        candidate, self._candidate = self._candidate, None
        if not self._closed:
            pause_s = min(FIRST_PAUSE_S * 2 ** min(self._failures, 20), self._retry_s)
            self._failures += 1
            self._timer = self._reactor.callLater(pause_s * random.uniform(0.8, 1.2), self._again)  # noqa: S311
        if trying is not None:
            trying.cancel()
        if candidate is not None:
            candidate.abort()
        if protocol is not None:
            protocol.transport.abortConnection()
        waiting, self._waiting = self._waiting, []
        for answered in (*[one for one, _ in waiting], *self._sent):
            if not answered.called:
                answered.errback(CountersFailed(self._why))

    def _again(self) -> None:
        self._timer = None
        if self._reactor.seconds() - self._used_s > max(60.0, self.target.idle_s):
            # Nobody has asked for long; the next one who does finds out.
            self._state = _State.IDLE
        else:
            self._connect()

    def _look_if_idle(self) -> None:
        unused_s = self._reactor.seconds() - self._used_s
        if unused_s >= self.target.idle_s and not self._sent:
            self._timer = None
            self._state = _State.IDLE
            self._attempt = None
            protocol, self._protocol = self._protocol, None
            protocol.transport.loseConnection()
            return
        self._timer = self._reactor.callLater(max(self.target.idle_s - unused_s, 0.1), self._look_if_idle)

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def close(self) -> None:
        """Let go of everything; who still waits fails."""
        self._closed = True
        self._fail("the gateway stops")


class _Connections(Factory):
    """Makes txredisapi protocols, and tells of those that answer."""

    noisy = False
    isLazy = False

    def __init__(
        self, usable: Callable[[Any], None], lost: Callable[[Any, str], None], target: Target
    ) -> None:
        self._usable = usable
        self._lost = lost
        self._target = target
        self._why = ""
        self._protocol: Any = None

    def abort(self) -> None:
        """Give up the connection, if there is one."""
        if self._protocol is not None and self._protocol.transport is not None:
            self._protocol.transport.abortConnection()

    def buildProtocol(self, addr: Any) -> Any:
        """See ``IProtocolFactory``."""
        # Imported late: it imports the reactor, which is the composition root's to choose.
        from txredisapi import RedisProtocol

        target = self._target
        protocol = RedisProtocol(
            charset=None,
            password=target.password or None,
            dbid=target.database,
            convertNumbers=False,
            username=target.username or None,
        )
        protocol.factory = self
        self._protocol = protocol
        ended = protocol.connectionLost

        def connection_lost(reason: Failure) -> None:
            # First: whoever is told that its request failed may ask again at once.
            self._lost(protocol, self._why or reason.getErrorMessage())
            ended(reason)

        protocol.connectionLost = connection_lost
        protocol.whenConnected().addCallback(self._ask).addErrback(lambda _: None)
        return protocol

    def _ask(self, protocol: Any) -> Deferred[Any]:
        """A server that only accepts is none."""

        from txredisapi import ResponseError

        def refused(failure: Failure) -> None:
            if failure.check(ResponseError):
                self._why = failure.getErrorMessage()
            protocol.transport.abortConnection()

        asked: Deferred[Any] = protocol.ping()
        return asked.addCallbacks(lambda _: self._usable(protocol), refused)

    # What txredisapi tells its factory.

    def stopTrying(self) -> None:
        """The server refused the password or the database."""

    def connectionError(self, why: str) -> None:
        """And said so."""
        self._why = why
