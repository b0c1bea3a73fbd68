"""Which node a try goes to."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.core import balancer as module
from gateway.core.balancer import Picker, WeightedRoundRobin, make_picker
from gateway.core.exchange import Exchange
from gateway.model.upstream import Node, Upstream
from gateway.testing.exchanges import exchange

ASKED: Exchange = exchange()


def node(name: str, weight: int = 1, priority: int = 0) -> Node:
    return Node(name, 80, weight, priority)


def nodes(**weights: int) -> list[Node]:
    return [node(name, weight) for name, weight in weights.items()]


def picks(picker: Picker, count: int, tried: Sequence[Node] = ()) -> str:
    """The names of the next *count* nodes; ``-`` where there is none."""
    found = [picker.pick(tried, ASKED) for _ in range(count)]
    return "".join("-" if one is None else one.host for one in found)


class FirstTryTests(SynchronousTestCase):
    def test_by_weight(self) -> None:
        """Nodes are picked by weight, beginning with the first one given."""
        self.assertEqual(picks(WeightedRoundRobin(nodes(A=5, B=1, C=1)), 8), "AAAAABCA")
        self.assertEqual(picks(WeightedRoundRobin(nodes(A=3, B=0, C=1)), 8), "AAACAAAC")

    def test_single_node(self) -> None:
        """A single node is served, also if its weight is 0."""
        for weight in (0, 1, 7):
            only = node("A", weight)
            picker = WeightedRoundRobin([only])
            self.assertIs(picker.pick((), ASKED), only)
            self.assertIs(picker.pick((), ASKED), only)

    def test_all_zero(self) -> None:
        """Several nodes that all weigh 0 are an upstream that is switched off."""
        self.assertEqual(picks(WeightedRoundRobin(nodes(A=0, B=0)), 2), "--")

    def test_no_nodes(self) -> None:
        """Without nodes nothing is picked."""
        self.assertEqual(picks(WeightedRoundRobin([]), 1), "-")

    def test_copies(self) -> None:
        """A copy of a picker tells what is next without taking the turn (explain does that)."""
        picker = WeightedRoundRobin(nodes(A=1, B=1))
        self.assertEqual(picks(copy.deepcopy(picker), 2), "AB")
        self.assertEqual(picks(picker, 2), "AB")


class RetryTests(SynchronousTestCase):
    def test_tried_nodes_are_skipped(self) -> None:
        """Each node is tried once, and then there is none left."""
        picker = WeightedRoundRobin(nodes(A=1, B=1, C=1))
        tried: list[Node] = []
        for _ in range(3):
            picked = picker.pick(tried, ASKED)
            assert picked is not None
            self.assertNotIn(picked, tried)
            tried.append(picked)
        self.assertIsNone(picker.pick(tried, ASKED))

    def test_weightless_nodes_are_not_tried(self) -> None:
        """A node that weighs 0 gets no retry either."""
        picker = WeightedRoundRobin(nodes(A=1, B=0))
        self.assertEqual(picks(picker, 1, [node("A")]), "-")

    def test_first_tries_do_not_notice(self) -> None:
        """Retries in between leave the sequence of first tries as it is."""
        picker = WeightedRoundRobin(nodes(A=3, B=2, C=1))
        got = ""
        for _ in range(6):
            got += picks(picker, 1)
            picks(picker, 1, [node("A", 3)])
        self.assertEqual(got, "AABABC")

    def test_retries_are_shared_by_weight(self) -> None:
        """What a dead node leaves is shared among the others by their weights."""
        picker = WeightedRoundRobin(nodes(A=5, B=2, C=1))
        self.assertEqual(picks(picker, 6, [node("A", 5)]), "BBCBBC")

    def test_the_same_address_twice(self) -> None:
        """An address that is listed twice is still tried once only."""
        picker = WeightedRoundRobin([node("A", 3), node("A", 1), node("B", 1)])
        self.assertEqual(picks(picker, 2, [node("A", 3)]), "BB")
        self.assertEqual(picks(picker, 1, [node("A", 3), node("B")]), "-")

    def test_bounded(self) -> None:
        """However many nodes fail in however many ways, memory stays bounded, and nobody gets every retry."""
        self.patch(module, "REMEMBERED_REMAINDERS", 2)
        every = nodes(A=1, B=1, C=1, D=1, E=1, F=1)
        picker = WeightedRoundRobin(every)
        got: Counter[str] = Counter()
        for _ in range(20):
            for down in every[:4]:
                got[picks(picker, 1, [down])] += 1
                self.assertLessEqual(len(picker._remainders), 2)
        self.assertEqual(set(got), set("ABCDEF"))
        self.assertLess(max(got.values()), 40)

    @settings(deadline=None, max_examples=100)
    @given(st.lists(st.tuples(st.integers(0, 4), st.integers(-1, 1)), min_size=2, max_size=6), st.data())
    def test_every_node_once(self, given_nodes: list[tuple[int, int]], data: st.DataObject) -> None:
        """A request that fails everywhere sees each node that has a weight once, higher priorities first."""
        every = [Node(f"n{i}", 80, weight, priority) for i, (weight, priority) in enumerate(given_nodes)]
        picker = WeightedRoundRobin(every)
        picks(picker, data.draw(st.integers(0, 10)))
        tried: list[Node] = []
        while (picked := picker.pick(tried, ASKED)) is not None:
            tried.append(picked)
        self.assertEqual(set(tried), {one for one in every if one.weight})
        self.assertEqual(len(tried), len(set(tried)))
        order = [one.priority for one in tried]
        self.assertEqual(order, sorted(order, reverse=True))


class PriorityTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.all = [node("a", 1, -1), node("A", 2, 1), node("b", 1, -1), node("B", 1, 1)]
        self.picker = WeightedRoundRobin(self.all)

    def test_higher_first(self) -> None:
        """As long as the higher level has nodes, the lower one gets nothing."""
        self.assertEqual(picks(self.picker, 6), "AABAAB")
        self.assertEqual(picks(self.picker, 2, [self.all[1]]), "BB")

    def test_lower_when_all_were_tried(self) -> None:
        """When every node of the higher level failed for a request, it goes to the lower level."""
        self.assertEqual(picks(self.picker, 3, [self.all[1], self.all[3]]), "aba")

    def test_lower_when_all_are_unhealthy(self) -> None:
        """When the whole higher level is unhealthy the lower one serves."""
        self.picker.set_unhealthy({"A:80", "B:80"})
        self.assertEqual(picks(self.picker, 3), "aba")


class HealthTests(SynchronousTestCase):
    def test_unhealthy_nodes_get_nothing(self) -> None:
        """A node that is known to be unhealthy is not picked, nor for a retry, until it is well again."""
        picker = WeightedRoundRobin(nodes(A=1, B=1, C=1))
        picker.set_unhealthy({"B:80"})
        self.assertEqual(picker.unhealthy, {"B:80"})
        self.assertEqual(picks(picker, 4), "ACAC")
        self.assertEqual(picks(picker, 2, [node("A")]), "CC")
        picker.set_unhealthy(())
        self.assertEqual(picks(picker, 3), "ABC")

    def test_fail_open(self) -> None:
        """If all nodes are unhealthy all are used."""
        picker = WeightedRoundRobin(nodes(A=1, B=1, C=0))
        picker.set_unhealthy({"A:80", "B:80"})
        self.assertEqual(picks(picker, 4), "ABAB")

    def test_no_news(self) -> None:
        """Being told the same again, or about nodes of others, does not begin the sequence anew."""
        picker = WeightedRoundRobin(nodes(A=1, B=1, C=1))
        picker.set_unhealthy({"C:80"})
        self.assertEqual(picks(picker, 1), "A")
        picker.set_unhealthy(["C:80", "elsewhere:80"])
        self.assertEqual(picks(picker, 1), "B")


class MakePickerTests(SynchronousTestCase):
    def upstream(self, **more: Any) -> Upstream:
        return Upstream.parse({"nodes": {"A:80": 2, "B:80": 1}, **more})

    def test_round_robin(self) -> None:
        """An upstream is balanced by weighted round-robin unless it says otherwise."""
        picker = make_picker(self.upstream())
        self.assertEqual(picks(picker, 3), "AAB")
