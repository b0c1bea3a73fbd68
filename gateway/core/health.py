"""Whether a node is fit to be used: a state machine over the results of probes and of live requests.

``observe`` takes a node's health and one event to its health after it; the shell that sends probes
and takes nodes out of the balance is ``gateway.proxy.health``.

Two states are usable (healthy, mostly healthy: some failures were counted) and two are not
(unhealthy, mostly unhealthy: some successes were counted). A success wipes the counted failures, a
failure the counted successes; a counter that reaches its limit decides.

Source:
    Data-plane contract §8.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

from attrs import evolve, frozen

from gateway.core import reasons


class State(enum.Enum):
    """What is thought of a node; the values are what the status report says."""

    HEALTHY = "healthy"
    MOSTLY_HEALTHY = "mostly_healthy"
    MOSTLY_UNHEALTHY = "mostly_unhealthy"
    UNHEALTHY = "unhealthy"


class Event(enum.Enum):
    """What a probe or a request has shown."""

    SUCCESS = "success"
    HTTP_FAILURE = "http_failure"
    TCP_FAILURE = "tcp_failure"
    TIMEOUT = "timeout_failure"


USABLE = frozenset({State.HEALTHY, State.MOSTLY_HEALTHY})

_GOOD, _BAD = True, False

_TRANSITIONS: Mapping[tuple[State, bool], tuple[State, State] | None] = {
    # (state, good or bad event): (state below the counter's limit, state at it); None: not counted
    (State.HEALTHY, _GOOD): None,
    (State.HEALTHY, _BAD): (State.MOSTLY_HEALTHY, State.UNHEALTHY),
    (State.MOSTLY_HEALTHY, _GOOD): (State.MOSTLY_HEALTHY, State.HEALTHY),
    (State.MOSTLY_HEALTHY, _BAD): (State.MOSTLY_HEALTHY, State.UNHEALTHY),
    (State.MOSTLY_UNHEALTHY, _GOOD): (State.MOSTLY_UNHEALTHY, State.HEALTHY),
    (State.MOSTLY_UNHEALTHY, _BAD): (State.MOSTLY_UNHEALTHY, State.UNHEALTHY),
    (State.UNHEALTHY, _GOOD): (State.MOSTLY_UNHEALTHY, State.HEALTHY),
    (State.UNHEALTHY, _BAD): None,
}


@frozen
class Limits:
    """How many events of a kind, without one of the other side between, decide; 0 ignores that kind."""

    successes: int
    http_failures: int
    tcp_failures: int
    timeouts: int

    def of(self, event: Event) -> int:
        """The limit for *event*."""
        if event is Event.SUCCESS:
            return self.successes
        if event is Event.HTTP_FAILURE:
            return self.http_failures
        return self.tcp_failures if event is Event.TCP_FAILURE else self.timeouts


@frozen
class NodeHealth:
    """What is known of one node. Nodes start healthy."""

    state: State = State.HEALTHY
    successes: int = 0
    http_failures: int = 0
    tcp_failures: int = 0
    timeouts: int = 0

    @property
    def usable(self) -> bool:
        """Whether it may be picked."""
        return self.state in USABLE

    def counters(self) -> dict[str, int]:
        """The counters under the names of the status report (data-plane contract §15)."""
        return {
            "success": self.successes,
            "http_failure": self.http_failures,
            "tcp_failure": self.tcp_failures,
            "timeout_failure": self.timeouts,
        }


NEW = NodeHealth()

_COUNTERS = {
    Event.SUCCESS: "successes",
    Event.HTTP_FAILURE: "http_failures",
    Event.TCP_FAILURE: "tcp_failures",
    Event.TIMEOUT: "timeouts",
}


def observe(health: NodeHealth, event: Event, limits: Limits) -> NodeHealth:
    """
    The health of a node after one more event.

    Args:
        limits: Those of the side that saw it: active and passive checks share the counters, not
            the limits.
    Returns:
        *health* itself if nothing changes.
    """
    limit = limits.of(event)
    good = event is Event.SUCCESS
    row = _TRANSITIONS[health.state, good]
    if not limit or row is None:
        return health
    name = _COUNTERS[event]
    counted = getattr(health, name) + 1
    state = row[counted >= limit]
    if good:
        return NodeHealth(state, successes=counted)
    return evolve(health, **{"state": state, "successes": 0, name: counted})


@frozen
class ActiveCheck:
    """
    How nodes are probed.

    Attributes:
        type: ``http``, ``https`` or ``tcp``. timeout_s: For one probe, from connecting on.
        concurrency: Probes of one upstream at a time.
        host, port: Instead of the node's own; None if they are.
        method, path, body, headers: Of an HTTP probe; *headers* as ``Name: value``.
        verify: Whether an HTTPS probe wants a valid certificate.
        healthy_interval_s, unhealthy_interval_s: Between two probes of a usable, unusable node.
    """

    type: str
    timeout_s: float
    concurrency: int
    host: str | None
    port: int | None
    method: str
    path: str
    body: str
    headers: tuple[str, ...]
    verify: bool
    healthy_interval_s: int
    unhealthy_interval_s: int
    healthy_statuses: frozenset[int]
    unhealthy_statuses: frozenset[int]
    limits: Limits

    def event(self, status: int) -> Event | None:
        """What an answered probe shows; None if its status is in neither list."""
        return _event(status, self.healthy_statuses, self.unhealthy_statuses)


@frozen
class PassiveCheck:
    """How live requests count. A check of type ``tcp`` takes any answer for a success."""

    type: str
    healthy_statuses: frozenset[int]
    unhealthy_statuses: frozenset[int]
    limits: Limits

    def event(self, status: int) -> Event | None:
        """What an upstream's answer shows; None if its status is in neither list."""
        if self.type == "tcp":
            return Event.SUCCESS
        return _event(status, self.healthy_statuses, self.unhealthy_statuses)


def _event(status: int, healthy: frozenset[int], unhealthy: frozenset[int]) -> Event | None:
    if status in unhealthy or status == 0:
        return Event.HTTP_FAILURE
    return Event.SUCCESS if status in healthy else None


@frozen
class Checks:
    """An upstream's health checks; *passive* is None if live requests do not count."""

    active: ActiveCheck
    passive: PassiveCheck | None

    @classmethod
    def of(cls, checks: Mapping[str, Any]) -> Checks:
        """
        Read ``Upstream.checks``.

        Args:
            checks: It fits the schema, and every default is filled in.
        """
        active, passive = checks["active"], checks.get("passive")
        return cls(
            ActiveCheck(
                type=active["type"],
                timeout_s=float(active["timeout"]),
                concurrency=int(active["concurrency"]),
                host=active.get("host"),
                port=None if active.get("port") is None else int(active["port"]),
                method=active["http_method"],
                path=active["http_path"],
                body=active["http_req_body"],
                headers=tuple(active.get("req_headers", ())),
                verify=active["https_verify_certificate"],
                healthy_interval_s=int(active["healthy"]["interval"]),
                unhealthy_interval_s=int(active["unhealthy"]["interval"]),
                healthy_statuses=_statuses(active["healthy"]),
                unhealthy_statuses=_statuses(active["unhealthy"]),
                limits=_limits(active),
            ),
            None
            if passive is None
            else PassiveCheck(
                passive["type"],
                _statuses(passive["healthy"]),
                _statuses(passive["unhealthy"]),
                _limits(passive),
            ),
        )


def _statuses(side: Mapping[str, Any]) -> frozenset[int]:
    return frozenset(int(status) for status in side["http_statuses"])


def _limits(check: Mapping[str, Any]) -> Limits:
    healthy, unhealthy = check["healthy"], check["unhealthy"]
    return Limits(
        successes=int(healthy["successes"]),
        http_failures=int(unhealthy["http_failures"]),
        tcp_failures=int(unhealthy["tcp_failures"]),
        timeouts=int(unhealthy["timeouts"]),
    )


_FAILURES = {
    reasons.UPSTREAM_CONNECT_FAILED: Event.TCP_FAILURE,
    reasons.UPSTREAM_CLOSED: Event.TCP_FAILURE,
    reasons.UPSTREAM_CONNECT_TIMEOUT: Event.TIMEOUT,
    reasons.UPSTREAM_SEND_TIMEOUT: Event.TIMEOUT,
    reasons.UPSTREAM_READ_TIMEOUT: Event.TIMEOUT,
    reasons.UPSTREAM_BAD_RESPONSE: Event.HTTP_FAILURE,
}


def failure_event(kind: str) -> Event:
    """
    What a failed try or probe shows.

    Args:
        kind: The reason code of an ``UpstreamError``.
    Raises:
        KeyError: it is none.
    """
    return _FAILURES[kind]
