from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.model import fields
from gateway.model.schema import Checker, Schema


class FragmentTests(SynchronousTestCase):
    def _check(self, schema: Schema, good: list[object], bad: list[object]) -> None:
        checker = Checker(schema)
        self.assertEqual([value for value in good if checker.problems(value)], [])
        self.assertEqual([value for value in bad if not checker.problems(value)], [])

    def test_identifier(self) -> None:
        """An id is 1 to 256 letters, digits, ``-``, ``_`` and ``.`` (contract §2.8)."""
        self._check(
            fields.identifier,
            ["a", "jwt-auth-route", "A.b_c-1", "x" * 256],
            ["", "x" * 257, "*", "a/b", "a b", "a\n", "é", 1, None, "$env://a/b"],
        )

    def test_name(self) -> None:
        """A name is 1 to 65536 characters of any kind."""
        self._check(fields.name, ["a", "Füße ☃", "x" * 65536], ["", "x" * 65537, 1, None])

    def test_description(self) -> None:
        """A description may be empty and is at most 65536 characters."""
        self._check(fields.description, ["", "x" * 65536], ["x" * 65537, None, 1])

    def test_labels(self) -> None:
        """Labels map names to texts of 1 to 65536 characters on one line."""
        self._check(
            fields.labels,
            [{}, {"a": "b", "managed-by": "adc"}, {"": "x"}, {"a": "x" * 65536}, {"a": '["x","y"]'}],
            [
                [],
                {"a": ""},
                {"a": "x" * 65537},
                {"a": 1},
                {"a": None},
                {"a": "x\ny"},
                {"a": "x\n"},
                {"a": {}},
            ],
        )

    def test_username(self) -> None:
        """A username is 1 to 512 letters, digits, ``-`` and ``_``."""
        self._check(
            fields.username,
            ["jack", "jwt-auth-consumer", "A_1", "x" * 512],
            ["", "x" * 513, "a.b", "a/b", "jack\n", "jack doe", 1],
        )

    def test_host(self) -> None:
        """A host is a name or an address, perhaps with ``*`` in front (contract §3.2)."""
        self._check(
            fields.host,
            ["a.test", "*.a.test", "*a", "127.0.0.1", "a_b-c"],
            ["", "*", "a b", "a.*", "a.test\n", "a\r\nx: y", "$env://\r\nx: y", "a/b", "x" * 254],
        )

    def test_hosts(self) -> None:
        """There are 1 to 32 hosts, each once."""
        self._check(
            fields.hosts,
            [["a"], [f"h{n}" for n in range(32)]],
            [[], ["a", "a"], [f"h{n}" for n in range(33)], "a", [1], ["a", "*"]],
        )

    def test_path(self) -> None:
        """A path is 1 to 4096 characters and starts with ``/``."""
        self._check(fields.path, ["/", "/a/*", "/" + "x" * 4095], ["", "a", "/" + "x" * 4096, "$env://A", 1])

    def test_plugins(self) -> None:
        """Each plugin's settings are an object."""
        self._check(fields.plugins, [{}, {"a": {}}, {"a": {"b": 1}}], [[], {"a": 1}, {"a": None}, {"a": []}])

    def test_timeout(self) -> None:
        """Time limits are numbers greater than 0; each may be left out; there are no others."""
        self._check(
            fields.timeout,
            [{}, {"connect": 1}, {"connect": 0.001, "send": 1, "read": 60.0}],
            [
                {"connect": 0},
                {"read": -1},
                {"send": "1"},
                {"send": True},
                {"idle": 1},
                [],
                {"read": float("inf")},
            ],
        )

    @settings(deadline=None, max_examples=100)
    @given(st.text(max_size=8))
    def test_identifiers_are_safe(self, text: str) -> None:
        """No text with a character outside the documented set is an id."""
        allowed = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
        self.assertEqual(not Checker(fields.identifier).problems(text), bool(text) and set(text) <= allowed)


class ObjectOfTests(SynchronousTestCase):
    def test_members(self) -> None:
        """An object schema knows exactly its members; only the required ones must be there."""
        checker = Checker(fields.object_of({"a": {}, "b": {}}, ("a",), maxProperties=5))
        self.assertEqual(checker.problems({"a": 1}), [])
        self.assertEqual([p.pointer for p in checker.problems({"c": 1})], ["/a", "/c"])
        self.assertEqual(checker.schema["maxProperties"], 5)
        self.assertNotIn("required", fields.object_of({}))
