"""Picking the node for a try. One picker a compiled upstream; its turn outlives other changes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from gateway.core.exchange import Exchange
from gateway.core.round_robin import RoundRobin
from gateway.model.upstream import Node, Upstream

_REMEMBERED_REMAINDERS = 256


class Picker(Protocol):
    """Chooses nodes."""

    def pick(self, tried: Sequence[Node], exchange: Exchange) -> Node | None:
        """
        Args:
            tried: Nodes already tried for this request; none is picked twice.
        Returns:
            The node for the next try, or None if there is none left.
        """


class WeightedRoundRobin:
    """
    Weighted round-robin with priority levels: a lower level is used only when every node of the
    higher ones was tried for this request, or is known to be unhealthy.

    Attributes:
        unhealthy: Keys of nodes not to be used. If that is all of them, all are used.
    """

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._all = tuple(nodes)
        self.unhealthy: frozenset[str] = frozenset()
        # Where several nodes all weigh 0 the upstream is switched off; a single one is served
        # nevertheless, as its users expect (data-plane contract §7.2).
        if len(self._all) == 1 and self._all[0].weight == 0:
            only = self._all[0]
            self._nodes: tuple[Node, ...] = (Node(only.host, only.port, 1, only.priority),)
        else:
            self._nodes = tuple(node for node in self._all if node.weight > 0)
        self._arrange()

    def set_unhealthy(self, keys: Iterable[str]) -> None:
        """Take nodes out, or back in; the turn starts anew."""
        self.unhealthy = frozenset(keys)
        self._arrange()

    def _arrange(self) -> None:
        usable = [node for node in self._nodes if node.key not in self.unhealthy] or list(self._nodes)
        self._levels = [
            [node for node in usable if node.priority == priority]
            for priority in sorted({node.priority for node in usable}, reverse=True)
        ]
        self._first = RoundRobin(self._levels[0] if self._levels else ())
        self._remainders: dict[frozenset[Node], RoundRobin] = {}

    def pick(self, tried: Sequence[Node], exchange: Exchange) -> Node | None:
        """See ``Picker.pick``."""
        if not tried:
            return self._first.next()
        # A retry takes its turn among the nodes that are left, without moving the main sequence.
        gone = frozenset(tried)
        remainder = self._remainders.get(gone)
        if remainder is None:
            left: list[Node] = []
            for level in self._levels:
                left = [node for node in level if node not in gone]
                if left:
                    break
            if len(self._remainders) >= _REMEMBERED_REMAINDERS:
                self._remainders.clear()
            remainder = self._remainders[gone] = RoundRobin(left)
        return remainder.next()


def make_picker(upstream: Upstream) -> Picker:
    """
    The picker for an upstream's ``type``.

    ``chash``, ``least_conn`` and ``ewma`` are served as weighted round-robin by this version.
    """
    return WeightedRoundRobin(upstream.nodes)
