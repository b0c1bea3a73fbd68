"""The publisher of one process: compile aside, swap in one step."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from attrs import evolve

from gateway.control.served import Served
from gateway.core.compiler import Compiler
from gateway.core.snapshot import Snapshot
from gateway.model.record import Change, Revision


class LocalPublisher:
    """Serves revisions to the runner of this process (``gateway.control.control.Publisher``)."""

    def __init__(
        self,
        compiler: Compiler,
        runner: Served,
        applied: Callable[[float], None] = lambda seconds: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            applied: Told how long each change took, compiling included, in seconds.
        """
        self._applied = applied
        self._monotonic = monotonic
        self._preparing_s = 0.0
        self._compiler = compiler
        self._runner = runner
        self._prepared: tuple[Sequence[Change], Snapshot] | None = None

    def prepare(self, changes: Sequence[Change]) -> None:
        """
        Compile *changes* on top of what is served; requests do not see it yet.

        Raises:
            ConfigErrors: the result cannot be served.
        """
        started = self._monotonic()
        served = self._runner.snapshot
        self._prepared = (changes, self._compiler.apply(served, changes, served.revision + 1))
        self._preparing_s = self._monotonic() - started

    async def publish(self, revision: Revision) -> None:
        """Serve *revision*, which was prepared last."""
        self.serve(revision.changes, revision.number)

    def serve(self, changes: Sequence[Change], revision: int) -> None:
        """
        Serve *changes* as *revision*, whether they were prepared or not.

        Raises:
            ConfigErrors: the result cannot be served.
        """
        started = self._monotonic()
        prepared, self._prepared = self._prepared, None
        served = self._runner.snapshot
        if prepared is not None and tuple(prepared[0]) == tuple(changes):
            snapshot = evolve(prepared[1], revision=revision)
            started -= self._preparing_s
        else:
            snapshot = self._compiler.apply(served, changes, revision)
        self._runner.snapshot = snapshot
        self._compiler.forget(changes)
        self._applied(self._monotonic() - started)
