"""Least connections: the counts, and who gets the next request."""

from __future__ import annotations

from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from gateway.core.least_conn import LeastConnections
from gateway.model.upstream import Node
from gateway.testing.exchanges import exchange

ASKED = exchange()


def nodes(*weights: int, first: int = 1) -> list[Node]:
    return [Node("10.0.0.1", port, weight) for port, weight in enumerate(weights, first)]


def take(picker: LeastConnections, *tried: Node) -> Node:
    node = picker.pick(tried, ASKED)
    assert node is not None
    return node


class CountTests(SynchronousTestCase):
    def active(self, picker: LeastConnections) -> dict[str, int]:
        return {key: load.active for key, load in picker.loads.items()}

    def test_weights(self) -> None:
        """Requests that stay are spread by weight."""
        picker = LeastConnections(nodes(3, 1))
        counted = Counter(take(picker).port for _ in range(40))
        self.assertEqual(counted, {1: 30, 2: 10})

    def test_the_idle_node(self) -> None:
        """The node that ends its requests gets the next ones."""
        picker = LeastConnections(nodes(1, 1, 1))
        busy = [take(picker) for _ in range(3)]
        picker.done(busy[1], ASKED, 0.1, True)
        self.assertEqual(take(picker), busy[1])

    def test_equals_take_turns(self) -> None:
        """Requests one after another do not all go to the first node."""
        picker = LeastConnections(nodes(1, 1, 1))
        ports = []
        for _ in range(6):
            node = take(picker)
            picker.done(node, ASKED, 0.1, True)
            ports.append(node.port)
        self.assertEqual(ports, [1, 2, 3, 1, 2, 3])

    def test_a_new_definition(self) -> None:
        """Requests under way go on counting when the upstream changes, and end in the same count."""
        old = LeastConnections(nodes(1, 1))
        busy = take(old)
        new = LeastConnections(nodes(1, 1, 1), old)
        self.assertEqual(self.active(new), {"10.0.0.1:1": 1, "10.0.0.1:2": 0, "10.0.0.1:3": 0})
        self.assertEqual({take(new).port, take(new).port}, {2, 3})
        old.done(busy, ASKED, 0.1, True)
        self.assertEqual(take(new).port, 1)

    def test_removed_and_back(self) -> None:
        """A node that is removed and comes back is still as busy as it is."""
        first = LeastConnections(nodes(1, 1))
        busy = take(first)
        second = LeastConnections(nodes(1, first=2), first)
        third = LeastConnections(nodes(1, 1), second)
        self.assertEqual(self.active(third)[busy.key], 1)
        first.done(busy, ASKED, 0.1, None)
        self.assertEqual(self.active(third)[busy.key], 0)
        gone = LeastConnections(nodes(1, first=2), third)
        self.assertEqual(list(gone.loads), ["10.0.0.1:2"])

    def test_retry(self) -> None:
        """A retry goes to the least busy of the others."""
        picker = LeastConnections(nodes(1, 1, 1))
        busy = [take(picker) for _ in range(3)]
        picker.done(busy[2], ASKED, 0.1, False)
        self.assertEqual(take(picker, busy[0]), busy[2])

    def test_other_kinds(self) -> None:
        """An upstream that used another way before starts with no counts."""
        self.assertEqual(self.active(LeastConnections(nodes(1), object())), {"10.0.0.1:1": 0})
