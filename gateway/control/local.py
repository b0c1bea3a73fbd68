"""The publisher of one process: compile aside, swap in one step."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Sequence

from attrs import evolve
from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from gateway.control.served import Served
from gateway.control.turns import Pause, held, in_turns
from gateway.core.compiler import Compiler
from gateway.core.snapshot import Snapshot
from gateway.core.steps import at_once
from gateway.model.problems import ConfigErrors
from gateway.model.record import Change, Revision
from gateway.secrets.source import SecretSource

log = Logger()


class LocalPublisher:
    """Serves revisions to the runner of this process (``gateway.control.control.Publisher``)."""

    def __init__(
        self,
        compiler: Compiler,
        runner: Served,
        applied: Callable[[float], None] = lambda seconds: None,
        monotonic: Callable[[], float] = time.monotonic,
        pause: Pause | None = None,
        secrets: SecretSource | None = None,
    ) -> None:
        """
        Args:
            applied: Told how long each change took, compiling included, in seconds.
            secrets: Knows what references stand for; it is told what is served.
            pause: Lets others have a turn while a large change is compiled; None: they wait.
        """
        self._applied = applied
        self._monotonic = monotonic
        self._pause = pause
        self._secrets = secrets
        if secrets is not None:
            secrets.on_change = self.refresh
        self._turn = DeferredLock()
        self._preparing_s = 0.0
        self._compiler = compiler
        self._runner = runner
        self._prepared: tuple[Sequence[Change], Snapshot] | None = None

    async def begin(self, loading: Awaitable[None]) -> None:
        """Wait for *loading*, which serves a whole configuration; changes come after it."""
        async with held(self._turn):
            await loading

    async def prepare(self, changes: Sequence[Change]) -> None:
        """
        Compile *changes* on top of what is served; requests do not see it yet.

        Raises:
            ConfigErrors: the result cannot be served.
        """
        async with held(self._turn):
            started = self._monotonic()
            more = await self._foreseen(changes)
            served = self._runner.snapshot
            snapshot = await self._compiled(served, (*changes, *more), served.revision + 1)
            self._prepared = (changes, snapshot)
            self._preparing_s = self._monotonic() - started

    async def publish(self, revision: Revision) -> None:
        """Serve *revision*, which was prepared last."""
        await self.serve(revision.changes, revision.number)

    async def serve(self, changes: Sequence[Change], revision: int) -> None:
        """
        Serve *changes* as *revision*, whether they were prepared or not; in the order of the calls.

        Raises:
            ConfigErrors: the result cannot be served.
        """
        async with held(self._turn):
            started = self._monotonic()
            prepared, self._prepared = self._prepared, None
            served = self._runner.snapshot
            if prepared is not None and tuple(prepared[0]) == tuple(changes):
                snapshot = evolve(prepared[1], revision=revision)
                started -= self._preparing_s
            else:
                more = await self._foreseen(changes)
                snapshot = await self._compiled(served, (*changes, *more), revision)
            self._runner.snapshot = snapshot
            self._compiler.forget(changes)
            if self._secrets is not None:
                self._secrets.follow(changes)
            self._applied(self._monotonic() - started)

    async def refresh(self, references: Collection[str]) -> None:
        """Compile anew what holds one of *references*: they stand for something else now."""
        async with held(self._turn):
            # What was prepared meanwhile was made with the old values.
            self._prepared = None
            for change in () if self._secrets is None else self._secrets.holding(references):
                served = self._runner.snapshot
                self._compiler.unbind([change])
                try:
                    self._runner.snapshot = await self._compiled(served, [change], served.revision)
                except ConfigErrors as errors:
                    key = "/".join(change.key)
                    log.error("{key} cannot use the secret it refers to: {why}", key=key, why=str(errors))

    async def _foreseen(self, changes: Sequence[Change]) -> Sequence[Change]:
        """Have the secrets that *changes* refer to. Returns what has to be compiled anew besides."""
        if self._secrets is None:
            return ()
        more = await self._secrets.foresee(changes)
        self._compiler.unbind((*changes, *more))
        return more

    async def settled(self) -> None:
        """Wait until everything is served that ``serve`` was told before."""
        async with held(self._turn):
            pass

    async def _compiled(self, served: Snapshot, changes: Sequence[Change], revision: int) -> Snapshot:
        steps = self._compiler.applying(served, changes, revision)
        if self._pause is None:
            return at_once(steps)
        return await in_turns(steps, self._pause, self._monotonic)
