"""The two ends of the line between the first process and a worker. See ``amp_commands``.

Neither end forgives: a command that fails in a worker is logged there and ends the connection,
and a connection that ends ends the worker. A worker that missed a change must not serve on.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.logger import Logger
from twisted.protocols.amp import AMP, BinaryBoxProtocol
from twisted.python.failure import Failure

from gateway.control import amp_commands as commands
from gateway.control.amp_commands import Packed, Unpacker

log = Logger()


class _Quiet(AMP):
    """AMP without its lines in the log for every connection."""

    def makeConnection(self, transport: Any) -> None:
        BinaryBoxProtocol.makeConnection(self, transport)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # Protocol has a default
        BinaryBoxProtocol.connectionLost(self, reason)
        self.transport = None


class Listener(Protocol):
    """Who listens to a worker: the first process's record of it."""

    def said_hello(self, pid: int, version: str) -> None:
        """It is there and waits for its settings."""

    def leaving(self) -> None:
        """It was told to stop by somebody else."""

    def link_lost(self) -> None:
        """It cannot be talked to any more."""


class WorkerLink(_Quiet):
    """
    The first process's end.

    Attributes:
        document: What came as ``Part``s, before the answer it belongs to.
    """

    def __init__(self, listener: Listener) -> None:
        super().__init__()
        self._listener = listener
        self._lost = False
        self.document = Unpacker()

    def send(self, command: type[Any], document: Packed | None = None, **arguments: Any) -> Deferred[Any]:
        """
        Send one command, behind its document if it has one.

        Returns:
            Fires with the response, or fails; for a command without a response with None, at once.
        """
        if self.transport is None or self._lost:
            failed: Deferred[Any] = Deferred()
            failed.errback(ConnectionDone("the worker is gone"))
            return failed
        for part in () if document is None else document.parts:
            self.callRemote(commands.Part, data=part)
        answered: Deferred[Any] | None = self.callRemote(command, **arguments)
        if answered is None:
            answered = Deferred()
            answered.callback(None)
        return answered

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # Protocol has a default
        """Every command without an answer fails first."""
        self._lost = True
        super().connectionLost(reason)
        self._listener.link_lost()

    @commands.Hello.responder
    def _hello(self, pid: int, version: str) -> dict[str, Any]:
        self._listener.said_hello(pid, version)
        return {}

    @commands.Part.responder
    def _part(self, data: bytes) -> dict[str, Any]:
        self.document.add(data)
        return {}

    @commands.Leaving.responder
    def _leaving(self) -> dict[str, Any]:
        self._listener.leaving()
        return {}


class Serving(Protocol):
    """What a worker does when it is told to. Whatever these raise ends it."""

    def configure(self, document: Any) -> None: ...

    async def load(self, revision: int, document: Any) -> None: ...

    async def apply(self, revision: int, document: Any) -> None: ...

    def socket(self, kind: str, descriptor: int) -> None:
        """Take a bound socket; the descriptor is the callee's to close."""

    async def serve(self) -> None: ...

    def report(self) -> dict[str, Any]:
        """``revision``, ``in_flight``, ``bugs``, ``serving``."""

    def inspect(self) -> dict[str, Any]:
        """What is so in this process (``gateway.telemetry.facts.ProcessFacts``); a JSON object."""

    def reopen(self) -> None: ...

    def reload(self, document: Any) -> None: ...

    def drain(self, grace_s: float) -> None: ...

    def orphaned(self) -> None:
        """The first process is gone, or nothing can be understood any more."""


def _done(work: Coroutine[Any, Any, None]) -> Deferred[dict[str, Any]]:
    """The empty response, once *work* has ended."""
    return Deferred.fromCoroutine(work).addCallback(lambda _: {})


class ParentLink(_Quiet):
    """The worker's end."""

    def __init__(self, serving: Serving, hello: Sequence[Any]) -> None:
        """
        Args:
            hello: Process id and version of the code.
        """
        super().__init__()
        self._serving = serving
        self._hello = hello
        self._document = Unpacker()

    def connectionMade(self) -> None:
        """Say hello."""
        pid, version = self._hello
        self.callRemote(commands.Hello, pid=pid, version=version).addErrback(lambda _: None)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # Protocol has a default
        """The end."""
        super().connectionLost(reason)
        self._serving.orphaned()

    def leave(self) -> None:
        """Say that this worker takes no more connections."""
        if self.transport is not None:
            self.callRemote(commands.Leaving)

    @commands.Part.responder
    def _part(self, data: bytes) -> dict[str, Any]:
        self._document.add(data)
        return {}

    @commands.Configure.responder
    def _configure(self) -> dict[str, Any]:
        self._serving.configure(self._document.take())
        return {}

    @commands.Load.responder
    def _load(self, revision: int) -> Deferred[dict[str, Any]]:
        return _done(self._serving.load(revision, self._document.take()))

    @commands.Apply.responder
    def _apply(self, revision: int) -> Deferred[dict[str, Any]]:
        return _done(self._serving.apply(revision, self._document.take()))

    @commands.Socket.responder
    def _socket(self, kind: str, descriptor: int) -> dict[str, Any]:
        self._serving.socket(kind, descriptor)
        return {}

    @commands.Serve.responder
    def _serve(self) -> Deferred[dict[str, Any]]:
        return _done(self._serving.serve())

    @commands.Report.responder
    def _report(self) -> dict[str, Any]:
        return self._serving.report()

    @commands.Inspect.responder
    def _inspect(self) -> dict[str, Any]:
        for part in commands.pack(self._serving.inspect()).parts:
            self.callRemote(commands.Part, data=part)
        return {}

    @commands.Reopen.responder
    def _reopen(self) -> dict[str, Any]:
        self._serving.reopen()
        return {}

    @commands.Reload.responder
    def _reload(self) -> dict[str, Any]:
        self._serving.reload(self._document.take())
        return {}

    @commands.Drain.responder
    def _drain(self, grace_s: float) -> dict[str, Any]:
        self._serving.drain(grace_s)
        return {}
