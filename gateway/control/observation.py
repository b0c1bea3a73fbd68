"""What the gateway as a whole can tell about itself: the facts of every process, put together."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from gateway.control.certificate_expiry import CertificateExpiry
from gateway.control.control import Control
from gateway.control.served import Served
from gateway.control.workers import Workers
from gateway.telemetry.exposition import Source
from gateway.telemetry.facts import GatewayFacts, ProcessFacts, families, summed
from gateway.telemetry.metrics import absorb, collect_files


class Observation:
    """Gathers what is so, in one process or in all of them."""

    def __init__(
        self,
        control: Control,
        served: Served,
        processes: Callable[[], Awaitable[Mapping[int, ProcessFacts]]],
        sources: Callable[[], list[Source]],
        *,
        group: str,
        hostname: str,
        version: str,
        certificates: CertificateExpiry,
    ) -> None:
        """
        Args:
            processes: Asks the processes that serve. sources: Where counted metrics come from.
            certificates: When they expire.
        """
        self._control = control
        self._served = served
        self._processes = processes
        self._sources = sources
        self._group = group
        self._hostname = hostname
        self._version = version
        self._certificates = certificates
        self._kinds: tuple[int, Mapping[str, int]] = (-1, {})
        self.ended = ProcessFacts()
        self.restarts: Callable[[], int] = lambda: 0

    async def health(self) -> list[Mapping[str, Any]]:
        """The upstreams being checked, in every process: of several that check one, the first."""
        found: dict[str, Mapping[str, Any]] = {}
        for facts in (await self._processes()).values():
            for upstream in facts.health:
                found.setdefault(upstream["name"], upstream)
        return list(found.values())

    async def gather(self) -> list[Source]:
        """Everything Prometheus gets to see (``gateway.telemetry.exposition.Exposition``)."""
        snapshot = self._served.snapshot
        processes = await self._processes()
        facts = GatewayFacts(
            self._hostname,
            self._version,
            processes,
            ended=self.ended,
            store_revision=self._control.state.revision,
            store_reachable=self._control.store_reachable,
            kinds=self._last_changes(),
            quarantined=Counter(kind for _, kind, _ in snapshot.quarantined),
            certificates=[(one.name, one.at) for one in self._certificates.all()],
            restarts=self.restarts(),
        )
        return [*self._sources(), partial(families, facts)]

    def worker_ended(self, facts: Mapping[str, Any]) -> None:
        """Keep the totals of a worker that is gone."""
        self.ended = summed((self.ended, ProcessFacts.from_json(facts)))

    def _last_changes(self) -> Mapping[str, int]:
        state = self._control.state
        if self._kinds[0] != state.revision:
            found = {
                kind: max(record.modified_revision for record in state.all(group, kind).values())
                for (group, kind), count in state.counts().items()
                if group == self._group and count
            }
            self._kinds = (state.revision, found)
        return self._kinds[1]


def of_workers(workers: Workers) -> Callable[[], Awaitable[Mapping[int, ProcessFacts]]]:
    """Asks every worker."""

    async def ask() -> Mapping[int, ProcessFacts]:
        return {number: ProcessFacts.from_json(one) for number, one in (await workers.inspect()).items()}

    return ask


def shared_directory(path: Path) -> Callable[[], list[Source]]:
    """The directory in which workers count, made and empty: the counts of the last start do not go on."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    for entry in os.scandir(path):
        if entry.name.endswith(".db"):
            os.unlink(entry.path)
    return lambda: [partial(collect_files, str(path))]


def absorb_files(path: Path, pid: int) -> bytes:
    """Add the files of a worker that has ended to those of all that have. For a thread."""
    absorb(str(path), pid)
    return b""
