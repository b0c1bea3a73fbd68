"""The one way to change the configuration: plan, compile, commit, serve, answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from attrs import frozen
from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger

from gateway.control.state import State
from gateway.errors import StoreUnavailable
from gateway.interfaces import Clock, IConfigStore
from gateway.model.record import Change, Revision

Plan = Callable[[State], Sequence[Change]]
"""Given the current state, the changes to make. May raise; then nothing is written."""


@frozen
class Written:
    """
    A finished write.

    Attributes:
        state: The state after it, being served by every worker.
        revision: What was committed; None if the plan had no changes.
    """

    state: State
    revision: Revision | None


class Publisher(Protocol):
    """Whoever serves the configuration: the data plane of this process, or all workers."""

    async def prepare(self, changes: Sequence[Change]) -> None:
        """Compile without serving. Raises ConfigErrors if it cannot be served."""

    async def publish(self, revision: Revision) -> None:
        """Serve it; returns once every worker does."""


class Control:
    """
    Serialises writes: each plan sees the state that its changes are committed to.

    Attributes:
        state: The configuration being served.
        store_reachable: Whether the store took the last write.
    """

    _log = Logger()

    def __init__(self, store: IConfigStore, publisher: Publisher, clock: Clock, state: State) -> None:
        self.state = state
        self.store_reachable = True
        self._store = store
        self._publisher = publisher
        self._clock = clock
        self._lock = DeferredLock()

    async def write(
        self, plan: Plan, *, author: str, reason: str | None = None, served: bool = True
    ) -> Written:
        """
        Make the changes of *plan*, and return once they are served.

        Args:
            plan: Called with the current state once it is this write's turn.
            author: Who asks; for the log of revisions. reason: Their words, if any.
            served: False to return once they are stored; they are served soon after.
        Raises:
            ConfigErrors: the result could not be served; nothing was written.
            StoreUnavailable: the store did not take it.
            Exception: whatever *plan* raises; nothing was written.
        """
        await self._lock.acquire()
        try:
            changes = tuple(plan(self.state))
            if not changes:
                self._lock.release()
                return Written(self.state, None)
            await self._publisher.prepare(changes)
            revision: Revision = await self._store.commit(
                changes, author=author, reason=reason, at=self._clock.time(), expected=self.state.revision
            )
            self.store_reachable = True
            state = self.state = self.state.after(revision)
        except BaseException as error:
            if isinstance(error, StoreUnavailable):
                self.store_reachable = False
            self._lock.release()
            raise
        publishing = Deferred.fromCoroutine(self._publish(revision))
        if served:
            await publishing
        else:
            publishing.addErrback(lambda failure: self._log.failure("a change is not served", failure))
        return Written(state, revision)

    async def _publish(self, revision: Revision) -> None:
        # The next write waits for this: revisions are served in their order.
        try:
            await self._publisher.publish(revision)
        finally:
            self._lock.release()
