"""What every way of picking promises, and weighted round-robin's own order."""

from __future__ import annotations

import copy
import random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway.core import balancer
from gateway.core.balancer import Picker
from gateway.model.upstream import Node, Upstream
from gateway.testing.exchanges import exchange

EXCHANGE = exchange()


def upstream(type: str, *weights: int, priorities: tuple[int, ...] = (), **more: Any) -> Upstream:
    """Nodes on ports 1, 2, 3, …; for chash the key is the path."""
    nodes = [
        {
            "host": "10.0.0.1",
            "port": port,
            "weight": weight,
            "priority": priorities[port - 1] if priorities else 0,
        }
        for port, weight in enumerate(weights, 1)
    ]
    key = {"key": "uri"} if type == "chash" else {}
    return Upstream.parse({"type": type, "nodes": nodes, **key, **more})


def key(port: int) -> str:
    return f"10.0.0.1:{port}"


def make_picker(definition: Upstream, previous: Picker | None = None) -> Picker:
    """A picker whose chance is the same in every run."""
    return balancer.make_picker(definition, previous, random=random.Random(7).random)


class PickerContract:
    """Every picker keeps these; ``type`` says which one."""

    type = ""

    def make(self, *weights: int, **more: Any) -> Picker:
        return make_picker(upstream(self.type, *weights, **more))

    def walk(self: Any, picker: Picker, path: str = "/") -> list[int]:
        """The ports tried for one request of which every try fails."""
        asked = exchange(target=path)
        tried: list[Node] = []
        while (node := picker.pick(tried, asked)) is not None:
            self.assertNotIn(node, tried)
            tried.append(node)
            if picker.done is not None:
                picker.done(node, asked, 0.1, False)
        return [node.port for node in tried]

    def used(self: Any, picker: Picker, requests: int = 400) -> set[int]:
        """The ports that requests are sent to, each answered."""
        ports = set()
        for number in range(requests):
            asked = exchange(target=f"/{number}")
            node = picker.pick((), asked)
            if node is None:
                return set()
            ports.add(node.port)
            if picker.done is not None:
                picker.done(node, asked, 0.1, True)
        return ports

    def test_every_node_once(self: Any) -> None:
        """A request whose tries all fail meets every node once, and then there is none left."""
        for path in ("/", "/a", "/b"):
            self.assertEqual(sorted(self.walk(self.make(3, 1, 2), path)), [1, 2, 3])

    def test_no_weight(self: Any) -> None:
        """A node of weight 0 takes no traffic, a single one does, and of several none does."""
        self.assertEqual(self.used(self.make(1, 0, 1)), {1, 3})
        self.assertEqual(self.used(self.make(0)), {1})
        self.assertEqual(self.used(self.make(0, 0)), set())

    def test_priorities(self: Any) -> None:
        """A lower priority waits until the higher one is used up, for a request or by bad health."""
        picker = self.make(1, 1, 9, priorities=(1, 1, 0))
        self.assertEqual(self.used(picker), {1, 2})
        walked = self.walk(picker)
        self.assertEqual((sorted(walked[:2]), walked[2]), ([1, 2], 3))
        picker.set_unhealthy([key(1)])
        self.assertEqual(self.used(picker), {2})
        picker.set_unhealthy([key(1), key(2)])
        self.assertEqual(self.used(picker), {3})

    def test_unhealthy(self: Any) -> None:
        """Unhealthy nodes are not used, come back, and are all used if they are all there is."""
        picker = self.make(1, 1, 1)
        picker.set_unhealthy([key(2)])
        self.assertEqual((self.used(picker), sorted(self.walk(picker))), ({1, 3}, [1, 3]))
        picker.set_unhealthy([key(1), key(2), key(3), "other:1"])
        self.assertEqual(self.used(picker), {1, 2, 3})
        picker.set_unhealthy([])
        self.assertEqual(self.used(picker), {1, 2, 3})

    def test_a_new_definition(self: Any) -> None:
        """What is unhealthy stays out when nodes are added, and is forgotten without checks."""
        checks = {"active": {}}
        first = make_picker(upstream(self.type, 1, 1, checks=checks))
        first.set_unhealthy([key(1)])
        more = make_picker(upstream(self.type, 1, 1, 1, checks=checks), first)
        self.assertEqual((more.unhealthy, self.used(more)), ({key(1)}, {2, 3}))
        self.assertEqual(self.used(make_picker(upstream(self.type, 1, 1), first)), {1, 2})

    def test_looking(self: Any) -> None:
        """``explain`` looks at a copy: that takes no turn and counts nothing."""
        picker = self.make(1, 2, 3)
        copy.deepcopy(picker).pick((), EXCHANGE)
        copied = copy.deepcopy(picker)
        self.assertEqual(self.walk(copied), self.walk(picker))


class RoundRobinTests(PickerContract, SynchronousTestCase):
    type = "roundrobin"

    def test_order(self) -> None:
        """Weights give the exact sequences that users know."""
        for weights, expected in (
            ((5, 1, 1), "AAAAABC"),
            ((3, 2, 1), "AABABC"),
            ((100, 100), "AB"),
            ((4, 2), "AAB"),
            ((3, 0, 1), "AAAC"),
        ):
            picker = self.make(*weights)
            nodes = [picker.pick((), EXCHANGE) for _ in range(2 * len(expected))]
            letters = "".join("ABC"[node.port - 1] for node in nodes if node is not None)
            self.assertEqual(letters, expected * 2)

    def test_costs_nothing(self) -> None:
        """Round-robin and chash do not ask how tries end, so that requests need not tell."""
        self.assertIsNone(self.make(1).done)
        self.assertIsNone(make_picker(upstream("chash", 1)).done)


class ConsistentHashTests(PickerContract, SynchronousTestCase):
    type = "chash"


class LeastConnectionsTests(PickerContract, SynchronousTestCase):
    type = "least_conn"

    def test_looking(self) -> None:
        """``explain`` looks at a copy, so the node it names is not busier for it."""
        picker = self.make(1, 1)
        copy.deepcopy(picker).pick((), EXCHANGE)
        loads: Any = picker
        self.assertEqual([load.active for load in loads.loads.values()], [0, 0])


class LatencyTests(PickerContract, SynchronousTestCase):
    type = "ewma"

    def test_looking(self) -> None:
        """``explain`` looks at a copy and leaves no measurement."""
        picker = self.make(1, 1)
        copy.deepcopy(picker).pick((), EXCHANGE)
        kept: Any = picker
        self.assertEqual([one.touched_s for one in kept.latencies.values()], [None, None])
