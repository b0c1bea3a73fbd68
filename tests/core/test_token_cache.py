"""Tests for gateway.core.token_cache."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.core.token_cache import TokenCache


class TokenCacheTests(SynchronousTestCase):
    def test_keeps_the_latest(self) -> None:
        """When it is full, the entry that was not used for longest goes."""
        cache: TokenCache[str, int] = TokenCache(2)
        cache.put("a", 1)
        cache.put("b", 2)
        self.assertEqual(cache.get("a"), 1)
        cache.put("c", 3)
        self.assertEqual([cache.get(key) for key in "abc"], [1, None, 3])

    def test_replaces(self) -> None:
        """Putting an entry again replaces it and counts as a use."""
        cache: TokenCache[str, int] = TokenCache(2)
        for key, value in (("a", 1), ("b", 2), ("a", 3), ("c", 4)):
            cache.put(key, value)
        self.assertEqual([cache.get(key) for key in "abc"], [3, None, 4])

    def test_off(self) -> None:
        """With a limit of 0 nothing is kept."""
        cache: TokenCache[str, int] = TokenCache(0)
        cache.put("a", 1)
        self.assertEqual((len(cache), cache.get("a")), (0, None))

    def test_discard(self) -> None:
        """A discarded entry is gone; discarding what is not there is harmless."""
        cache: TokenCache[str, int] = TokenCache(2)
        cache.put("a", 1)
        cache.discard("a")
        cache.discard("a")
        self.assertIsNone(cache.get("a"))

    def test_resize(self) -> None:
        """A smaller limit drops the least used entries at once; a larger one keeps all."""
        cache: TokenCache[int, int] = TokenCache(4)
        for key in range(4):
            cache.put(key, key)
        cache.get(0)
        cache.resize(2)
        self.assertEqual([cache.get(key) for key in range(4)], [0, None, None, 3])
        cache.resize(3)
        cache.put(9, 9)
        self.assertEqual([cache.get(key) for key in (0, 3, 9)], [0, 3, 9])

    def test_no_token_in_repr(self) -> None:
        """Its repr tells how full it is and shows no token."""
        cache: TokenCache[str, int] = TokenCache(2)
        cache.put("token", 1)
        self.assertEqual(repr(cache), "<TokenCache 1 of 2>")

    @settings(deadline=None, max_examples=100)
    @given(st.integers(0, 4), st.lists(st.tuples(st.booleans(), st.integers(0, 6)), max_size=40))
    def test_never_over_the_limit(self, limit: int, steps: list[tuple[bool, int]]) -> None:
        """It never holds more than its limit, and never anything but what was put."""
        cache: TokenCache[int, str] = TokenCache(limit)
        for put, key in steps:
            if put:
                cache.put(key, str(key))
            else:
                self.assertIn(cache.get(key), (None, str(key)))
            self.assertLessEqual(len(cache), limit)
