"""What all requests share: the configuration, the limits, and who is in flight.

The way of one request is ``gateway.proxy.run``.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from uuid import uuid4

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from gateway.core import reasons
from gateway.core.exchange import Connection, Exchange, Reply, RequestHead
from gateway.core.opening import open_exchange
from gateway.core.real_ip import RealIp
from gateway.core.snapshot import Snapshot
from gateway.interfaces import Clock
from gateway.proxy.admission import Admitted
from gateway.proxy.answering import Answering
from gateway.proxy.dispatch import Dispatcher
from gateway.proxy.downstream import Downstream
from gateway.proxy.health import HealthChecks
from gateway.proxy.limits import ProxyLimits
from gateway.proxy.run import Run

_log = Logger()

_OVERLOADED = Reply(503, None, (), reasons.OVERLOADED)


@define(eq=False)
class Runner:
    """
    What all requests of a data plane share.

    Attributes:
        snapshot: The configuration new requests get. Replaced in one step.
        on_end: Told about every finished exchange: the access log and metrics.
        server: The value of the ``Server`` field.
        show_upstream_status: Whether ``X-APISIX-Upstream-Status`` is always sent.
        health: The health checks; None if nobody keeps any.
        real_ip: Whose word about the client's address is taken; None: nobody's.
        in_flight: Requests being served.
        monotonic: That of the clock.
        bugs: How often the one ``except Exception`` caught something.
        handled: Requests that have ended.
    """

    snapshot: Snapshot
    dispatcher: Dispatcher
    clock: Clock
    limits: ProxyLimits
    on_end: Callable[[Exchange], None]
    server: bytes = b"gateway"
    show_upstream_status: bool = False
    health: HealthChecks | None = None
    real_ip: RealIp | None = None
    runs: set[Answering] = field(factory=set, init=False)
    bugs: int = field(default=0, init=False)
    handled: int = field(default=0, init=False)
    monotonic: Callable[[], float] = field(init=False)
    _time: Callable[[], float] = field(init=False)
    _idle: list[Deferred[None]] = field(factory=list, init=False)
    _prefix: str = field(factory=lambda: uuid4().hex[:16], init=False)
    _count: count[int] = field(factory=count, init=False)

    @monotonic.default
    def _default_monotonic(self) -> Callable[[], float]:
        return self.clock.monotonic

    @_time.default
    def _default_time(self) -> Callable[[], float]:
        return self.clock.time

    @property
    def in_flight(self) -> int:
        return len(self.runs)

    def handle(
        self, admitted: Admitted | Reply, head: RequestHead, connection: Connection, downstream: Downstream
    ) -> Run:
        """
        Serve one request.

        Args:
            admitted: What ``gateway.proxy.admission.admit`` said of it.
            head: The request as it arrived, for the log of one that was refused.
        Returns:
            The run; its ``client_gone`` is to be called if the client leaves before the end.
        """
        refused: Reply | None = None
        memory = None
        if isinstance(admitted, Reply):
            refused = admitted
            path, host = head.target.decode("latin-1"), ""
        else:
            head, path, host, memory = admitted
            if len(self.runs) >= self.limits.max_in_flight:
                refused = _OVERLOADED
        now = self._time
        exchange = open_exchange(
            head,
            connection,
            self.snapshot,
            path=path,
            host=host,
            started_s=now(),
            id=f"{self._prefix}{next(self._count):016x}",
            real_ip=self.real_ip,
            memory=memory,
        )
        session = connection.session
        if session is not None and refused is None:
            why = self.snapshot.certificates.refusal(session, host, path)
            if why is not None:
                refused = Reply(400, None, (), reasons.CLIENT_CERTIFICATE, why)
        run = Run(self, exchange, downstream)
        self.runs.add(run)
        if refused is None:
            run.start()
        else:
            run.refuse(refused)
        return run

    def ended(self, run: Answering) -> None:
        """A run is over; for the run itself."""
        self.runs.discard(run)
        self.handled += 1
        try:
            on_end = self.on_end
            on_end(run.exchange)
        except Exception:
            _log.failure("the access log failed")
        if not self.runs:
            waiting, self._idle = self._idle, []
            for deferred in waiting:
                deferred.callback(None)

    def when_idle(self) -> Deferred[None]:
        """Fires once no request is being served."""
        deferred: Deferred[None] = Deferred()
        if self.runs:
            self._idle.append(deferred)
        else:
            deferred.callback(None)
        return deferred
