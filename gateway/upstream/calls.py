"""Calls of the gateway's own to other services, with treq as it comes: authorisation, log collectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from attrs import frozen
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool, ResponseDone, _HTTP11ClientFactory
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IPolicyForHTTPS
from zope.interface import implementer

from gateway.core.fields import Pair
from gateway.interfaces import USUAL_KEEP, HttpAnswer, HttpCallFailed, KeepAlive
from gateway.upstream.request import Peer
from gateway.upstream.tls import ClientTLS

MAX_POOLS = 64
"""Pools of idle connections; calls that say something else than the last so many begin anew."""


@implementer(IPolicyForHTTPS)
@frozen
class _Policy:
    """TLS as towards upstreams; whether certificates are verified is decided per call."""

    tls: ClientTLS
    verify: bool

    def creatorForNetloc(self, hostname: bytes, port: int) -> Any:
        name = hostname.decode("ascii")
        return self.tls.creator(Peer("https", name, port, name, self.verify))


class _QuietFactory(_HTTP11ClientFactory):
    """Without two lines in the log for each connection."""

    noisy = False


@implementer(IAgent)
class _AsSaid:
    """Sends the fields that the caller said: treq asks for gzip besides them."""

    def __init__(self, agent: IAgent) -> None:
        self._agent = agent

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: Any = None
    ) -> Any:
        if headers is not None:
            said = headers.getRawHeaders(b"accept-encoding", [])[:-1]
            if said:
                headers.setRawHeaders(b"accept-encoding", said)
            else:
                headers.removeHeader(b"accept-encoding")
        return self._agent.request(method, uri, headers, bodyProducer)


class TreqCalls:
    """
    ``gateway.interfaces.HttpCalls`` over treq.

    Connections are kept for the next call. Each call has a treq client of its own, so that no
    cookie of one answer is sent with the next request.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        tls: ClientTLS | None = None,
        connect_timeout_s: float = 10.0,
    ) -> None:
        """
        Args:
            tls: Whom to trust.
        """
        self._reactor = reactor
        self._tls = tls or ClientTLS()
        self._connect_timeout_s = connect_timeout_s
        # A connection to whoever answered must not serve a call that asks who it is.
        self._pools: dict[tuple[bool, KeepAlive], tuple[HTTPConnectionPool, IAgent]] = {}
        for verify in (False, True):
            self._agent(verify, USUAL_KEEP)

    def request(
        self,
        method: str,
        url: str,
        *,
        fields: Sequence[Pair] = (),
        content: bytes | None = None,
        timeout_s: float = 3.0,
        verify: bool = True,
        max_bytes: int = 1 << 20,
        keep: KeepAlive = USUAL_KEEP,
    ) -> Deferred[HttpAnswer]:
        """See ``gateway.interfaces.HttpCalls.request``."""
        agent = self._agent(verify, keep)
        waiting = Deferred.fromCoroutine(self._call(agent, method, url, fields, content, max_bytes))
        late: list[bool] = []

        def too_late() -> None:
            late.append(True)
            waiting.cancel()

        timer = self._reactor.callLater(timeout_s, too_late)

        def over(result: Any) -> Any:
            if timer.active():
                timer.cancel()
            if isinstance(result, Failure):
                if late:
                    raise HttpCallFailed(f"{method} {_shown(url)}: no answer within {timeout_s:g} s", True)
                if result.check(HttpCallFailed, CancelledError) is None:
                    raise HttpCallFailed(f"{method} {_shown(url)}: {_why(result)}")
            return result

        return waiting.addBoth(over)

    def _agent(self, verify: bool, keep: KeepAlive) -> IAgent:
        known = self._pools.pop((verify, keep), None)
        if known is not None:
            self._pools[verify, keep] = known
            return known[1]
        if len(self._pools) >= MAX_POOLS:
            # The one nobody has asked for the longest: its settings may be gone. What is under way ends.
            unused, _ = self._pools.pop(next(iter(self._pools)))
            unused.closeCachedConnections()
        pool: Any = HTTPConnectionPool(self._reactor, persistent=keep.connections > 0)
        pool._factory = _QuietFactory
        pool.maxPersistentPerHost = keep.connections
        pool.cachedConnectionTimeout = keep.idle_s
        agent = _AsSaid(
            Agent(
                self._reactor, _Policy(self._tls, verify), connectTimeout=self._connect_timeout_s, pool=pool
            )
        )
        self._pools[verify, keep] = pool, agent
        return agent

    async def _call(
        self,
        agent: IAgent,
        method: str,
        url: str,
        fields: Sequence[Pair],
        content: bytes | None,
        limit: int,
    ) -> HttpAnswer:
        headers = Headers()
        for name, value in fields:
            headers.addRawHeader(name, value)
        client = HTTPClient(agent)
        response = await client.request(
            method, url, headers=headers, data=content, allow_redirects=False, unbuffered=True
        )
        pairs = [(n.lower(), v) for n, values in response.headers.getAllRawHeaders() for v in values]
        # treq decodes gzip that was not asked for, and leaves an empty field where there was none.
        pairs = [pair for pair in pairs if pair != (b"content-encoding", b"")]
        return HttpAnswer(response.code, pairs, await _content(response, limit))

    def close(self) -> Any:
        """Close the idle connections. Fires when they are."""
        return DeferredList([pool.closeCachedConnections() for pool, _ in self._pools.values()])


def _shown(url: str) -> str:
    """A URL for a log line: its query may hold a secret."""
    return url.partition("?")[0]


def _why(failure: Failure) -> str:
    reasons = getattr(failure.value, "reasons", None)  # twisted.web wraps what happened to a connection
    return _why(reasons[0]) if reasons else failure.getErrorMessage() or type(failure.value).__name__


def _content(response: Any, limit: int) -> Deferred[bytes]:
    collector = _Collector(limit)
    response.deliverBody(collector)
    return collector.done


_TOO_LARGE: list[bytes] = []


class _Collector(Protocol):
    """Content, up to a limit."""

    def __init__(self, limit: int) -> None:
        self._left = limit
        self._pieces: list[bytes] = []
        self.done: Deferred[bytes] = Deferred(lambda _: self._cut())

    def _cut(self) -> None:
        transport: Any = self.transport
        abort: Callable[[], None] | None = getattr(transport, "abortConnection", None)
        if abort is not None:
            abort()
        elif transport is not None:
            transport.stopProducing()

    def dataReceived(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left >= 0:
            self._pieces.append(data)
        elif self._pieces is not _TOO_LARGE:
            self._pieces = _TOO_LARGE
            self._cut()

    def connectionLost(self, reason: Failure = Failure(ResponseDone())) -> None:  # noqa: B008
        if self.done.called:
            return
        if self._pieces is _TOO_LARGE:
            self.done.errback(HttpCallFailed("the answer is too large"))
        elif reason.check(ResponseDone, PotentialDataLoss):
            self.done.callback(b"".join(self._pieces))
        else:
            self.done.errback(reason)
