"""One worker as the first process sees it, from the start of its process to its end."""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from gateway.answer_timer import AnswerTimer
from gateway.control import amp_commands as commands
from gateway.control.amp_commands import Packed
from gateway.control.slot import Slot
from gateway.control.worker_link import WorkerLink

log = Logger()

START_LIMIT_S = 60.0
"""From the start of a process to its hello, and from being told the configuration to serving it."""
STOP_MARGIN_S = 5.0
"""What workers get beyond the grace period before they are killed."""


class Process(Protocol):
    """A process that was started."""

    pid: int

    def kill(self) -> None:
        """End it at once. Harmless when it has ended."""


class Keeper(Protocol):
    """Whose worker it is: ``gateway.control.workers.Workers``."""

    clock: Any
    settings: Packed
    version: str

    def spawn(self, worker: Worker) -> Process:
        """Start its process: connects ``Worker.link``, calls ``Worker.exited`` once. Raises OSError."""

    def ready(self, worker: Worker) -> None: ...

    def serves(self, worker: Worker) -> None: ...

    def leaves(self, worker: Worker) -> None: ...

    def exited(self, worker: Worker, why: str) -> None: ...


class Worker:
    """
    One process, from its start to its end.

    Attributes:
        slot: Its place; None while it is the spare or when it leaves.
        told: Whether it was sent the configuration, so that it needs every change from then on.
        live: Whether it serves or is about to: writes wait for it.
        serving: Whether it has said that it listens.
        revision, in_flight, bugs: What it said last. facts: What it answered to ``inspect`` last.
    """

    def __init__(self, workers: Keeper) -> None:
        self.slot: Slot | None = None
        self.ready = False
        self.told = False
        self.live = False
        self.serving = False
        self.leaves = False
        self.ended = False
        self.revision = 0
        self.in_flight = 0
        self.bugs = 0
        self.served_at = 0.0
        self.facts: dict[str, Any] = {}
        self._beats: list[Deferred[None]] = []
        self._workers = workers
        self._clock = workers.clock
        self._unreachable = False
        self._waiting: list[Deferred[None]] = []
        self.link = WorkerLink(self)
        self.process = workers.spawn(self)
        self._timer: IDelayedCall | None = self._clock.callLater(START_LIMIT_S, self._too_slow)

    @property
    def name(self) -> str:
        """For the log."""
        what = "a spare worker" if self.slot is None else f"worker {self.slot.number}"
        return f"{what} (process {self.process.pid})"

    # -- what the process does

    def said_hello(self, pid: int, version: str) -> None:
        """It is there: tell it the settings, and more if a slot waits for it."""
        self._stop_timer()
        if version != self._workers.version:
            log.warn(
                "{worker} runs the code of version {theirs}, this process {ours}: restart the gateway",
                worker=self.name,
                theirs=version,
                ours=self._workers.version,
            )
        self.ready = True
        self.ask(commands.Configure, START_LIMIT_S, self._workers.settings)
        self._workers.ready(self)

    def leaving(self) -> None:
        """It was told to stop by a signal of its own."""
        self.leaves = True
        self.live = self.told = False
        self._workers.leaves(self)

    def link_lost(self) -> None:
        """Whoever cannot be told anything must not serve."""
        self._unreachable = True
        self.live = self.told = False
        self._stop_timer()
        if self.leaves:
            self._timer = self._clock.callLater(STOP_MARGIN_S, self.kill)
        else:
            self.kill()
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            deferred.callback(None)

    def exited(self, why: str) -> None:
        """The process has ended."""
        if not self.ended:
            self.ended = True
            self.live = self.told = False
            self._stop_timer()
            self._workers.exited(self, why)

    # -- what is done to it

    def ask(
        self, command: type[Any], limit_s: float, document: Packed | None = None, **arguments: Any
    ) -> Deferred[dict[str, Any] | None]:
        """
        Send a command that must be carried out.

        Returns:
            Fires with the response, or with None once the worker is gone: it is killed if it does
            not answer in time, or fails. Never fails.
        """
        result: Deferred[dict[str, Any] | None] = Deferred()

        def overdue() -> None:
            log.error(
                "{worker} did not answer {command} within {limit} s and is killed",
                worker=self.name,
                command=command.__name__,
                limit=limit_s,
            )
            self.kill()

        def over(response: Any) -> Any:
            timer.stop()
            return response

        def failed(failure: Failure) -> None:
            if self._unreachable:
                result.callback(None)
                return
            if not failure.check(ConnectionLost, ConnectionDone):
                log.error("{worker} could not {command}", worker=self.name, command=command.__name__)
            # The end of the link follows, for now it is killed; dead it is when that comes.
            self.kill()
            dead: Deferred[None] = Deferred()
            dead.addCallback(result.callback)
            self._waiting.append(dead)

        timer = AnswerTimer(self._clock, limit_s, overdue)
        sent = self.link.send(command, document, **arguments).addBoth(over)
        sent.addCallbacks(result.callback, failed)
        return result

    def tell(self, command: type[Any], document: Packed | None = None, **arguments: Any) -> None:
        """Send a command that has no answer."""
        self.link.send(command, document, **arguments).addErrback(lambda _: None)

    def kill(self) -> None:
        """End it at once."""
        if not self.ended:
            self.process.kill()

    def load(self, revision: int, document: Packed) -> None:
        """Tell it the whole configuration; it serves as soon as it has it."""
        self.told = True
        self.revision = revision
        self.ask(commands.Load, START_LIMIT_S, document, revision=revision).addCallback(self._loaded)

    def apply(self, revision: int, document: Packed, limit_s: float) -> Deferred[Any]:
        """Tell it a change."""
        asked = self.ask(commands.Apply, limit_s if self.live else START_LIMIT_S, document, revision=revision)
        return asked.addCallback(self._applied, revision)

    def _applied(self, response: Any, revision: int) -> None:
        if response is not None:
            self.revision = revision

    def _loaded(self, response: Any) -> None:
        slot = self.slot
        if response is None or slot is None or not self.told:
            return
        self.live = True
        for kind, one in slot.sockets:
            self.tell(commands.Socket, kind=kind, descriptor=one.fileno())
        self.ask(commands.Serve, START_LIMIT_S).addCallback(self._serves)

    def _serves(self, response: Any) -> None:
        if response is not None and self.live:
            self.serving = True
            self.served_at = self._clock.seconds()
            self._workers.serves(self)

    @property
    def silent(self) -> bool:
        """Whether it was asked how it is and has not answered yet."""
        return bool(self._beats)

    def beat(self, limit_s: float) -> Deferred[None]:
        """Ask how it is, one question at a time. Fires when it has answered or is gone."""
        beaten: Deferred[None] = Deferred()
        self._beats.append(beaten)
        if len(self._beats) == 1:
            self.ask(commands.Report, limit_s).addCallback(self._beaten)
        return beaten

    def _beaten(self, response: dict[str, Any] | None) -> None:
        if response is not None:
            self.in_flight, self.bugs = response["in_flight"], response["bugs"]
        beats, self._beats = self._beats, []
        for beaten in beats:
            beaten.callback(None)

    def inspect(self, limit_s: float) -> Deferred[None]:
        """Ask what is so in it. Fires when it has answered or is gone."""
        return self.ask(commands.Inspect, limit_s).addCallback(self._inspected)

    def _inspected(self, response: dict[str, Any] | None) -> None:
        if response is not None:
            self.facts = self.link.document.take()

    def _too_slow(self) -> None:
        self._timer = None
        log.error(
            "{worker} did not start within {limit} s and is killed", worker=self.name, limit=START_LIMIT_S
        )
        self.kill()

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
