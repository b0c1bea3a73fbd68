"""Interleaved weighted round-robin.

A threshold starts at the greatest weight. Each walk over the members chooses those whose weight
reaches the threshold; after a walk it is lowered by the weights' greatest common divisor, and from
0 it starts again. Weights 5, 1, 1 give A A A A A B C; 3, 2, 1 give A A B A B C.

Any ``sum(weights) / gcd(weights)`` turns in a row hold each member ``weight / gcd(weights)`` times.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import gcd
from typing import Generic, TypeVar

Member = TypeVar("Member")


class RoundRobin(Generic[Member]):
    """
    One turn after another, for ever.

    A turn costs the same however many members there are, save for those that begin a walk on which
    more members take part than on the last one: these cost one look at each member.

    Source:
        Data-plane contract §7.2.
    """

    __slots__ = ("_active", "_count", "_index", "_joins_at", "_max", "_members", "_step", "_threshold")

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
        self._gather()
        self._index = skip % self._count if self._count else 0

    def _gather(self) -> None:
        """Find who takes part at this threshold."""
        threshold = self._threshold
        self._active = tuple([member for member, weight in self._members if weight >= threshold])
        # From this threshold on there are more of them; 0 if they are all in.
        self._joins_at = max([weight for _, weight in self._members if weight < threshold], default=0)
        self._count = len(self._active)

    def next(self) -> Member | None:
        """Whose turn it is; None if nobody has a weight."""
        index = self._index
        if index < self._count:
            self._index = index + 1
            return self._active[index]
        if not self._count:
            return None
        threshold = self._threshold - self._step
        if threshold <= 0:
            self._threshold = self._max
            if self._step != self._max:  # Else there is only one kind of walk.
                self._gather()
        else:
            self._threshold = threshold
            if threshold <= self._joins_at:
                self._gather()
        self._index = 1
        return self._active[0]
