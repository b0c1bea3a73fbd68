"""How the gateway is: for ``GET /api/status``, ``/status`` and ``/status/ready``."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from twisted.web.resource import Resource
from twisted.web.server import Request

from gateway.control.control import Control
from gateway.control.served import Served
from gateway.interfaces import Clock


class StatusReport:
    """Reads the state of the data plane; changes nothing."""

    def __init__(
        self, runner: Served, control: Control, clock: Clock, started_s: float, version: str
    ) -> None:
        self._runner = runner
        self._control = control
        self._clock = clock
        self._started_s = started_s
        self._version = version

    def report(self) -> dict[str, Any]:
        """
        Everything an operator asks first.

        Returns:
            A JSON object. ``revision`` is what the store has, ``served_revision`` what requests
            get; they differ only while a write is under way. ``quarantined`` names resources that
            are off because they cannot be compiled, ``notices`` those that serve with a reservation,
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
            "notices": [_named(key, why) for key, why in snapshot.notices.items()],
            "health": [] if health is None else health.report(),
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
