"""Consistent hashing: who owns a key, and who does not move."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from gateway.core.chash import MAX_POINTS, POINTS_PER_UNIT, ConsistentHash, Ring, key_of
from gateway.core.consumers import Identity, attach
from gateway.model.upstream import Node
from gateway.testing.exchanges import consumer, exchange

EXPECTED = [1, 2, 1, 2, 1, 1, 1, 3, 3, 2, 1, 3]
PLACES = [number * 0x9E3779B1 & 0xFFFFFFFF for number in range(500)]


def nodes(*weights: int) -> list[Node]:
    return [Node("10.0.0.1", port, weight) for port, weight in enumerate(weights, 1)]


def ports(ring: Ring, places: list[int] = PLACES) -> list[int]:
    return [ring.owner(place).port for place in places]


class RingTests(SynchronousTestCase):
    @settings(deadline=None, max_examples=40)
    @given(some.lists(some.integers(1, 65535), min_size=2, max_size=12, unique=True), some.data())
    def test_removing_a_node_moves_only_its_keys(self, numbers: list[int], data: some.DataObject) -> None:
        """Without a node, its keys go elsewhere and all others stay where they were."""
        gone = data.draw(some.sampled_from(numbers))
        whole = Ring([Node("h", number, 1) for number in numbers])
        rest = Ring([Node("h", number, 1) for number in numbers if number != gone])
        for before, after in zip(ports(whole), ports(rest), strict=True):
            if before == gone:
                self.assertNotEqual(after, gone)
            else:
                self.assertEqual(after, before)

    @settings(deadline=None, max_examples=30)
    @given(some.lists(some.integers(1, 9), min_size=2, max_size=8), some.data())
    def test_skipping_is_like_removing(self, weights: list[int], data: some.DataObject) -> None:
        """A node that is skipped loses its keys to the next one clockwise; nobody else's move."""
        ring = Ring(nodes(*weights))
        skipped = set(data.draw(some.sets(some.sampled_from(ring.nodes), max_size=len(weights) - 1)))
        lighter = ring.skipping(skipped)
        for place in PLACES[:100]:
            owner = ring.owner(place)
            self.assertEqual(lighter.owner(place), ring.owner_but(place, skipped))
            if owner not in skipped:
                self.assertEqual(lighter.owner(place), owner)

    def test_order_of_configuration(self) -> None:
        """Two gateways that list the nodes in another order agree."""
        some_nodes = nodes(1, 2, 3)
        self.assertEqual(ports(Ring(some_nodes)), ports(Ring(some_nodes[::-1])))

    def test_the_same_everywhere(self) -> None:
        """The choice is the same in every process, today and after an upgrade."""
        self.assertEqual(ports(Ring(nodes(1, 1, 1)), PLACES[:12]), EXPECTED)

    def test_shares(self) -> None:
        """Each node gets its weight's share of the keys, within a quarter."""
        counted = Counter(ports(Ring(nodes(1, 2, 1)), [n * 0x9E3779B1 & 0xFFFFFFFF for n in range(8000)]))
        for port, expected in ((1, 2000), (2, 4000), (3, 2000)):
            self.assertLess(abs(counted[port] - expected), expected / 4)

    def test_number_of_points(self) -> None:
        """160 points a unit of weight, weights by their common divisor, and never too many."""
        self.assertEqual(len(Ring(nodes(100, 200))), 3 * POINTS_PER_UNIT)
        large = Ring(nodes(65535, 1))
        self.assertLessEqual(len(large), MAX_POINTS)
        self.assertEqual({node.port for node in large._owners}, {1, 2})

    def test_the_ends(self) -> None:
        """Every place from 0 to 2**32 - 1 has an owner."""
        ring = Ring(nodes(1, 1))
        self.assertEqual(ring.owner(0xFFFFFFFF), ring.owner(0))
        self.assertIsNone(ring.owner_but(7, ring.nodes))


class KeyTests(SynchronousTestCase):
    def test_table(self) -> None:
        """The key is what the settings name; without a value it is the client's address."""
        asked = exchange(
            "GET",
            "/a?user=jack",
            [("X-Session", "s1"), ("cookie", "sid=c1; empty="), ("host", "a.example"), ("x-empty", "")],
            client_ip="192.0.2.7",
        )
        for hash_on, name, expected in (
            ("vars", "uri", b"/a"),
            ("vars", "arg_user", b"jack"),
            ("vars", "$arg_user", b"jack"),
            ("vars", "arg_nobody", b"192.0.2.7"),
            ("vars", "no_such_variable", b"192.0.2.7"),
            ("header", "X-Session", b"s1"),
            ("header", "x-empty", b"192.0.2.7"),
            ("cookie", "sid", b"c1"),
            ("cookie", "empty", b"192.0.2.7"),
            ("cookie", "other", b"192.0.2.7"),
            ("consumer", None, b"192.0.2.7"),
            ("vars_combinations", "$host$uri", b"a.example/a"),
            ("vars_combinations", "u-$arg_user-$arg_nobody", b"u-jack-"),
            ("vars_combinations", "u-$arg_nobody", b"192.0.2.7"),
        ):
            self.assertEqual(key_of(hash_on, name)(asked), expected, (hash_on, name))

    def test_consumer(self) -> None:
        """A consumer's requests go by its name."""
        asked = exchange()
        attach(asked, Identity(consumer("jack"), None, None))
        self.assertEqual(key_of("consumer", None)(asked), b"jack")

    def test_bytes_that_are_no_text(self) -> None:
        """A value that is not UTF-8 is a key like any other."""
        asked = exchange(headers=[("x-session", "\xff\xfe")])
        self.assertEqual(key_of("header", "X-Session")(asked), b"\xff\xfe")


class PickingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.picker = ConsistentHash(nodes(1, 1, 1, 1), "header", "x-session")
        self.asked = [exchange(headers=[("x-session", f"user{n}")]) for n in range(60)]

    def chosen(self) -> list[Any]:
        return [self.picker.pick((), asked) for asked in self.asked]

    def test_bad_health_moves_nobody_else(self) -> None:
        """While a node is out its keys go elsewhere, the others stay; then they come back."""
        before = self.chosen()
        self.picker.set_unhealthy(["10.0.0.1:2"])
        for old, new in zip(before, self.chosen(), strict=True):
            if old.port == 2:
                self.assertNotEqual(new.port, 2)
            else:
                self.assertEqual(new, old)
        self.picker.set_unhealthy([])
        self.assertEqual(self.chosen(), before)

    def test_a_retry_goes_where_the_key_would(self) -> None:
        """The second try goes to the node that takes the key over when the first is out."""
        before = self.chosen()
        self.picker.set_unhealthy(["10.0.0.1:2"])
        for asked, old, new in zip(self.asked, before, self.chosen(), strict=True):
            if old.port == 2:
                self.picker.set_unhealthy([])
                self.assertEqual(self.picker.pick([old], asked), new)
                self.picker.set_unhealthy(["10.0.0.1:2"])
