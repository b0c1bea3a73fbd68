"""How the gateway is: for ``GET /api/status``, ``/status`` and ``/status/ready``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any
from uuid import NAMESPACE_DNS, uuid5

from twisted.web.resource import Resource
from twisted.web.server import Request

from gateway.control.control import Control
from gateway.control.served import Served
from gateway.core.compiler import SERVED_KINDS
from gateway.core.snapshot import Snapshot
from gateway.core.unused import unused
from gateway.interfaces import Clock
from gateway.model.record import Key

MAX_IGNORED = 100
"""How many members that are not used a report names."""


class StatusReport:
    """Reads the state of the data plane; changes nothing."""

    LOOKED_AT: frozenset[str] = frozenset({"standalone", "expiry"})
    """Kinds outside ``SERVED_KINDS`` that are in use all the same: what the Admin API keeps for itself."""

    def __init__(
        self, runner: Served, control: Control, clock: Clock, started_s: float, version: str
    ) -> None:
        self._runner = runner
        self._control = control
        self._clock = clock
        self._started_s = started_s
        self._version = version
        self.notice_sources: list[Callable[[], Iterable[tuple[Key, str]]]] = []

    def report(self) -> dict[str, Any]:
        """
        Everything an operator asks first.

        Returns:
            A JSON object. ``revision`` is what the store has, ``served_revision`` what requests
            get; they differ only while a write is under way. ``quarantined`` names resources that
            are off because they cannot be compiled, ``unused`` counts those of kinds that no request
            looks at yet, ``ignored`` names members of resources that no request looks at (the first
            ``MAX_IGNORED``), ``notices`` those that serve with a reservation
            (those of ``notice_sources``, too),
            ``health`` the upstreams being checked, as the control API shows them (data-plane
            contract §15).
        """
        snapshot = self._runner.snapshot
        # Where others serve, this process checks nothing.
        health = getattr(self._runner, "health", None)
        return {
            "status": "ok",
            "version": self._version,
            "uptime_s": round(self._clock.time() - self._started_s, 3),
            "revision": self._control.state.revision,
            "served_revision": snapshot.revision,
            "routes": len(snapshot.routes),
            "consumers": len(snapshot.consumers),
            "in_flight": self._runner.in_flight,
            "bugs": self._runner.bugs,
            "quarantined": [_named(key, why) for key, why in snapshot.quarantined.items()],
            "unused": self._unused(),
            "ignored": self._ignored(),
            "notices": [_named(key, why) for key, why in self._notices(snapshot)],
            "health": [] if health is None else health.report(),
        }

    def _notices(self, snapshot: Snapshot) -> Iterator[tuple[Key, str]]:
        yield from snapshot.notices.items()
        for source in self.notice_sources:
            yield from source()

    def _unused(self) -> list[dict[str, Any]]:
        counts = self._control.state.counts()
        return [
            {"gateway_group_id": group, "kind": kind, "count": count}
            for (group, kind), count in sorted(counts.items())
            if group and count and kind not in SERVED_KINDS and kind not in self.LOOKED_AT
        ]

    def _ignored(self) -> list[dict[str, str]]:
        found = (
            _named(record.key, why)
            for group, kind in self._control.state.counts()
            if group and kind in SERVED_KINDS
            for record in self._control.state.all(group, kind).values()
            for why in unused(kind, record.value)
        )
        return list(islice(found, MAX_IGNORED))

    def instance(self, group: str, hostname: str) -> dict[str, Any]:
        """This gateway as one of the data planes of *group* (Admin API contract §3.6)."""
        return {
            "id": str(uuid5(NAMESPACE_DNS, f"{group}.{hostname}")),
            "gateway_group_id": group,
            "hostname": hostname,
            "version": self._version,
            "status": "Healthy" if self.not_ready_because() is None else "Unhealthy",
            "started_at": int(self._started_s),
            "last_seen_at": int(self._clock.time()),
        }

    def not_ready_because(self) -> str | None:
        """Why no traffic should be sent here, or None if it may."""
        if self._runner.snapshot.revision < 1:
            return "the configuration is not loaded yet"
        return None

    def resource(self, why_not: Callable[[], str | None] | None = None) -> Resource:
        """
        ``/status`` and ``/status/ready`` for a listener of their own (data-plane contract §16).

        Args:
            why_not: Asked instead of ``not_ready_because``.
        """
        root = Resource()
        status = _Answer(lambda: None)
        status.putChild(b"ready", _Answer(why_not or self.not_ready_because))
        root.putChild(b"status", status)
        return root


def without_tunnels(snapshot: Snapshot, group: str) -> Iterator[tuple[Key, str]]:
    """What an operator should know about routes that let clients change the protocol, where no server can."""
    for id, route in snapshot.routes.items():
        if route.tunnels:
            yield (
                (group, "route", id),
                "enable_websocket does nothing: the server of [proxy] engine passes no tunnels",
            )


class _Answer(Resource):
    def __init__(self, why_not: Any) -> None:
        super().__init__()
        self._why_not = why_not

    def render_GET(self, request: Request) -> bytes:
        why = self._why_not()
        request.setHeader(b"content-type", b"application/json")
        if why is None:
            return b'{"status":"ok"}\n'
        request.setResponseCode(503)
        return json.dumps({"status": "error", "error": why}, separators=(",", ":")).encode() + b"\n"


def _named(key: tuple[str, str, str], why: str) -> dict[str, str]:
    group, kind, id = key
    return {"gateway_group_id": group, "kind": kind, "id": id, "why": why}
