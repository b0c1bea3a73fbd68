"""Starting a worker's process: ``python -m gateway.worker`` with one end of a socket pair."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from typing import Any

from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import Factory, ProcessProtocol
from twisted.python.failure import Failure

from gateway.control.worker import Worker
from gateway.control.worker_log import PipeReader

LINK = 3
"""The worker's descriptor of its end of the pair."""
COUNTERS = 4
"""And of the memory that holds the counters all workers share."""


class WorkerProcess(ProcessProtocol):
    """
    One process (``gateway.control.worker.Process``).

    Attributes:
        pid: Its id.
    """

    pid = 0

    def __init__(self, exited: Callable[[str], None], log: PipeReader, ended: Callable[[], None]) -> None:
        self._exited = exited
        self._log = log
        self._ended = ended

    @classmethod
    def start(
        cls, worker: Worker, reactor: Any, *, counters: int, ended: Callable[[], None]
    ) -> WorkerProcess:
        """
        Start one and connect ``worker.link`` to it.

        Args:
            counters: The descriptor of the counters. ended: Called when the process is no more.
        Raises:
            OSError: the system does not start it.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with ours, theirs, open(os.devnull, "rb") as nothing, open(os.devnull, "wb") as nowhere:
            ours.setblocking(False)
            process = cls(worker.exited, PipeReader(lambda: worker.name), ended)
            reactor.spawnProcess(
                process,
                sys.executable,
                [sys.executable, "-P", "-m", "gateway.worker"],
                env=_environment(),
                childFDs={
                    0: nothing.fileno(),
                    # The access log may go there.
                    1: 1 if _is_open(1) else nowhere.fileno(),
                    2: "r",
                    LINK: theirs.fileno(),
                    COUNTERS: counters,
                },
            )
            reactor.adoptStreamConnection(ours.fileno(), ours.family, _One(worker.link))
        return process

    def kill(self) -> None:
        """SIGKILL."""
        try:
            self.transport.signalProcess("KILL")  # type: ignore[union-attr]  # set by spawnProcess
        except ProcessExitedAlready:
            pass

    # -- from the reactor

    def connectionMade(self) -> None:
        """It is started."""
        self.pid = self.transport.pid  # type: ignore[union-attr]

    def errReceived(self, data: bytes) -> None:
        """It logs."""
        self._log.received(data)

    def processExited(self, reason: Failure) -> None:
        """It has ended; its last words may follow."""
        self._ended()
        words = f" ({self._log.last})" if self._log.last and getattr(reason.value, "exitCode", None) else ""
        self._exited(_why(reason) + words)

    def processEnded(self, reason: Failure) -> None:
        """And nothing follows."""
        self._log.ended()


class _One(Factory):
    noisy = False

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: Any) -> Any:
        return self._protocol


def _environment() -> dict[str, str]:
    """This process's, with its module path: twistd adds to that what is nowhere in the environment."""
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
    return {**os.environ, "PYTHONPATH": path}


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _why(reason: Failure) -> str:
    status: Any = reason.value
    if getattr(status, "signal", None) is not None:
        return f"signal {status.signal}"
    return f"exit status {getattr(status, 'exitCode', None)}"
