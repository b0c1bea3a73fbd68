"""Interleaved weighted round-robin.

A threshold starts at the greatest weight. Each walk over the members chooses those whose weight
reaches the threshold; after a walk it is lowered by the weights' greatest common divisor, and from
0 it starts again. Weights 5, 1, 1 give A A A A A B C; 3, 2, 1 give A A B A B C.

Any ``sum(weights) / gcd(weights)`` turns in a row hold each member ``weight / gcd(weights)`` times.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from math import gcd
from typing import Generic, TypeVar

Member = TypeVar("Member")


_KEPT = 4096
"""Walks with fewer members than there are may be kept ready: up to this many places in all."""


class RoundRobin(Generic[Member]):
    """
    One turn after another, for ever.

    A turn costs the same however many members there are. Only with many members of many different
    weights do those turns cost one look at each member that begin a walk on which more members
    take part than on the last one.

    Source:
        Data-plane contract §7.2.
    """

    __slots__ = (
        "_active",
        "_count",
        "_index",
        "_joins_at",
        "_kept",
        "_max",
        "_members",
        "_places",
        "_step",
        "_threshold",
        "_weights",
    )

    def __init__(self, members: Iterable[tuple[Member, int]], *, skip: int = 0) -> None:
        """
        Args:
            members: Each with its weight, in the order to walk. Weights of 0 and less get no turn.
            skip: How many turns of the first walk to leave out; any number will do.
        """
        self._members = tuple((member, weight) for member, weight in members if weight > 0)
        weights = [weight for _, weight in self._members]
        self._step = gcd(*weights)
        self._max = self._threshold = max(weights, default=0)
        # By the greatest weight that takes no part (0: all do): who walks.
        self._kept: dict[int, tuple[Member, ...]] = {}
        self._places = 0
        self._weights = sorted({0, *weights})
        self._gather()
        self._index = skip % self._count if self._count else 0

    def _gather(self) -> None:
        """Find who walks at this threshold: those whose weight reaches it."""
        # The greatest weight that does not. From that threshold on more members take part.
        joins_at = self._weights[bisect_left(self._weights, self._threshold) - 1]
        active = self._kept.get(joins_at)
        if active is None:
            active = tuple([member for member, weight in self._members if weight > joins_at])
            if self._places + len(active) <= _KEPT:
                self._places += len(active)
                self._kept[joins_at] = active
        self._joins_at = joins_at
        self._active = active
        self._count = len(active)

    def next(self) -> Member | None:
        """Whose turn it is; None if nobody has a weight."""
        index = self._index
        if index < self._count:
            self._index = index + 1
            return self._active[index]
        if not self._count:
            return None
        self._index = 1
        self._threshold -= self._step
        if self._threshold <= 0:
            self._threshold = self._max
            if self._step != self._max:  # Else every walk is the same.
                self._gather()
        elif self._threshold <= self._joins_at:
            self._gather()
        return self._active[0]
