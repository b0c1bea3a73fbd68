from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.core import overlay
from gateway.core.overlay import Overlay

_STEPS = st.lists(
    st.tuples(st.sampled_from(["set", "pop", "copy"]), st.integers(0, 8), st.integers()), max_size=60
)


class OverlayTests(SynchronousTestCase):
    def test_versions(self) -> None:
        """A copy and its original go their own ways."""
        first = Overlay({"a": 1, "b": 2})
        second = Overlay(first)
        second["c"] = 3
        del second["a"]
        first["b"] = 7
        self.assertEqual((dict(first), dict(second)), ({"a": 1, "b": 7}, {"b": 2, "c": 3}))
        self.assertEqual((len(first), len(second), "a" in second), (2, 2, False))

    def test_missing(self) -> None:
        """What is not there, or not any more, is missing as from a dict."""
        table = Overlay({"a": 1})
        del table["a"]
        for key in ("a", "b"):
            self.assertRaises(KeyError, table.__getitem__, key)
            self.assertRaises(KeyError, table.__delitem__, key)
            self.assertIsNone(table.get(key))
            self.assertIsNone(table.pop(key, None))
        self.assertEqual(repr(table), "Overlay({})")

    def test_order(self) -> None:
        """It is iterated in the order of entry; a changed entry keeps its place."""
        table = Overlay({"a": 1, "b": 2})
        table["c"] = 3
        table["a"] = 4
        self.assertEqual(list(Overlay(table).items()), [("a", 4), ("b", 2), ("c", 3)])

    @given(_STEPS)
    def test_like_a_dict(self, steps: list[tuple[str, int, int]]) -> None:
        """Whatever is done to it, and however often it is copied, it holds what a dict would."""
        self.patch(overlay, "MIN_CHANGES", 2)
        table: Overlay[int, int] = Overlay()
        plain: dict[int, int] = {}
        versions: list[tuple[Overlay[int, int], dict[int, int]]] = []
        for step, key, value in steps:
            if step == "set":
                table[key] = plain[key] = value
            elif step == "pop":
                self.assertEqual(table.pop(key, None), plain.pop(key, None))
            else:
                versions.append((table, plain))
                table, plain = Overlay(table), dict(plain)
        for one, other in [*versions, (table, plain)]:
            self.assertEqual((dict(one), len(one)), (other, len(other)))
            self.assertEqual(one, other)
