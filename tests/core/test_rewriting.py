"""Tests for gateway.core.rewriting."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.core import rewriting
from gateway.core.fields import Fields
from gateway.core.rewriting import FieldChanges, escape_path, escape_query, field_value
from gateway.testing.exchanges import exchange

TEXT = st.text(st.characters() | st.sampled_from("\r\n\0 ?#%\udcff"), max_size=30)


class EscapeTests(SynchronousTestCase):
    def test_path(self) -> None:
        """A decoded path is escaped where it must be, and only there."""
        self.assertEqual(
            escape_path("/a b%?#\r\né\udcff~!$&'()*+,;=:@[]"),
            b"/a%20b%25%3F%23%0D%0A%C3%A9%FF~!$&'()*+,;=:@[]",
        )

    def test_query(self) -> None:
        """A query keeps its escapes."""
        self.assertEqual(escape_query("a=%20b c?&d=#\n"), b"a=%20b%20c?&d=%23%0A")

    @settings(deadline=None)
    @given(TEXT)
    def test_no_line_ends(self, text: str) -> None:
        """Nothing a client can write ends a line or splits the request line."""
        for made in (escape_path(text), escape_query(text)):
            self.assertTrue(all(0x20 < byte < 0x7F for byte in made), made)
        self.assertTrue(all(byte >= 0x20 or byte == 9 for byte in field_value(text)))

    def test_split(self) -> None:
        """The query begins at a question mark that no default value holds."""
        self.assertEqual(rewriting.split_target("/a?b?c"), ("/a", "b?c"))
        self.assertEqual(rewriting.split_target("/a/${arg_x ?? y}"), ("/a/${arg_x ?? y}", None))
        self.assertEqual(rewriting.split_target("/${a ?? b}?c"), ("/${a ?? b}", "c"))


class FieldChangesTests(SynchronousTestCase):
    def changed(self, settings: Any, *pairs: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
        sent = exchange("GET", "/p?x=1%0d%0aEvil:%201")
        fields = Fields(pairs)
        FieldChanges.parse(settings).apply(sent, fields)
        return fields.pairs

    def test_order(self) -> None:
        """Lines are added, then set, then removed."""
        settings = {"add": {"A": "2"}, "set": {"B": "$uri", "C": 3}, "remove": ["C", "gone"]}
        have = ((b"a", b"1"), (b"b", b"0"), (b"gone", b""))
        self.assertEqual(self.changed(settings, *have), [(b"a", b"1"), (b"a", b"2"), (b"b", b"/p")])

    def test_forms(self) -> None:
        """The older map sets; lists repeat a field; added lines may be written whole."""
        self.assertEqual(self.changed({"A": "1", "B": 2.0}), [(b"a", b"1"), (b"b", b"2")])
        self.assertEqual(self.changed({"set": {"A": ["1", 2]}}, (b"a", b"0")), [(b"a", b"1"), (b"a", b"2")])
        self.assertEqual(self.changed({"add": ["A: b:c "]}), [(b"a", b"b:c")])
        self.assertEqual(self.changed({"set": "1", "remove": "2"}), [(b"set", b"1"), (b"remove", b"2")])

    def test_injection(self) -> None:
        """A variable's value cannot bring a line break."""
        self.assertEqual(self.changed({"set": {"A": "$arg_x"}}), [(b"a", b"1 Evil: 1")])

    def test_names(self) -> None:
        """A name that is none is refused."""
        for bad in ({"A b": "1"}, {"set": {"é": "1"}}, {"remove": ["a\r\n"]}, {"add": [": x"]}):
            self.assertRaises(ValueError, FieldChanges.parse, bad)
        error = self.assertRaises(ValueError, FieldChanges.parse, {"set": {"": "1"}})
        self.assertEqual(str(error), "invalid field length in header")

    def test_without(self) -> None:
        """Framing is not for settings to say."""
        changes = FieldChanges.parse(
            {"add": {"A": "1"}, "set": {"Content-Length": "1"}, "remove": ["Connection"]}
        )
        fields = Fields([(b"connection", b"close")])
        changes.without(rewriting.FRAMING).apply(exchange(), fields)
        self.assertEqual(fields.pairs, [(b"connection", b"close"), (b"a", b"1")])
        self.assertEqual(rewriting.plain_fields({"Transfer-Encoding": "chunked"}), ())
