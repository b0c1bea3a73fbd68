from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.admin.json_text import BadJSON, read_json, read_object, write_json

REFUSED = {
    b"": "empty request body",
    b" \r\n": "empty request body",
    b"{": "Expecting property name",
    b'{"a":1,"a":2}': 'duplicate member "a"',
    b'{"x":{"b":1,"c":2,"b":3}}': 'duplicate member "b"',
    b"[NaN]": "NaN is not a JSON value",
    b"[-Infinity]": "-Infinity is not a JSON value",
    b"1e999": "a number is out of range",
    b"9223372036854775808": "an integer is out of range",
    b"1" * 5000: "an integer is out of range",
    b'"\xff"': "not UTF-8 at byte 1",
    b"\xef\xbb\xbf{}": "a byte order mark",
    b'"\\ud800"': "half of a surrogate pair",
    b'{"\\udc00":1}': "half of a surrogate pair",
    b"{} {}": "text after the JSON value",
    b"[" * 65 + b"]" * 65: "nested deeper than 64 levels",
    b"[" * 100_000: "nested deeper than 64 levels",
    b'{"a":' * 70 + b"1" + b"}" * 70: "nested deeper than 64 levels",
    b'"\x01"': "Invalid control character",
    b"'a'": "Expecting value",
}


class ReadJSONTests(SynchronousTestCase):
    def test_refusals(self) -> None:
        """Text that is no JSON, ambiguous or out of bounds is refused, and the reason is told."""
        for raw, words in REFUSED.items():
            with self.subTest(raw=raw[:40]):
                self.assertIn(words, str(self.assertRaises(BadJSON, read_json, raw)))

    def test_accepted(self) -> None:
        """What RFC 8259 allows within the bounds is read as it is."""
        deep = b"[" * 64 + b"]" * 64
        self.assertEqual(write_json(read_json(deep)), deep + b"\n")
        self.assertEqual(
            read_json(b' {"a": [1, -0.5, true, null, "\\u00e9\\ud83d\\ude00"]} '),
            {"a": [1, -0.5, True, None, "é😀"]},
        )
        self.assertEqual(read_json(b"-9223372036854775808"), -(2**63))

    def test_whole_numbers_are_integers(self) -> None:
        """2.0 and 2 are one number, so an integer setting may be written either way."""
        values = read_json(b"[2.0, 1e2, 2.5, 1e300]")
        self.assertEqual([type(value) for value in values], [int, int, float, float])

    def test_only_objects(self) -> None:
        """A document is an object."""
        for raw in (b"[]", b"1", b"null", b'"x"'):
            self.assertRaises(BadJSON, read_object, raw)

    @settings(deadline=None, max_examples=150)
    @given(st.binary(max_size=60))
    def test_any_bytes(self, raw: bytes) -> None:
        """Any bytes are either refused or read; nothing else happens."""
        try:
            value = read_json(raw)
        except BadJSON:
            return
        self.assertEqual(read_json(write_json(value)), value)

    @settings(deadline=None, max_examples=100)
    @given(
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers(-(2**63), 2**63 - 1)
            | st.text(st.characters(exclude_categories=["Cs"])),
            lambda inner: (
                st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
            ),
            max_leaves=20,
        )
    )
    def test_round_trip(self, value: object) -> None:
        """What is written can be read again, and is the same."""
        self.assertEqual(read_json(json.dumps(value).encode()), value)
        self.assertEqual(read_json(write_json(value)), value)
