"""Keeps nodes that are not well out of the balance: the shell around ``gateway.core.health``.

An upstream with ``checks`` gets a checker when the first request wants one of its nodes. From then
on live requests count; probes start a second later. The checker ends with the upstream, or with its
``checks``. What it has learnt is kept by node: other changes of the configuration do not touch it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from gateway.core import reasons
from gateway.core.exchange import Exchange
from gateway.core.health import NEW, Checks, Event, Limits, NodeHealth, State, failure_event, observe
from gateway.core.snapshot import CompiledUpstream, Snapshot
from gateway.model.upstream import Node
from gateway.upstream.errors import UpstreamError
from gateway.upstream.probes import Probe, Prober, ProbeResult, prepare

_log = Logger()

START_AFTER_S = 1.0
"""From the first request to the first probe (data-plane contract §8)."""
TICK_S = 1.0
MAX_PROBES = 256
"""Probes under way at a time, all upstreams together."""


@define(eq=False)
class _Checked:
    """
    A node and what is known of it.

    Attributes:
        due_s: When its next probe is.
        probing: The probe under way.
        told: Whether the log says that its probes show nothing.
    """

    node: Node
    probe: Probe
    health: NodeHealth = NEW
    due_s: float = 0.0
    queued: bool = False
    told: bool = False
    probing: Deferred[ProbeResult] | None = None

    @property
    def nothing_new(self) -> Event | None:
        """The event that would change nothing, and comes with nearly every request."""
        return Event.SUCCESS if self.health.state is State.HEALTHY else None


@define(eq=False)
class _Checker:
    """
    One upstream's health.

    Attributes:
        compiled: The upstream as it is served, since *revision*.
        nodes: By key.
    """

    owner: HealthChecks
    compiled: CompiledUpstream
    revision: int
    checks: Checks
    nodes: dict[str, _Checked] = field(factory=dict)
    _waiting: deque[str] = field(factory=deque)
    _running: int = 0
    _timer: Any = None

    # -- life

    def start(self) -> None:
        self._arrange()
        self._timer = self.owner.clock.callLater(START_AFTER_S, self._tick)

    def stop(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        self._drop(self.nodes)
        self.compiled.picker.set_unhealthy(())

    def adopt(self, compiled: CompiledUpstream, revision: int) -> None:
        """The upstream was defined anew. Its nodes keep their health unless the checks changed."""
        checks = compiled.upstream.checks
        assert checks is not None
        if checks != self.compiled.upstream.checks:
            self._drop(self.nodes)
            self.checks = Checks.of(checks)
        self.compiled, self.revision = compiled, revision
        self._arrange()

    def _arrange(self) -> None:
        upstream = self.compiled.upstream
        now_s = self.owner.clock.seconds()
        known, self.nodes = self.nodes, {}
        for node in upstream.nodes:
            probe = prepare(upstream, node, self.checks.active)
            if node.key in known:
                checked = known.pop(node.key)
                checked.probe = probe
            else:
                checked = _Checked(node, probe, due_s=now_s)
            self.nodes[node.key] = checked
        self._drop(known)
        self._tell_picker()

    def _drop(self, nodes: dict[str, _Checked]) -> None:
        for key in list(nodes):
            probing = nodes.pop(key).probing
            if probing is not None:
                probing.cancel()

    # -- probing

    def _tick(self) -> None:
        owner = self.owner
        self._timer = owner.clock.callLater(TICK_S, self._tick)
        owner.follow()
        if self._timer is None:
            return  # that was the end of this upstream
        now_s = owner.clock.seconds()
        for key, checked in self.nodes.items():
            if checked.due_s <= now_s and not checked.queued and checked.probing is None:
                checked.queued = True
                self._waiting.append(key)
        self._send_probes()

    def _send_probes(self) -> None:
        owner, active = self.owner, self.checks.active
        while self._waiting and self._running < active.concurrency and owner.probing < owner.max_probes:
            checked = self.nodes.get(self._waiting.popleft())
            if checked is None or not checked.queued:
                continue
            checked.queued = False
            usable = checked.health.usable
            interval_s = active.healthy_interval_s if usable else active.unhealthy_interval_s
            # A little early, so that a timer that fires a moment too soon does not skip a turn.
            checked.due_s = owner.clock.seconds() + interval_s - TICK_S / 2
            self._running += 1
            owner.probing += 1
            probing = checked.probing = owner.prober.probe(owner.secured(self.compiled, checked.probe))
            probing.addBoth(self._probed, checked, self.checks)

    def _probed(self, result: ProbeResult | Failure, checked: _Checked, checks: Checks) -> None:
        self._running -= 1
        self.owner.probing -= 1
        checked.probing = None
        if isinstance(result, Failure):
            if not result.check(CancelledError):
                _log.failure("a probe of {node} met a bug", result, node=checked.node.key)
        elif self.nodes.get(checked.node.key) is checked and checks is self.checks:
            if result.event is not None:
                self.observed(checked, result.event, checks.active.limits, f"probe: {result.why}")
            elif not checked.told:
                # Once a node: an operator should know that such probes will never decide anything.
                checked.told = True
                node = checked.node.key
                _log.warn(
                    "upstream {key}: probes of node {node} show nothing ({why})",
                    key=self.compiled.key,
                    node=node,
                    why=result.why,
                )
        if self._timer is not None:
            self._send_probes()

    # -- events

    def observed(self, checked: _Checked, event: Event, limits: Limits, why: str) -> None:
        """Take one event in; the picker hears of it if the node becomes usable, or no longer is."""
        before = checked.health
        after = observe(before, event, limits)
        if after is before:
            return
        checked.health = after
        if after.usable == before.usable:
            return
        key, node = self.compiled.key, checked.node.key
        if after.usable:
            _log.info("upstream {key}: node {node} is healthy again ({why})", key=key, node=node, why=why)
        else:
            _log.warn("upstream {key}: node {node} is unhealthy ({why})", key=key, node=node, why=why)
            # The interval is another one now.
            checked.due_s = min(
                checked.due_s,
                self.owner.clock.seconds() + self.checks.active.unhealthy_interval_s - TICK_S / 2,
            )
        self._tell_picker()

    def _tell_picker(self) -> None:
        self.compiled.picker.set_unhealthy(
            key for key, checked in self.nodes.items() if not checked.health.usable
        )

    def report(self) -> dict[str, Any]:
        kind, _, id = self.compiled.key.partition("/")
        return {
            "name": f"/apisix/{kind}s/{id}",
            "type": self.checks.active.type,
            "nodes": [
                {
                    "ip": self.owner.address_of(checked.node.host),
                    "port": checked.probe.peer.port,
                    "hostname": checked.probe.host,
                    "status": checked.health.state.value,
                    "counter": checked.health.counters(),
                }
                for checked in self.nodes.values()
            ],
        }


class HealthChecks:
    """
    The checkers of a data plane, by upstream.

    Attributes:
        clock: Provides ``IReactorTime``.
        probing: Probes under way.
    """

    def __init__(
        self,
        clock: Any,
        prober: Prober,
        snapshot: Callable[[], Snapshot],
        *,
        address_of: Callable[[str], str | None] = lambda host: None,
        max_probes: int = MAX_PROBES,
    ) -> None:
        """
        Args:
            snapshot: The configuration that new requests get; asked each second while there are checkers.
            address_of: The address a name has at the moment, for the report; None if unknown.
            max_probes: At a time, all upstreams together.
        """
        self.clock = clock
        self.prober = prober
        self.max_probes = max_probes
        self.probing = 0
        self._snapshot = snapshot
        self._address_of = address_of
        self._seen: Snapshot | None = None
        self._checkers: dict[str, _Checker] = {}
        self._closed = False

    def secured(self, compiled: CompiledUpstream, probe: Probe) -> Probe:
        """*probe*, with the certificate and the authorities that requests to *compiled* have now."""
        if not compiled.secured or probe.peer.scheme != "https":
            return probe
        trust = self._snapshot().certificates.trust(compiled)
        return evolve(probe, peer=evolve(probe.peer, identity=trust.identity, authorities=trust.authorities))

    # -- from requests

    def wanted(self, compiled: CompiledUpstream, revision: int) -> None:
        """
        A request wants a node of *compiled*, which has checks.

        Args:
            revision: Of the request's snapshot: an older one than is known changes nothing.
        """
        checker = self._checkers.get(compiled.key)
        if checker is None:
            checks = compiled.upstream.checks
            if checks is not None and not self._closed:
                checker = self._checkers[compiled.key] = _Checker(self, compiled, revision, Checks.of(checks))
                checker.start()
                # It may be a late request's, whose upstream is gone: the first tick finds out.
                self._seen = None
        elif checker.compiled is not compiled and revision >= checker.revision:
            checker.adopt(compiled, revision)

    def answered(self, compiled: CompiledUpstream, node: Node, status: int) -> None:
        """A node's answer to a live request has begun."""
        checker = self._checkers.get(compiled.key)
        if checker is None or (passive := checker.checks.passive) is None:
            return
        event = passive.event(status)
        checked = self._same(checker, compiled, node)
        if event is not None and checked is not None and event is not checked.nothing_new:
            checker.observed(checked, event, passive.limits, f"request: status {status}")

    def failed(self, compiled: CompiledUpstream, node: Node, error: UpstreamError) -> None:
        """
        A try of a live request failed.

        Faults of this machine do not count, and neither does a kept connection that the node had
        closed by the time it was used: that is how kept connections end.
        """
        checker = self._checkers.get(compiled.key)
        if checker is None or (passive := checker.checks.passive) is None:
            return
        if error.local or (error.reused and error.kind == reasons.UPSTREAM_CLOSED):
            return
        checked = self._same(checker, compiled, node)
        if checked is not None:
            checker.observed(checked, failure_event(error.kind), passive.limits, f"request: {error}")

    def _same(self, checker: _Checker, compiled: CompiledUpstream, node: Node) -> _Checked | None:
        # Late news of a node that was removed since, or seen under other checks, is no news.
        if compiled is not checker.compiled and compiled.upstream.checks != checker.compiled.upstream.checks:
            return None
        return checker.nodes.get(node.key)

    # -- from the configuration

    def follow(self) -> None:
        """Bring the checkers in line with what is served; nothing happens if that has not changed."""
        snapshot = self._snapshot()
        if snapshot is self._seen:
            return
        self._seen = snapshot
        served = upstreams_of(snapshot)
        for key, checker in list(self._checkers.items()):
            compiled = served.get(key)
            if compiled is None or compiled.upstream.checks is None:
                del self._checkers[key]
                checker.stop()
            elif compiled is not checker.compiled:
                checker.adopt(compiled, snapshot.revision)

    # -- for operators

    def report(self) -> list[dict[str, Any]]:
        """
        The health of every upstream that is being checked.

        Returns:
            As ``GET /v1/healthcheck`` (data-plane contract §15).
        """
        return [checker.report() for checker in self._checkers.values()]

    def report_of(self, key: str) -> dict[str, Any] | None:
        """The health of one upstream (``service/<id>``); None if it is not being checked."""
        checker = self._checkers.get(key)
        return None if checker is None else checker.report()

    def address_of(self, host: str) -> str:
        """The node's address if it is known, else its name."""
        return self._address_of(host) or host

    def close(self) -> Deferred[None]:
        """Stop probing. Fires when every probe's connection is gone."""
        if self._closed:
            return succeed(None)
        self._closed = True
        for checker in self._checkers.values():
            checker.stop()
        self._checkers.clear()
        return self.prober.close()


def upstreams_of(snapshot: Snapshot) -> Mapping[str, CompiledUpstream]:
    """Every upstream that requests may be sent to, by key."""
    own = (route.upstream for route in snapshot.routes.values() if route.upstream is not None)
    return {upstream.key: upstream for upstream in (*own, *snapshot.upstreams.values())}


@define(eq=False)
class WatchedTry:
    """
    One try at a node, where the picker or the health checks want to know how it ends.

    Whatever way that is, ``over`` is called, and the picker is told once.
    """

    compiled: CompiledUpstream
    node: Node
    exchange: Exchange
    health: HealthChecks | None
    started_s: float | None = None
    _seconds: float | None = None
    _ok: bool | None = None
    _over: bool = False

    @classmethod
    def begin(
        cls, compiled: CompiledUpstream, node: Node, exchange: Exchange, health: HealthChecks | None
    ) -> WatchedTry:
        """A node was picked."""
        if compiled.upstream.checks is None:
            health = None
        elif health is not None:
            health.wanted(compiled, exchange.snapshot.revision)
        return cls(compiled, node, exchange, health)

    def answered(self, status: int, seconds: float) -> None:
        """The head of an answer is there."""
        self._seconds, self._ok = seconds, True
        if self.health is not None:
            self.health.answered(self.compiled, self.node, status)

    def failed(self, error: UpstreamError, seconds: float, now_s: float) -> None:
        """There will be no answer; the try is over."""
        self._seconds, self._ok = seconds, None if error.local else False
        if self.health is not None:
            self.health.failed(self.compiled, self.node, error)
        self.over(now_s)

    def over(self, now_s: float) -> None:
        """The try has ended, or was given up. Calling it again does nothing."""
        if self._over:
            return
        self._over = True
        done = self.compiled.picker.done
        if done is not None:
            seconds = self._seconds
            if seconds is None:
                seconds = 0.0 if self.started_s is None else now_s - self.started_s
            done(self.node, self.exchange, seconds, self._ok)
