"""Moving averages of latency, and picking by them."""

from __future__ import annotations

from collections.abc import Iterator
from math import exp
from random import Random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gateway.core.ewma import FAILED_S, FastestOfTwo, Latency
from gateway.model.upstream import Node
from gateway.testing.exchanges import exchange

ASKED = exchange()


class LatencyTests(SynchronousTestCase):
    def test_fades(self) -> None:
        """An average counts 1/e after ten seconds, and nothing after sixty."""
        latency = Latency()
        self.assertEqual(latency.at(0.0), 0.0)
        latency.add(2.0, 100.0)
        for age, expected in ((0, 2.0), (10, 2.0 * exp(-1)), (59.9, 2.0 * exp(-5.99)), (60, 0.0), (-5, 2.0)):
            self.assertAlmostEqual(latency.at(100.0 + age), expected)

    def test_average(self) -> None:
        """A new measurement counts the more, the longer ago the last one was."""
        for age, kept in ((0.0, 1.0), (10.0, exp(-1)), (60.0, 0.0)):
            latency = Latency()
            latency.add(1.0, 0.0)
            latency.add(3.0, age)
            self.assertAlmostEqual(latency.seconds, kept + 3.0 * (1 - kept))


class PickTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.nodes = [Node("10.0.0.1", port, 1) for port in (1, 2, 3)]
        self.drawn: Iterator[float] = iter(())

    def make(self, nodes: list[Node], previous: object = None) -> FastestOfTwo:
        return FastestOfTwo(nodes, previous, now=self.clock.seconds, random=lambda: next(self.drawn))

    def port(self, picker: FastestOfTwo, *draws: float, tried: tuple[Node, ...] = ()) -> int:
        self.drawn = iter(draws)
        node = picker.pick(tried, ASKED)
        assert node is not None
        return node.port

    def test_the_faster_of_two(self) -> None:
        """Two different nodes are drawn, and the faster one is used."""
        picker = self.make(self.nodes)
        for node, seconds in zip(self.nodes, (0.3, 0.1, 0.2), strict=True):
            picker.done(node, ASKED, seconds, True)
        for draws, expected in (((0.0, 0.0), 2), ((0.0, 0.99), 3), ((0.4, 0.6), 2), ((0.99, 0.0), 3)):
            self.assertEqual(self.port(picker, *draws), expected, draws)

    def test_two_are_never_the_same(self) -> None:
        """Whatever is drawn, the slowest node is never used: it always has a faster rival."""
        picker = self.make(self.nodes)
        random = Random(7)
        for node, seconds in zip(self.nodes, (0.3, 0.1, 0.2), strict=True):
            picker.done(node, ASKED, seconds, True)
        ports = {self.port(picker, random.random(), random.random()) for _ in range(200)}
        self.assertEqual(ports, {2, 3})

    def test_a_retry(self) -> None:
        """A retry takes one of the others, without drawing if there is one."""
        picker = self.make(self.nodes)
        self.assertEqual(self.port(picker, tried=tuple(self.nodes[:2])), 3)

    def test_refusing_is_not_fast(self) -> None:
        """A node that fails at once is worse than one that answers slowly."""
        picker = self.make(self.nodes[:2])
        picker.done(self.nodes[0], ASKED, 0.001, False)
        picker.done(self.nodes[1], ASKED, FAILED_S / 2, True)
        self.assertEqual(self.port(picker, 0.0, 0.0), 2)

    def test_clients_that_leave(self) -> None:
        """A client that leaves soon says nothing; one that waited long says the node is slow."""
        picker = self.make(self.nodes[:2])
        for node in self.nodes[:2]:
            picker.done(node, ASKED, 0.1, True)
        self.clock.advance(1)
        picker.done(self.nodes[0], ASKED, 0.01, None)
        self.assertAlmostEqual(picker.latencies["10.0.0.1:1"].seconds, 0.1)
        picker.done(self.nodes[0], ASKED, 30.0, None)
        self.assertEqual(self.port(picker, 0.0, 0.0), 2)

    def test_a_new_definition(self) -> None:
        """Measurements are kept by node when the upstream changes; requests under way add to them."""
        old = self.make(self.nodes[:2])
        new = self.make(self.nodes, old)
        old.done(self.nodes[0], ASKED, 0.5, True)
        self.assertEqual(new.latencies["10.0.0.1:1"].seconds, 0.5)
        self.assertIsNone(new.latencies["10.0.0.1:3"].touched_s)
