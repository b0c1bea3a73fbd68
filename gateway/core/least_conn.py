"""Picking the node with the fewest requests under way, for its weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.core.exchange import Exchange
from gateway.core.picking import Levelled, levels
from gateway.model.upstream import Node


class Load:
    """How many requests a node is serving. One object a node, for all versions of its upstream."""

    __slots__ = ("active",)

    def __init__(self) -> None:
        self.active = 0


_Entry = tuple[Load, float, Node]


class LeastConnections(Levelled):
    """
    The node with the least ``(active + 1) / weight``; equals take turns.

    Attributes:
        loads: Node key → its load.
    Source:
        Data-plane contract §7.3.
    """

    def __init__(self, nodes: Sequence[Node], previous: object = None) -> None:
        """
        Args:
            previous: The upstream's last picker. If it is of this kind, the counts are shared
                with it: requests it picked for go on counting, and end there.
        """
        known: Mapping[str, Load] = previous.loads if isinstance(previous, LeastConnections) else {}
        # A node that was removed with requests under way may come back before they end.
        self.loads: dict[str, Load] = {key: load for key, load in known.items() if load.active}
        for node in nodes:
            self.loads[node.key] = known.get(node.key) or self.loads.get(node.key) or Load()
        self._start = 0
        super().__init__(nodes)
        # The node objects live as long as this does: their ids are theirs alone.
        self._load_of = {id(node): self.loads[node.key] for node in self._nodes}

    def _arrange(self) -> None:
        self._levels: list[list[_Entry]] = [
            [(self.loads[node.key], 1.0 / node.weight, node) for node in level]
            for level in levels(self._usable())
        ]
        # Twice in a row, so that a walk may start anywhere.
        self._first = self._levels[0] * 2 if self._levels else []
        self._count = len(self._first) // 2

    def pick(self, tried: Sequence[Node], exchange: Exchange) -> Node | None:
        """See ``Picker.pick``; the node counts as busier until ``done``."""
        if not tried:
            start, count = self._start, self._count
            entries = self._first[start : start + count]
            self._start = start + 1 if start + 1 < count else 0
        else:
            entries = []
            for level in self._levels:
                entries = [entry for entry in level if entry[2] not in tried]
                if entries:
                    break
        if not entries:
            return None
        best = entries[0]
        least = (best[0].active + 1) * best[1]
        for entry in entries:
            score = (entry[0].active + 1) * entry[1]
            if score < least:
                least, best = score, entry
        best[0].active += 1
        return best[2]

    def done(self, node: Node, exchange: Exchange, seconds: float, ok: bool | None) -> None:
        """See ``Picker.done``."""
        load = self._load_of[id(node)]
        if load.active > 0:
            load.active -= 1
