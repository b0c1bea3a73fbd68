"""Interleaved weighted round-robin over fixed nodes.

A threshold starts at the greatest weight. Each walk over the nodes chooses those whose weight reaches
the threshold; after a walk it is lowered by the weights' greatest common divisor, and from 0 it
starts again. Weights 5, 1, 1 give A A A A A B C.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

from gateway.model.upstream import Node


class RoundRobin:
    """
    One turn after another; the first pick is the first node of the greatest weight.

    Source:
        Data-plane contract §7.2.
    """

    __slots__ = ("_index", "_max", "_nodes", "_step", "_threshold")

    def __init__(self, nodes: Sequence[Node]) -> None:
        """
        Args:
            nodes: In the order to walk; those of weight 0 are never picked.
        """
        self._nodes = tuple(node for node in nodes if node.weight > 0)
        weights = [node.weight for node in self._nodes]
        self._step = gcd(*weights)
        self._max = self._threshold = max(weights, default=0)
        self._index = 0

    def next(self) -> Node | None:
        """The node whose turn it is; None if there is no node with a weight."""
        nodes = self._nodes
        count = len(nodes)
        if count == 1:
            return nodes[0]
        if not count:
            return None
        index, threshold = self._index, self._threshold
        # The node of the greatest weight is reached on every walk, so this ends within one.
        while True:
            if index == count:
                index = 0
                threshold -= self._step
                if threshold <= 0:
                    threshold = self._max
            node = nodes[index]
            index += 1
            if node.weight >= threshold:
                self._index, self._threshold = index, threshold
                return node
