"""The publisher of a gateway with workers: compile here, commit, tell every worker, wait for all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.control import amp_commands as commands
from gateway.control.local import LocalPublisher
from gateway.control.state import State
from gateway.control.status import StatusReport
from gateway.control.workers import Workers
from gateway.core.compiler import SERVED_KINDS
from gateway.model.record import Change, Key, Record, Revision


class WorkersPublisher:
    """Serves revisions through workers (``gateway.control.control.Publisher``)."""

    def __init__(self, mirror: LocalPublisher, workers: Workers, group: str) -> None:
        """
        Args:
            mirror: Compiles each change in this process first.
            group: The gateway group that is served. Workers see nothing of others.
        """
        self._mirror = mirror
        self._workers = workers
        self._group = group

    async def prepare(self, changes: Sequence[Change]) -> None:
        """Compile *changes* here. Raises ConfigErrors if they cannot be served."""
        await self._mirror.prepare(changes)

    async def publish(self, revision: Revision) -> None:
        """Return once every worker that serves has acknowledged *revision*, or is dead."""
        # Nothing may wait before the broadcast: a worker that starts now loads the state as it is,
        # and one that loaded before must be told.
        told = [c for c in revision.changes if c.group == self._group and c.kind in SERVED_KINDS]
        telling = self._workers.broadcast(revision.number, commands.changes_document(told))
        await self._mirror.publish(revision)
        await telling


def state_document(state: State, group: str, damaged: Sequence[Key]) -> tuple[int, Any]:
    """The revision and the ``records_document`` that a worker of *group* starts with."""
    records: list[Record] = [
        record for kind in sorted(SERVED_KINDS) for record in state.all(group, kind).values()
    ]
    records.sort(key=lambda record: record.created_revision)
    served = [key for key in damaged if key[0] == group and key[1] in SERVED_KINDS]
    # A damaged record's value holds sealed text where a secret was: it need not travel.
    return state.revision, commands.records_document((r for r in records if r.key not in served), served)


class WorkersReport:
    """``GET /api/status`` of a gateway with workers."""

    def __init__(self, mirror: StatusReport, workers: Workers) -> None:
        self._mirror = mirror
        self._workers = workers

    async def report(self) -> dict[str, Any]:
        """
        As ``StatusReport.report``, and how each worker is.

        Returns:
            ``in_flight`` and ``bugs`` are sums; ``served_revision`` is that of the worker furthest
            behind; ``workers`` is ``Workers.report``.
        """
        rows = await self._workers.report()
        whole = self._mirror.report()
        serving = [row for row in rows if row["serving"]]
        if serving:
            whole["served_revision"] = min(row["served_revision"] for row in serving)
        for sum_of in ("in_flight", "bugs"):
            whole[sum_of] = sum(row[sum_of] for row in serving)
        whole["workers"] = rows
        return whole

    def not_ready_because(self) -> str | None:
        """Why no traffic should be sent here, or None if it may."""
        if not self._workers.serving:
            return "no worker serves"
        return self._mirror.not_ready_because()
