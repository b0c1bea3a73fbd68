"""Asking a node whether it is well: HTTP, HTTPS and TCP probes.

A probe is judged by the head of the answer. A little of the content is read, so that the node sees
an orderly end; more than that is cut off. No probe uses a connection of another, or of a live request.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from gateway.core.fields import Pair
from gateway.core.health import ActiveCheck, Event, failure_event
from gateway.http1.client import HTTP1Client
from gateway.model.timeout import Timeout
from gateway.model.upstream import KeepalivePool, Node, Upstream
from gateway.upstream.agent import UpstreamAgent
from gateway.upstream.connection import Dial
from gateway.upstream.errors import UpstreamError
from gateway.upstream.request import Peer, PreparedRequest

AGENT = b"gateway-health-check"
DRAINED_BYTES = 65536
"""Content of an answer that is read and dropped before the connection is cut."""

_NOT_KEPT = KeepalivePool(1, 0.0, 1)
_OWN_FIELDS = frozenset((b"host", b"connection", b"content-length", b"transfer-encoding"))
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))


@frozen
class Probe:
    """
    A probe of one node, prepared.

    Attributes:
        key: The node's. check: How it is judged.
        peer: Whom to connect to. fields, target: Of the request; empty for ``tcp``.
    """

    key: str
    check: ActiveCheck
    peer: Peer
    method: bytes
    target: bytes
    fields: tuple[Pair, ...]
    body: bytes

    @property
    def host(self) -> str:
        """The name the node is asked under, for the status report."""
        return next(
            (value.decode("latin-1") for name, value in self.fields if name == b"host"), self.peer.host
        )


def prepare(upstream: Upstream, node: Node, check: ActiveCheck) -> Probe:
    """
    Prepare the probe of *node*.

    The Host it sends is ``checks.active.host``, else the upstream's own with ``pass_host: rewrite``,
    else the node's name or address; a ``Host`` among ``req_headers`` goes before all of these.

    Source:
        Data-plane contract §8.
    """
    given = [_field(line) for line in check.headers if ":" in line]
    host = check.host
    if host is None and upstream.pass_host == "rewrite":  # noqa: S105 - not a password
        host = upstream.upstream_host
    if host is None:
        host = f"[{node.host}]" if ":" in node.host else node.host
    wire_host = next((value for name, value in given if name == b"host" and value), _ascii(host))
    fields = [(b"host", wire_host), (b"connection", b"close")]
    fields += [(name, value) for name, value in given if name and name not in _OWN_FIELDS]
    if not any(name == b"user-agent" for name, _ in fields):
        fields.append((b"user-agent", AGENT))
    tls = check.type == "https"
    server_name = _without_port(wire_host.decode("latin-1")) if tls else None
    target = quote(check.path, safe=_PRINTABLE).encode("ascii")
    if not target.startswith(b"/") and target != b"*":
        target = b"/" + target
    return Probe(
        key=node.key,
        check=check,
        peer=Peer(
            "https" if tls else "http", node.host, check.port or node.port, server_name, tls and check.verify
        ),
        method=check.method.encode(),
        target=target,
        fields=tuple(fields),
        body=check.body.encode(),
    )


def _field(line: str) -> Pair:
    name, _, value = line.partition(":")
    # Line breaks would start another field, or another request.
    text = value.translate({13: " ", 10: " ", 0: " "}).strip()
    return name.strip().lower().encode("latin-1", "replace"), text.encode("utf-8", "surrogateescape")


def _ascii(host: str) -> bytes:
    return host.encode("ascii") if host.isascii() else host.encode("idna")


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1 : host.find("]")]
    return host.partition(":")[0]


@frozen
class ProbeResult:
    """
    Attributes:
        event: What it shows; None if it shows nothing (a status in neither list, a fault on our side).
        why: What happened, in words for the log.
    """

    event: Event | None
    why: str


class Prober:
    """Sends probes. It has an agent for itself: live requests' connections say nothing about new ones."""

    def __init__(self, reactor: Any, **options: Any) -> None:
        """
        Args:
            reactor: As ``UpstreamAgent``'s.
            options: More for it: ``connect_tcp``, ``resolver``, ``trust_root``.
        """
        self._reactor = reactor
        self._agent = UpstreamAgent(reactor, **options)

    def probe(self, probe: Probe) -> Deferred[ProbeResult]:
        """
        Send one probe.

        Returns:
            Fires with its result within ``check.timeout_s``; never fails, but when it is
            cancelled: then the connection is cut.
        """
        asked: Deferred[Any] = self._connect(probe) if probe.check.type == "tcp" else self._request(probe)
        late = _TimeLimit(asked)
        timer = self._reactor.callLater(probe.check.timeout_s, late.passed)

        def ended(result: Any) -> Any:
            if timer.active():
                timer.cancel()
            if isinstance(result, Failure):
                if late.was:
                    return ProbeResult(Event.TIMEOUT, f"no answer within {probe.check.timeout_s:g} s")
                if result.check(CancelledError):
                    return result
                return _failed(result)
            return result

        return asked.addBoth(ended)

    def close(self) -> Deferred[None]:
        """Fires when every connection is gone."""
        return self._agent.close()

    def _request(self, probe: Probe) -> Deferred[ProbeResult]:
        limit_s = probe.check.timeout_s
        request = PreparedRequest(
            probe.peer,
            probe.method,
            probe.target,
            probe.fields,
            Timeout(limit_s, limit_s, limit_s),
            _NOT_KEPT,
        )
        body = _Content(probe.body) if probe.body else None
        answered: Deferred[Any] = self._agent.request(probe.method, b"", request, body)

        def judge(response: Any) -> ProbeResult:
            response.deliverBody(_Drain(self._reactor, limit_s))
            return ProbeResult(probe.check.event(response.code), f"status {response.code}")

        return answered.addCallback(judge)

    def _connect(self, probe: Probe) -> Deferred[ProbeResult]:
        return _Connect(self._agent, probe).deferred


class _TimeLimit:
    """Cancels what takes too long, and remembers that it did."""

    def __init__(self, asked: Deferred[Any]) -> None:
        self._asked = asked
        self.was = False

    def passed(self) -> None:
        self.was = True
        self._asked.cancel()


def _failed(failure: Failure) -> ProbeResult:
    error = failure.value
    if isinstance(error, UpstreamError):
        if error.local:
            return ProbeResult(None, f"the probe could not be sent: {error.detail}")
        return ProbeResult(failure_event(error.kind), str(error))
    # A request that cannot be written: the settings' fault, and no node's.
    return ProbeResult(None, f"the probe could not be sent: {failure.getErrorMessage()}")


class _Connect:
    """A TCP probe: connect, and close (``DialResult``)."""

    def __init__(self, agent: UpstreamAgent, probe: Probe) -> None:
        self.deferred: Deferred[ProbeResult] = Deferred(lambda _: dial.cancel())
        dial = Dial(agent.network, probe.peer, probe.check.timeout_s, self)
        dial.start()

    def connected(self, connection: HTTP1Client) -> None:
        connection.close()
        self.deferred.callback(ProbeResult(Event.SUCCESS, "connected"))

    def connect_failed(self, error: UpstreamError) -> None:
        self.deferred.errback(error)


class _Drain(Protocol):
    """Drops an answer's content, and cuts it off where it is too much or takes too long."""

    def __init__(self, clock: Any, limit_s: float) -> None:
        self._clock = clock
        self._limit_s = limit_s
        self._read = 0
        self._timer: Any = None

    def connectionMade(self) -> None:
        self._timer = self._clock.callLater(self._limit_s, self._cut)

    def dataReceived(self, data: bytes) -> None:
        self._read += len(data)
        if self._read > DRAINED_BYTES:
            self._cut()

    def _cut(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()


@implementer(IBodyProducer)
class _Content:
    """A probe's content."""

    def __init__(self, data: bytes) -> None:
        self.length: Any = len(data)
        self._data = data

    def startProducing(self, consumer: Any) -> Deferred[None]:
        consumer.write(self._data)
        done: Deferred[None] = Deferred()
        done.callback(None)
        return done

    def pauseProducing(self) -> None:
        """There is nothing more to come."""

    resumeProducing = stopProducing = pauseProducing
