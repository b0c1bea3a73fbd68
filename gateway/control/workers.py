"""The first process's view of its workers: who is there, what each has acknowledged, who is replaced.

A worker's place is its **slot**: a number and a socket for each listening address. A process that
fills a slot is told the whole configuration, then listens. When it ends, a **spare** process that was
started beforehand takes its slot: what waits at the sockets waits a moment, not a start of Python.

A change is sent to every worker that knows the configuration and is awaited from those that serve.
Who does not acknowledge within ``timeout_s`` is killed: dead, it serves nothing stale.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from gateway.control import amp_commands as commands
from gateway.control.amp_commands import Packed
from gateway.control.shared_sockets import SharedAddress
from gateway.control.slot import Slot
from gateway.control.worker import STOP_MARGIN_S, Process, Worker
from gateway.errors import GatewayError

log = Logger()

START_TRIES = 3
"""When the gateway starts: how many workers may end before all serve. One more ends the start."""
STABLE_S = 10.0
"""A worker that served for so long had no part in what ends the next one."""
MAX_BACKOFF_S = 10.0
KEEP_SOCKETS_S = 1.0
"""When a slot stays empty for longer its sockets are closed, so that other workers get the connections."""
BEAT_S = 5.0
"""How often each worker is asked how it is. One that does not answer is killed like one that does not
acknowledge."""
REPORT_LIMIT_S = 1.0
"""How long a call for the status waits for workers."""


class WorkersFailed(GatewayError):
    """Workers end before they serve; the text has what was seen of the last one."""


Spawn = Callable[[Worker], Process]
"""``gateway.control.worker.Keeper.spawn``."""


class Workers:
    """
    All of them.

    Attributes:
        slots: Their places.
        settings: The document of ``Configure``. version: The code's.
        on_exit: Told the process id of each worker that has ended, and what it answered to ``inspect`` last.
    """

    def __init__(
        self,
        count: int,
        addresses: Sequence[SharedAddress],
        spawn: Spawn,
        clock: IReactorTime,
        *,
        settings: Packed,
        version: str,
        timeout_s: float,
    ) -> None:
        """
        Args:
            addresses: Where they listen; closed by ``stop``.
            timeout_s: How long a worker may take to acknowledge a change.
        """
        self.slots = [Slot(number + 1) for number in range(count)]
        self.spawn = spawn
        self.clock: Any = clock
        self.settings = settings
        self.version = version
        self._addresses = addresses
        self._timeout_s = timeout_s
        self._state: Callable[[], tuple[int, Any]] = lambda: (0, commands.records_document((), ()))
        self._packed: tuple[int, Packed] | None = None
        self._spare: Worker | None = None
        self._spare_failures = 0
        self._spare_timer: IDelayedCall | None = None
        self._all: set[Worker] = set()
        self._started: Deferred[None] | None = None
        self._early_ends = 0
        self._stopped: Deferred[None] | None = None
        self.on_exit: Callable[[int, Mapping[str, Any]], None] = lambda pid, facts: None
        self._beats = LoopingCall(self._beat)
        self._beats.clock = clock

    # -- start

    def start(self, state: Callable[[], tuple[int, Any]]) -> Deferred[None]:
        """
        Start all.

        Args:
            state: Tells the revision and the ``records_document`` to load. Called whenever a worker
                starts; ``broadcast`` must follow each change of what it returns, in the same turn
                of the reactor.
        Returns:
            Fires once all serve; fails with WorkersFailed if they end instead.
        """
        self._state = state
        started = self._started = Deferred()
        for slot in self.slots:
            self._fill(slot)
        self._beats.start(BEAT_S, now=False)
        return started

    def _fill(self, slot: Slot) -> None:
        slot.timer = None
        if self._stopped is not None:
            return
        try:
            if not slot.sockets:
                slot.sockets = [(address.kind, address.open()) for address in self._addresses]
            worker = self._spare or self._spawned()
        except OSError as error:
            log.error("worker {number} cannot be started: {why}", number=slot.number, why=str(error))
            self._later(slot)
            return
        self._spare = None
        worker.slot, slot.worker = slot, worker
        if worker.ready:
            self._load(worker)

    def _spawned(self) -> Worker:
        worker = Worker(self)
        self._all.add(worker)
        return worker

    def _load(self, worker: Worker) -> None:
        revision, document = self._state()
        if self._packed is None or self._packed[0] != revision:
            self._packed = (revision, commands.pack(document))
        worker.load(revision, self._packed[1])

    def _add_spare(self) -> None:
        self._spare_timer = None
        if self._stopped is None and self._spare is None:
            try:
                self._spare = self._spawned()
            except OSError as error:
                log.error("a spare worker cannot be started: {why}", why=str(error))
                self._spare_later()

    def _spare_later(self) -> None:
        self._spare_failures += 1
        if self._spare_timer is None:
            self._spare_timer = self.clock.callLater(_backoff_s(self._spare_failures), self._add_spare)

    # -- what workers do

    def ready(self, worker: Worker) -> None:
        """It has its settings."""
        if worker.slot is not None:
            self._load(worker)
        else:
            self._spare_failures = 0

    def serves(self, worker: Worker) -> None:
        """It listens."""
        assert worker.slot is not None
        if worker.slot.restarts:
            log.info("{worker} serves", worker=worker.name)
        if not all(slot.worker is not None and slot.worker.serving for slot in self.slots):
            return
        # What every worker was told once is kept no longer than the start takes.
        self._packed = None
        if self._started is not None:
            started, self._started = self._started, None
            started.callback(None)
        if self._spare is None and self._spare_timer is None:
            self._add_spare()

    def leaves(self, worker: Worker) -> None:
        """It ends what it has in flight; another takes its place now."""
        slot, worker.slot = worker.slot, None
        if slot is not None and self._stopped is None:
            log.info("worker {number} leaves and is replaced", number=slot.number)
            slot.worker = None
            slot.restarts += 1
            self._fill(slot)
        elif worker is self._spare:
            self._spare = None
            self._spare_later()

    def exited(self, worker: Worker, why: str) -> None:
        """It is gone."""
        self._all.discard(worker)
        self.on_exit(worker.process.pid, worker.facts)
        if self._stopped is not None:
            if not self._all:
                self._finished()
            return
        slot = worker.slot
        if slot is None:
            if worker is self._spare:
                log.error("{worker} ended: {why}", worker=worker.name, why=why)
                self._spare = None
                self._spare_later()
            return
        log.error("{worker} ended: {why}", worker=worker.name, why=why)
        slot.worker = None
        if self._started is not None:
            self._early_ends += 1
            if self._early_ends > START_TRIES:
                started, self._started = self._started, None
                started.errback(WorkersFailed(f"worker processes end before they serve: {why}"))
                return
        if worker.serving and self.clock.seconds() - worker.served_at >= STABLE_S:
            slot.failures = 0
        slot.restarts += 1
        self._later(slot)

    def _later(self, slot: Slot) -> None:
        slot.failures += 1
        if slot.failures == 1:
            self._fill(slot)
            return
        delay_s = _backoff_s(slot.failures - 1)
        if delay_s > KEEP_SOCKETS_S:
            slot.close_sockets()
        slot.timer = self.clock.callLater(delay_s, self._fill, slot)

    # -- what is asked of them

    def broadcast(self, revision: int, document: Any) -> Deferred[Any]:
        """
        Tell all a change.

        Args:
            document: ``changes_document``.
        Returns:
            Fires once every worker that serves has acknowledged it or is gone.
        """
        told = [worker for worker in self._all if worker.told]
        if not told:
            return succeed(None)
        packed = commands.pack(document)
        # Workers that do not serve yet get it in its turn, before they do: nobody waits for them.
        answers = [(worker.live, worker.apply(revision, packed, self._timeout_s)) for worker in told]
        return DeferredList([answer for live, answer in answers if live])

    def _beat(self) -> None:
        for worker in self._all:
            ends = worker.told and self._stopped is not None
            waits = worker is self._spare and worker.ready
            if (worker.live or ends or waits) and not worker.silent:
                worker.beat(self._timeout_s)

    async def report(self) -> list[dict[str, Any]]:
        """
        How each is, for ``/api/status``.

        Returns:
            For each slot ``worker``, its number; ``pid``, None while it is empty; ``serving``;
            ``served_revision``; ``in_flight``; ``bugs``; ``restarts``; and ``responding``, false for one
            that did not answer at once: its numbers are the last it told.
        """
        await self._soon(
            [worker.beat(self._timeout_s) for worker in self._all if worker.live and worker.slot is not None]
        )
        return [_row(slot) for slot in self.slots]

    async def inspect(self) -> dict[int, dict[str, Any]]:
        """
        What is so in each worker that serves, by its number.

        Returns:
            What ``Serving.inspect`` says; of one that does not answer at once, what it said last.
        """
        serving = self.serving
        await self._soon([worker.inspect(self._timeout_s) for worker in serving])
        return {
            worker.slot.number: worker.facts for worker in serving if worker.slot is not None and worker.facts
        }

    @property
    def restarts(self) -> int:
        """How often a worker was replaced."""
        return sum(slot.restarts for slot in self.slots)

    async def _soon(self, asked: Sequence[Deferred[None]]) -> None:
        """Wait until all have answered, but no longer than ``REPORT_LIMIT_S``."""
        enough: Deferred[None] = Deferred()
        timer = self.clock.callLater(REPORT_LIMIT_S, enough.callback, None)

        def answered(_: Any) -> None:
            if timer.active():
                timer.cancel()
                enough.callback(None)

        DeferredList(asked).addCallback(answered)
        await enough

    @property
    def serving(self) -> list[Worker]:
        """Those that serve."""
        return [slot.worker for slot in self.slots if slot.worker is not None and slot.worker.serving]

    def reopen(self) -> None:
        """Have all open their log files anew."""
        for worker in self._all:
            if worker.ready:
                worker.tell(commands.Reopen)

    def reload(self, settings: Packed, timeout_s: float) -> None:
        """
        Have all go on with other settings, those included that are started later.

        Args:
            settings: As ``Configure`` takes them. timeout_s: As in the constructor.
        """
        self.settings = settings
        self._timeout_s = timeout_s
        for worker in self._all:
            # One that has only begun is told the same again when it says hello.
            worker.tell(commands.Reload, settings)

    # -- stop

    def stop(self, grace_s: float, closing_s: float = 0.0) -> Deferred[None]:
        """
        Have all end what is in flight, and end.

        Args:
            grace_s: For what is in flight. closing_s: What they may need after that, for log entries that are
                left, say.
        Returns:
            Fires once no process is left; those that last are killed.
        """
        stopped = self._stopped = Deferred()
        self._started = None
        for timer in (self._spare_timer, *(slot.timer for slot in self.slots)):
            if timer is not None and timer.active():
                timer.cancel()
        for worker in list(self._all):
            worker.leaves = True
            if worker.told:
                worker.live = False
                worker.tell(commands.Drain, grace_s=float(grace_s))
            elif worker.slot is not None or worker is self._spare:
                worker.kill()
        for slot in self.slots:
            slot.close_sockets()
        for address in self._addresses:
            address.close()
        if not self._all:
            self._finished()
        else:
            limit = self.clock.callLater(grace_s + closing_s + STOP_MARGIN_S, self._kill_all)
            stopped.addBoth(lambda _: limit.cancel() if limit.active() else None)
        return stopped

    def _kill_all(self) -> None:
        for worker in list(self._all):
            log.error("{worker} did not end in time and is killed", worker=worker.name)
            worker.kill()

    def _finished(self) -> None:
        stopped = self._stopped
        if self._beats.running:
            self._beats.stop()
        if stopped is not None and not stopped.called:
            stopped.callback(None)


def _backoff_s(failures: int) -> float:
    return float(min(0.25 * 2 ** min(failures - 1, 10), MAX_BACKOFF_S))


def _row(slot: Slot) -> dict[str, Any]:
    worker = slot.worker
    row: dict[str, Any] = {"worker": slot.number, "pid": None, "serving": False, "restarts": slot.restarts}
    if worker is not None:
        row.update(
            pid=worker.process.pid,
            serving=worker.serving,
            responding=worker.serving and not worker.silent,
            served_revision=worker.revision,
            in_flight=worker.in_flight,
            bugs=worker.bugs,
        )
    return row
