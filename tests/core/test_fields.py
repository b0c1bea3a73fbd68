from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.core import fields
from gateway.core.fields import Fields, configured_name, configured_value, wire_name

NAMES = st.sampled_from([b"a", b"b", b"x-c"])
PAIRS = st.lists(st.tuples(NAMES, st.binary(max_size=2)), max_size=8)


class WireNameTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(fields, "_SPELLINGS", dict(fields._SPELLINGS))

    def test_spelling(self) -> None:
        """Names appear as people write them; a few have a spelling of their own."""
        for name, spelt in (
            (b"content-type", b"Content-Type"),
            (b"host", b"Host"),
            (b"x-consumer-username", b"X-Consumer-Username"),
            (b"etag", b"ETag"),
            (b"te", b"TE"),
            (b"www-authenticate", b"WWW-Authenticate"),
            (b"x-real-ip", b"X-Real-IP"),
            (b"x-apisix-upstream-status", b"X-APISIX-Upstream-Status"),
            (b"sec-websocket-key", b"Sec-WebSocket-Key"),
            (b"", b""),
            (b"-a--b-", b"-A--B-"),
            (b"x_y", b"X_y"),
            (b"3d-\xff", b"3d-\xff"),
        ):
            self.assertEqual(wire_name(name), spelt)
            self.assertEqual(wire_name(name), spelt)

    @settings(deadline=None, max_examples=100)
    @given(st.binary(max_size=20))
    def test_same_name(self, name: bytes) -> None:
        """Whatever the spelling, it is the same name."""
        self.assertEqual(wire_name(name.lower()).lower(), name.lower())

    def test_bounded(self) -> None:
        """Clients that invent names do not fill the memory; names are spelt all the same."""
        for number in range(3 * fields._SPELLINGS_LIMIT):
            self.assertEqual(wire_name(b"x-%d-y" % number), b"X-%d-Y" % number)
        self.assertEqual(len(fields._SPELLINGS), fields._SPELLINGS_LIMIT)
        self.assertEqual(wire_name(b"content-length"), b"Content-Length")

    def test_long_names(self) -> None:
        """A very long name is not remembered."""
        name = b"x" * 8000
        self.assertEqual(wire_name(name), b"X" + name[1:])
        self.assertNotIn(name, fields._SPELLINGS)


class FieldsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.fields = Fields([(b"a", b"1"), (b"b", b"2"), (b"a", b"3")])

    def test_reading(self) -> None:
        """Lines keep their order; the first value of a name, or all of them, can be asked for."""
        self.assertEqual(self.fields.get(b"a"), b"1")
        self.assertIsNone(self.fields.get(b"c"))
        self.assertEqual(self.fields.get_all(b"a"), [b"1", b"3"])
        self.assertEqual(self.fields.get_all(b"c"), [])
        self.assertEqual(list(self.fields), [(b"a", b"1"), (b"b", b"2"), (b"a", b"3")])
        self.assertEqual(len(self.fields), 3)
        self.assertIn(b"b", self.fields)
        self.assertNotIn(b"c", self.fields)

    def test_add(self) -> None:
        """A line can be added beside others of its name."""
        self.fields.add(b"b", b"4")
        self.assertEqual(self.fields.get_all(b"b"), [b"2", b"4"])

    def test_set(self) -> None:
        """Setting a name leaves one line of it, at the end."""
        self.fields.set(b"a", b"9")
        self.assertEqual(self.fields.pairs, [(b"b", b"2"), (b"a", b"9")])
        self.fields.set(b"c", b"0")
        self.assertEqual(self.fields.pairs[-1], (b"c", b"0"))

    def test_remove(self) -> None:
        """Removing a name drops all its lines; a name that is not there is no error."""
        self.fields.remove(b"a")
        self.fields.remove(b"zzz")
        self.assertEqual(self.fields.pairs, [(b"b", b"2")])

    def test_remove_all(self) -> None:
        """Removing several names drops the lines of each; where none is there, all stays as it is."""
        pairs = self.fields.pairs
        self.fields.remove_all(frozenset((b"zzz",)))
        self.assertIs(self.fields.pairs, pairs)
        self.fields.remove_all(frozenset((b"a", b"zzz")))
        self.assertEqual(self.fields.pairs, [(b"b", b"2")])

    def test_replace(self) -> None:
        """Lines take the place of those with the same names, at the end."""
        self.fields.replace(frozenset((b"zzz",)), ((b"c", b"4"),))
        self.assertEqual(self.fields.pairs[-1], (b"c", b"4"))
        self.fields.replace(frozenset((b"a", b"c")), [(b"a", b"5"), (b"a", b"6")])
        self.assertEqual(self.fields.pairs, [(b"b", b"2"), (b"a", b"5"), (b"a", b"6")])

    def test_copies(self) -> None:
        """A copy has lines of its own, and the pairs it was made of stay as they are."""
        source = ((b"a", b"1"),)
        first = Fields(source)
        second = first.copy()
        second.set(b"a", b"2")
        first.add(b"b", b"3")
        self.assertEqual((first.pairs, second.pairs), ([(b"a", b"1"), (b"b", b"3")], [(b"a", b"2")]))
        self.assertEqual(source, ((b"a", b"1"),))

    def test_clean(self) -> None:
        """No value ends its line early, whoever had a say in it; a name that is none is a bug."""
        made = Fields([(b"a", b"1\r\nset-cookie: x\x00"), (b"b", b"2\t\xc3\xa9"), (b"a", b"")])
        made.clean()
        self.assertEqual(made.pairs, [(b"a", b"1  set-cookie: x "), (b"b", b"2\t\xc3\xa9"), (b"a", b"")])
        for name in (b"", b"a b", b"a:", b"a\r\nb"):
            self.assertRaises(ValueError, Fields([(name, b"1")]).clean)

    def test_repr(self) -> None:
        """The repr tells names only: values may be credentials."""
        self.assertEqual(repr(Fields([(b"authorization", b"Bearer hunter2")])), "<Fields ['authorization']>")

    @settings(deadline=None, max_examples=100)
    @given(PAIRS, NAMES, st.binary(max_size=2))
    def test_other_names_are_untouched(
        self, pairs: list[tuple[bytes, bytes]], name: bytes, value: bytes
    ) -> None:
        """Setting or removing one name changes nothing about the others, their order included."""
        others = [pair for pair in pairs if pair[0] != name]
        made = Fields(pairs)
        made.set(name, value)
        self.assertEqual(made.pairs, [*others, (name, value)])
        made.remove(name)
        self.assertEqual(made.pairs, others)


class ConfiguredTests(SynchronousTestCase):
    def test_names(self) -> None:
        """A name from the configuration is spelt as fields are; what is no name is refused."""
        self.assertEqual(configured_name("X-Request_Id"), b"x-request_id")
        for text in ("", "a b", "a:b", "a\r\nb", "ключ", "a\n"):
            self.assertRaises(ValueError, configured_name, text)

    def test_values(self) -> None:
        """A value from the configuration has no line ends and no surrounding spaces."""
        self.assertEqual(configured_value(" a\r\nb\tc\x00 "), b"ab\tc")
        self.assertEqual(configured_value("é\udcff"), b"\xc3\xa9\xff")
        self.assertEqual(configured_value("a\ud800"), b"a?")
