"""Who may serve, and in which order of priority."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.core.picking import levels, serving
from gateway.model.upstream import Node


class ServingTests(SynchronousTestCase):
    def test_weights(self) -> None:
        """Nodes of weight 0 take no traffic, unless there is but one node."""
        for weights, expected in (((0,), [1]), ((3,), [3]), ((0, 0), []), ((0, 2), [2]), ((), [])):
            nodes = [Node("h", port, weight) for port, weight in enumerate(weights, 1)]
            self.assertEqual([node.weight for node in serving(nodes)], expected, weights)

    def test_levels(self) -> None:
        """Higher priorities come first; within one the order of configuration stays."""
        nodes = [Node("h", port, 1, priority) for port, priority in ((1, 0), (2, 5), (3, 0), (4, -1))]
        self.assertEqual([[node.port for node in level] for level in levels(nodes)], [[2], [1, 3], [4]])
