"""A worker: the data plane in a process of its own, as ``python -m gateway.worker`` starts it.

It is told everything by the process that started it (``gateway.control.amp_commands``), over the
socket pair it inherits, and writes nothing but the access log. When that process is gone it ends.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.logger import Logger, LogLevel, globalLogBeginner

from gateway import __version__
from gateway.control import amp_commands as commands
from gateway.control.local import LocalPublisher
from gateway.control.turns import turn
from gateway.control.worker_link import ParentLink
from gateway.control.worker_log import PipeObserver
from gateway.control.worker_process import COUNTERS, LINK
from gateway.counters.local import LocalCounters
from gateway.data_plane import DataPlane
from gateway.heap import settle
from gateway.http1 import reactor as lean
from gateway.parts import metrics_directory
from gateway.registry import load_plugins
from gateway.settings import Settings
from gateway.settings_text import from_text

log = Logger()

ORPHAN_GRACE_S = 2.0
"""What requests in flight get when the first process is gone without a word."""
ORPHAN_LIMIT_S = 5.0
"""And when the process ends, whatever still runs in it."""


class WorkerService:
    """Does what the first process says (``gateway.control.worker_link.Serving``)."""

    def __init__(
        self,
        reactor: Any,
        observer: PipeObserver,
        counters: LocalCounters | None = None,
        own_process: bool = False,
    ) -> None:
        """
        Args:
            counters: Those that all workers share.
            own_process: Whether this process is a worker and nothing else: its counts then go into files.
        """
        self._own_process = own_process
        self._reactor = reactor
        self._counters = counters
        self._observer = observer
        self._settings: Settings | None = None
        self._plane: DataPlane | None = None
        self._publisher: LocalPublisher | None = None
        self._sockets: list[tuple[str, socket.socket]] = []
        self._serving = False
        self._ending = False
        self.link = ParentLink(self, (os.getpid(), __version__))

    # -- what the first process says

    def configure(self, document: Any) -> None:
        """Take the settings and load the plugins."""
        settings = self._settings = from_text(document["settings"])
        self._observer.level = LogLevel.levelWithName(settings.log.level)
        plane = self._plane = DataPlane(
            settings,
            self._reactor,
            load_plugins(settings.plugins.enabled),
            self._counters,
            metrics_directory=str(metrics_directory(settings)) if self._own_process else None,
        )
        self._publisher = LocalPublisher(
            plane.compiler,
            plane.runner,
            plane.metrics.applied,
            pause=lambda: turn(self._reactor.callLater),
            secrets=plane.secrets,
        )

    async def load(self, revision: int, document: Any) -> None:
        """Compile all."""
        assert self._plane is not None
        assert self._publisher is not None
        records, damaged = commands.read_records(document)
        await self._publisher.begin(self._plane.load(records, revision, damaged))

    async def apply(self, revision: int, document: Any) -> None:
        """Compile a change and serve it. Raises ConfigErrors if that cannot be."""
        assert self._publisher is not None
        await self._publisher.serve(tuple(commands.read_changes(document)), revision)

    def socket(self, kind: str, descriptor: int) -> None:
        """Take a socket to listen at."""
        self._sockets.append((kind, socket.socket(fileno=descriptor)))

    async def serve(self) -> None:
        """Listen, once every change is served that came before."""
        assert self._plane is not None
        assert self._publisher is not None
        await self._publisher.settled()
        if self._ending:
            return
        if self._own_process:
            settle()
        for kind, one in self._sockets:
            with one:
                self._plane.adopt(kind, one)
        self._sockets.clear()
        self._serving = True

    def report(self) -> dict[str, Any]:
        """How it is."""
        runner = None if self._plane is None else self._plane.runner
        return {
            "revision": 0 if runner is None else runner.snapshot.revision,
            "in_flight": 0 if runner is None else runner.in_flight,
            "bugs": 0 if runner is None else runner.bugs,
            "serving": self._serving,
        }

    def inspect(self) -> dict[str, Any]:
        """What is so here."""
        return {} if self._plane is None else self._plane.facts().to_json()

    def reopen(self) -> None:
        """The access log's file may have been moved."""
        if self._plane is not None:
            self._plane.reopen_logs()

    def reload(self, document: Any) -> None:
        """Go on with other settings."""
        settings = from_text(document["settings"])
        self._observer.level = LogLevel.levelWithName(settings.log.level)
        if self._plane is not None:
            try:
                self._plane.reload(settings)
            except (OSError, ValueError):
                # They were fine where they were checked, a moment ago. What serves goes on.
                log.failure("the settings cannot be changed; the old ones are kept")
                return
        self._settings = settings

    def drain(self, grace_s: float) -> None:
        """End, gracefully."""
        if not self._ending:
            self._ending = True
            Deferred.fromCoroutine(self._end(grace_s)).addErrback(
                lambda failure: log.failure("ending failed", failure)
            )

    def orphaned(self) -> None:
        """End, soon: nobody can tell what is to be served."""
        # Even if a plugin holds up the reactor: a thread does not ask it.
        timer = threading.Timer(ORPHAN_LIMIT_S, os._exit, (1,))
        timer.daemon = True
        timer.start()
        if self._ending and self._plane is not None:
            for run in list(self._plane.runner.runs):
                run.stop()
        self.drain(ORPHAN_GRACE_S)

    # -- signals

    def leave(self) -> None:
        """SIGTERM to this process alone: another takes over, and this one ends what it has in flight."""
        if not self._ending:
            self.link.leave()
            self.drain(240.0 if self._settings is None else self._settings.gateway.shutdown_grace_s)

    async def _end(self, grace_s: float) -> None:
        plane = self._plane
        try:
            if plane is not None:
                await plane.stop_listening()
                await plane.drain(grace_s)
                await plane.close()
        finally:
            self._reactor.stop()


class _One(Factory):
    noisy = False

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: Any) -> Any:
        return self._protocol


def main() -> None:
    """Run until told to end. The one place that chooses a worker's reactor."""
    lean.install()
    from twisted.internet import reactor as installed

    reactor: Any = installed
    observer = PipeObserver(2)
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)
    os.set_inheritable(COUNTERS, False)
    counters = LocalCounters.adopt(COUNTERS, time.monotonic)
    service = WorkerService(reactor, observer, counters, own_process=True)
    # The first process tells its workers when the terminal says stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: reactor.callFromThread(service.leave))
    signal.signal(signal.SIGHUP, lambda *_: reactor.callFromThread(service.reopen))
    with socket.socket(fileno=LINK) as line:
        line.setblocking(False)
        line.set_inheritable(False)
        reactor.adoptStreamConnection(line.fileno(), socket.AF_UNIX, _One(service.link))
    reactor.run(installSignalHandlers=False)


if __name__ == "__main__":
    main()
