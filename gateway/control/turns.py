"""Long work in one process with others who want to be served meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from twisted.internet.defer import Deferred, DeferredLock

from gateway.core.steps import Steps

T = TypeVar("T")

Pause = Callable[[], Awaitable[object]]
"""Ends once everybody else had a turn."""

LEAST_S = 0.01
"""How long a turn is when nobody else has much to do."""


async def in_turns(steps: Steps[T], pause: Pause, monotonic: Callable[[], float]) -> T:
    """
    Do work in turns with others: no turn is shorter than theirs was, so it takes twice its time at most.

    Args:
        monotonic: Tells seconds.
    Returns:
        What was made.
    Raises:
        What a step raises.
    """
    turn_s = LEAST_S
    while True:
        until = monotonic() + turn_s
        while monotonic() < until:
            try:
                next(steps)
            except StopIteration as ended:
                made: T = ended.value
                return made
        paused = monotonic()
        await pause()
        turn_s = max(LEAST_S, monotonic() - paused)


def turn(call_later: Callable[..., object]) -> Deferred[None]:
    """
    Give everybody else a turn of the reactor.

    Args:
        call_later: As the reactor's.
    """
    waiting: Deferred[None] = Deferred()
    call_later(0, lambda: None if waiting.called else waiting.callback(None))
    return waiting


@asynccontextmanager
async def held(lock: DeferredLock) -> AsyncIterator[None]:
    """Hold a lock."""
    await lock.acquire()
    try:
        yield
    finally:
        lock.release()
