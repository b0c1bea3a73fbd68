"""Documents become text and come back the same."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.model.record import Change
from gateway.store.documents import MAX_DEPTH, check_page, decode, draft, encode, name

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


class DocumentTests(SynchronousTestCase):
    @settings(deadline=None, max_examples=200)
    @given(st.dictionaries(st.text(), _JSON, max_size=5))
    def test_round_trip(self, value: dict[str, Any]) -> None:
        """Any document comes back equal, types included, and its text is plain ASCII."""
        text = encode(value)
        self.assertTrue(text.isascii())
        self.assertEqual(repr(decode(text)), repr(value))

    def test_other_containers(self) -> None:
        """Tuples become arrays, and read-only objects become objects."""
        value = MappingProxyType({"a": (1, MappingProxyType({"b": ()}))})
        self.assertEqual(decode(encode(value)), {"a": [1, {"b": []}]})

    def test_depth(self) -> None:
        """The deepest document allowed passes, one level more does not."""
        value: Any = {}
        for _ in range(MAX_DEPTH - 1):
            value = {"in": value}
        self.assertEqual(decode(encode(value)), value)
        self.assertRaises(ValueError, encode, {"in": value, "more": {"in": value}})

    def test_decode_refuses(self) -> None:
        """What is no JSON object is no document."""
        for text in ("", "{", "[]", "null", '"x"', "{} {}"):
            self.assertRaises(ValueError, decode, text)

    def test_names(self) -> None:
        """A key is named as people write it."""
        self.assertEqual(name(("g", "route", "r1")), "g/route/r1")
        self.assertEqual(name(("", "token", "t")), "token/t")

    def test_drafts_hide_values(self) -> None:
        """A draft's repr shows no document."""
        (one,) = draft([Change("g", "route", "a", {"password": "hunter2"})], "ann", None, 1)
        self.assertNotIn("hunter2", repr(one))
        self.assertEqual(one.change().value, {"password": "hunter2"})

    def test_errors_name_the_record(self) -> None:
        """A document that cannot be stored is named, and not shown."""
        change = Change("g", "route", "a", {"password": "hunter2", "x": {1, 2}})
        error = self.assertRaises(ValueError, draft, [change], "ann", None, 1)
        self.assertIn("g/route/a cannot be stored", str(error))
        self.assertNotIn("hunter2", str(error))

    def test_pages(self) -> None:
        """A page holds at least one revision."""
        check_page(1)
        self.assertRaises(ValueError, check_page, 0)
