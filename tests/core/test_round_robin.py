"""Whose turn it is."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from math import gcd

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.core import round_robin as module
from gateway.core.round_robin import RoundRobin

WEIGHTS = st.lists(st.integers(0, 12), min_size=1, max_size=8).filter(any)


def by_the_book(weights: Sequence[int]) -> Iterator[int]:
    """The algorithm as the data-plane contract §7.2 tells it, word by word; positions of *weights*."""
    step, most = gcd(*weights), max(weights)
    threshold = most
    while True:
        for position, weight in enumerate(weights):
            if weight >= threshold:
                yield position
        threshold -= step
        if threshold <= 0:
            threshold = most


def turns(members: RoundRobin[int], count: int) -> list[int | None]:
    return [members.next() for _ in range(count)]


def letters(*weights: int, count: int = 0) -> str:
    members = RoundRobin(zip("ABCDEFG", weights, strict=False))
    return "".join(members.next() or "-" for _ in range(count or sum(weights) // gcd(*weights)))


class SequenceTests(SynchronousTestCase):
    def test_known_sequences(self) -> None:
        """The sequences users know, from the very first pick on."""
        self.assertEqual(letters(5, 1, 1), "AAAAABC")
        self.assertEqual(letters(3, 2, 1), "AABABC")
        self.assertEqual(letters(100, 100), "AB")
        self.assertEqual(letters(4, 2), "AAB")
        self.assertEqual(letters(3, 0, 1), "AAAC")
        self.assertEqual(letters(1, 3), "BBAB")

    def test_known_counts(self) -> None:
        """Twelve requests are shared exactly by weight."""
        for weights, counts in (
            ((1, 1), {"A": 6, "B": 6}),
            ((1, 1, 1), {"A": 4, "B": 4, "C": 4}),
            ((3, 2, 1), {"A": 6, "B": 4, "C": 2}),
            ((3, 0, 1), {"A": 9, "C": 3}),
        ):
            self.assertEqual(Counter(letters(*weights, count=12)), counts)

    def test_nobody(self) -> None:
        """Without members, or with weights of 0 only, there is no turn."""
        self.assertIsNone(RoundRobin[int]([]).next())
        self.assertEqual(turns(RoundRobin([(1, 0), (2, 0)]), 3), [None] * 3)

    @settings(deadline=None, max_examples=150)
    @given(WEIGHTS)
    def test_by_the_book(self, weights: list[int]) -> None:
        """The sequence is the contract's, whatever the weights."""
        count = 3 * sum(weights) + 1
        self.assertEqual(
            turns(RoundRobin(enumerate(weights)), count), list(islice(by_the_book(weights), count))
        )

    @settings(deadline=None, max_examples=50)
    @given(WEIGHTS)
    def test_by_the_book_with_nothing_kept(self, weights: list[int]) -> None:
        """It is the same where there are too many members to keep walks ready."""
        count = 2 * sum(weights) + 1
        self.patch(module, "_KEPT", 0)
        got = turns(RoundRobin(enumerate(weights)), count)
        self.assertEqual(got, list(islice(by_the_book(weights), count)))

    @settings(deadline=None, max_examples=150)
    @given(WEIGHTS, st.integers(0, 200), st.integers(0, 20))
    def test_any_window_is_exact(self, weights: list[int], offset: int, skip: int) -> None:
        """Any sum(weights)/gcd turns in a row hold each member weight/gcd times, wherever one begins."""
        step = gcd(*weights)
        members = RoundRobin(enumerate(weights), skip=skip)
        # After a skipped start the sequence is the same, begun later.
        turns(members, offset)
        window = Counter(turns(members, sum(weights) // step))
        self.assertEqual(window, Counter({i: weight // step for i, weight in enumerate(weights) if weight}))


class CostTests(SynchronousTestCase):
    def test_great_weights(self) -> None:
        """A node that outweighs the others 65535 times gets 65535 turns, and the others theirs."""
        members = RoundRobin([(0, 65535), *((i, 1) for i in range(1, 8))])
        got = turns(members, 65535 + 7)
        self.assertEqual(Counter(got), Counter({0: 65535, **dict.fromkeys(range(1, 8), 1)}))
        self.assertEqual(got[-8:], list(range(8)))

    def test_memory(self) -> None:
        """Many members of many weights do not take memory for every pair of them."""
        members = RoundRobin(enumerate(range(1, 501)))
        turns(members, 500 * 501 // 2)
        self.assertLessEqual(sum(len(walk) for walk in members._kept.values()), module._KEPT)


class CopyTests(SynchronousTestCase):
    def test_copies_go_on_alone(self) -> None:
        """A copy has the same turns to come, and taking them moves only the copy."""
        members = RoundRobin([(0, 3), (1, 2), (2, 1)])
        turns(members, 2)
        other = copy.deepcopy(members)
        self.assertEqual(turns(other, 6), turns(members, 6))

    def test_skip(self) -> None:
        """A sequence can begin at any member of its first walk."""
        members = [(0, 1), (1, 1), (2, 1)]
        self.assertEqual(turns(RoundRobin(members, skip=1), 4), [1, 2, 0, 1])
        self.assertEqual(turns(RoundRobin(members, skip=5), 4), [2, 0, 1, 2])
