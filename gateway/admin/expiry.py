"""Resources with a time to live (Admin API contract §4.4): they go by themselves, as a normal revision.

When a resource ends stands in a record of its own beside it, of the kind ``expiry``; so it outlives
a restart, goes with the resource, and there are never more of them than there are resources.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from attrs import field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from gateway.control.control import Plan
from gateway.control.state import State
from gateway.errors import GatewayError
from gateway.interfaces import Clock
from gateway.model.gateway_group import DEFAULT_GROUP
from gateway.model.problems import ConfigErrors
from gateway.model.record import Change, Key

KIND = "expiry"
MAX_TTL_S = 100 * 365 * 86400.0
"""A hundred years; longer is cut to it."""
_RETRY_S = 10.0
_LOOK_S = 3600.0
"""How long to wait at most: the clock may be set meanwhile."""

_log = Logger()

CallLater = Callable[..., IDelayedCall]
Removal = Callable[[State, Key], Sequence[Change]]
"""The changes that remove a resource together with what hangs on it; none if it is gone."""


def _id(key: Key) -> str:
    return f"{key[1]}/{key[2]}"


def with_expiries(state: State, changes: Sequence[Change], expires_at: float | None) -> Sequence[Change]:
    """
    Complete a commit: what it writes ends at *expires_at*, or never; what it removes needs no end.

    Args:
        expires_at: Unix seconds; None for never, whatever was asked for before.
    """
    more = []
    for change in changes:
        if change.kind == KIND:
            continue
        mark = (change.group, KIND, _id(change.key))
        if change.value is not None and expires_at is not None:
            more.append(Change(*mark, {"at": expires_at}))
        elif state.get(*mark) is not None:
            more.append(Change(*mark, None))
    if not more:
        return changes
    known = {change.key for change in changes}
    return [*changes, *(change for change in more if change.key not in known)]


def ends(state: State) -> Iterator[tuple[float, Key]]:
    """When each resource with a time to live ends, in unix seconds, and its key."""
    for group in {"", DEFAULT_GROUP, *state.all("", "gateway_group")}:
        for id, record in state.all(group, KIND).items():
            kind, _, own = id.partition("/")
            yield float(record.value["at"]), (group, kind, own)


class Writer(Protocol):
    """What ``Expiries`` needs of the resource service."""

    @property
    def state(self) -> State: ...

    async def expire(self, plan: Plan) -> object:
        """Commit a plan in the gateway's own name."""


@frozen(eq=False)
class Expiries:
    """
    Removes what has ended.

    Attributes:
        clock: Tells the time. call_later: As the reactor's ``callLater``.
    """

    writer: Writer
    clock: Clock
    call_later: CallLater
    removal: Removal
    _waiting: list[IDelayedCall] = field(factory=list)

    def follow(self) -> None:
        """To be called at the start, and after each commit that touched an expiry."""
        self.stop()
        first = min((at for at, _ in ends(self.writer.state)), default=None)
        if first is not None:
            self._wait(min(max(first - self.clock.time(), 0.0), _LOOK_S))

    def stop(self) -> None:
        """Wait no longer."""
        for call in self._waiting:
            if call.active():
                call.cancel()
        self._waiting.clear()

    def _wait(self, delay_s: float) -> None:
        self._waiting.append(self.call_later(delay_s, lambda: Deferred.fromCoroutine(self._sweep())))

    async def _sweep(self) -> None:
        def plan(state: State) -> Sequence[Change]:
            now = self.clock.time()
            found: dict[Key, Change] = {}
            for at, key in ends(state):
                if at <= now:
                    found.update((change.key, change) for change in self.removal(state, key))
                    found.setdefault((key[0], KIND, _id(key)), Change(key[0], KIND, _id(key), None))
            return list(found.values())

        try:
            await self.writer.expire(plan)
        except (GatewayError, ConfigErrors) as error:
            _log.error("what has ended could not be removed yet: {reason}", reason=str(error))
            self.stop()
            self._wait(_RETRY_S)
            return
        self.follow()
