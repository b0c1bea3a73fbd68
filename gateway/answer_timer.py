"""A limit of time for an answer, and a last look for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

LAST_LOOK_S = 0.05
"""An answer may wait unread while this process was held up: it is looked for once more."""


class AnswerTimer:
    """Waits for an answer until it is overdue."""

    __slots__ = ("_clock", "_overdue", "_timer")

    def __init__(self, clock: Any, limit_s: float, overdue: Callable[[], None]) -> None:
        """
        Args:
            clock: Provides ``IReactorTime``. limit_s: How long an answer may take.
            overdue: Called ``LAST_LOOK_S`` after that, unless it was stopped.
        """
        self._clock = clock
        self._overdue = overdue
        self._timer = clock.callLater(limit_s, self._look)

    def _look(self) -> None:
        self._timer = self._clock.callLater(LAST_LOOK_S, self._overdue)

    def stop(self) -> None:
        """The answer is there."""
        if self._timer.active():
            self._timer.cancel()
