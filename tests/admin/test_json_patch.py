from __future__ import annotations

import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.admin.json_patch import PatchError, json_patch, merge_patch, parse_pointer


def op(name: str, path: str, *value: Any, **more: Any) -> dict[str, Any]:
    return {"op": name, "path": path, **({"value": value[0]} if value else {}), **more}


APPLIED: list[tuple[Any, list[Any], Any]] = [
    # RFC 6902 appendix A, by its section numbers.
    ({"foo": "bar"}, [op("add", "/baz", "qux")], {"foo": "bar", "baz": "qux"}),
    ({"foo": ["bar", "baz"]}, [op("add", "/foo/1", "qux")], {"foo": ["bar", "qux", "baz"]}),
    ({"foo": 1, "baz": 2}, [op("remove", "/baz")], {"foo": 1}),
    ({"foo": ["a", "b", "c"]}, [op("remove", "/foo/1")], {"foo": ["a", "c"]}),
    ({"foo": 1}, [op("replace", "/foo", 2)], {"foo": 2}),
    ({"a": {"b": 1}, "c": {}}, [op("move", "/c/d", **{"from": "/a/b"})], {"a": {}, "c": {"d": 1}}),
    ({"foo": [1, 2, 3, 4]}, [op("move", "/foo/3", **{"from": "/foo/1"})], {"foo": [1, 3, 4, 2]}),
    (
        {"a": [1, {"b": 2}]},
        [op("test", "/a/1/b", 2), op("test", "/a", [1, {"b": 2.0}])],
        {"a": [1, {"b": 2}]},
    ),
    ({"foo": 1}, [op("add", "/child", {"x": {}})], {"foo": 1, "child": {"x": {}}}),
    ({"foo": 1}, [op("add", "/baz", 2, xyz=123)], {"foo": 1, "baz": 2}),
    ({"/": 9, "~1": 10}, [op("test", "/~01", 10), op("replace", "/~1", 8)], {"/": 8, "~1": 10}),
    ({"foo": ["bar"]}, [op("add", "/foo/-", ["x"])], {"foo": ["bar", ["x"]]}),
    (
        {"a": {"x": 1}},
        [op("copy", "/b", **{"from": "/a"}), op("add", "/b/y", 2)],
        {"a": {"x": 1}, "b": {"x": 1, "y": 2}},
    ),
    ({"a": 1}, [op("replace", "", {"b": 2})], {"b": 2}),
    ({"a": 1}, [op("add", "", [])], []),
    ({"": {"": 1}}, [op("test", "//", 1)], {"": {"": 1}}),
    ({"a": None}, [op("test", "/a", None), op("replace", "/a", None)], {"a": None}),
    ({"a": 1}, [op("move", "/a", **{"from": "/a"})], {"a": 1}),
]

FAILED: list[tuple[Any, list[Any], int, str]] = [
    ({"a": 1}, [op("test", "/a", 1), op("test", "/a", 2)], 1, "another than"),
    ({"a": 1}, [op("test", "/a", True)], 0, "another than"),
    ({"a": 1}, [op("test", "/a", "1")], 0, "another than"),
    ({"a": {}}, [op("test", "/a", [])], 0, "another than"),
    ({}, [op("add", "/a/b", 1)], 0, 'no member "a"'),
    ({}, [op("remove", "/a")], 0, 'no member "a"'),
    ({}, [op("replace", "/a", 1)], 0, 'no member "a"'),
    ({"a": [1]}, [op("add", "/a/2", 1)], 0, "past the end"),
    ({"a": [1]}, [op("replace", "/a/1", 1)], 0, "past the end"),
    ({"a": [1]}, [op("remove", "/a/-")], 0, "not an array index"),
    ({"a": [1]}, [op("add", "/a/01", 1)], 0, "not an array index"),
    ({"a": [1]}, [op("add", "/a/-1", 1)], 0, "not an array index"),
    ({"a": [1]}, [op("add", "/a/99999999999999999999", 1)], 0, "not an array index"),
    ({"a": 1}, [op("add", "/a/b", 1)], 0, "no object or array"),
    ({"a": {"b": 1}}, [op("move", "/a/b/c", **{"from": "/a"})], 0, "into itself"),
    ({"a": 1}, [op("remove", "")], 0, "whole document"),
    ({}, [op("add", "a", 1)], 0, "starts with a slash"),
    ({}, [op("add", "/~2", 1)], 0, "followed by 0 or 1"),
    ({}, [op("add", "/a")], 0, 'member "value"'),
    ({}, [{"op": "add", "value": 1}], 0, 'member "path"'),
    ({}, [op("copy", "/a")], 0, 'member "from"'),
    ({}, [{"op": "frob", "path": "/a"}], 0, "is one of"),
    ({}, [{"op": ["add"], "path": "/a", "value": 1}], 0, "is one of"),
    ({}, ["x"], 0, "is an object"),
]

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "-", "0"]), inner),
    max_leaves=8,
)


class JSONPatchTests(SynchronousTestCase):
    def test_applied(self) -> None:
        """Every operation does what RFC 6902 says, and the document given is left alone."""
        for document, patch, expected in APPLIED:
            with self.subTest(patch=patch):
                before = copy.deepcopy(document)
                self.assertEqual(json_patch(document, patch), expected)
                self.assertEqual(document, before)

    def test_failed(self) -> None:
        """An operation that cannot be applied is named by its place in the patch."""
        for document, patch, index, words in FAILED:
            with self.subTest(patch=patch):
                error = self.assertRaises(PatchError, json_patch, document, patch)
                self.assertEqual(error.index, index)
                self.assertIn(words, error.reason)
                self.assertTrue(str(error).startswith(f"operation {index}: "))

    def test_copies_cannot_explode(self) -> None:
        """Copies of copies are stopped before they fill the memory or nest without end."""
        doubling = [op("copy", "/a/-", **{"from": "/a"}) for _ in range(60)]
        self.assertRaises(PatchError, json_patch, {"a": ["x"]}, doubling)
        wide = [op("copy", f"/{n}", **{"from": "/s"}) for n in range(900)]
        self.assertRaises(PatchError, json_patch, {"s": "x" * 10_000}, wide)
        deep = [op("add", "/a" * n, {"a": {}}) for n in range(1, 200)]
        self.assertRaises(PatchError, json_patch, {"a": {}}, deep)
        self.assertRaises(PatchError, json_patch, {}, [op("test", "", {})] * 1001)

    def test_pointer(self) -> None:
        """A pointer's tokens are unescaped once (RFC 6901 section 4)."""
        self.assertEqual(parse_pointer("/a~1b/m~0n/~01//"), ("a/b", "m~n", "~1", "", ""))

    @settings(deadline=None, max_examples=150)
    @given(
        JSON,
        st.lists(
            st.fixed_dictionaries(
                {
                    "op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]),
                    "path": st.sampled_from(["", "/a", "/b/a", "/a/0", "/a/-", "/-"]),
                },
                optional={"value": JSON, "from": st.sampled_from(["", "/a", "/b", "/a/0"])},
            ),
            max_size=5,
        ),
    )
    def test_any_patch(self, document: Any, patch: list[Any]) -> None:
        """Any patch is applied or refused; the document given is never touched."""
        before = copy.deepcopy(document)
        try:
            json_patch(document, patch)
        except PatchError:
            pass
        self.assertEqual(document, before)


class MergePatchTests(SynchronousTestCase):
    def test_examples(self) -> None:
        """Every example of RFC 7396 appendix A holds."""
        for document, patch, expected in [
            ({"a": "b"}, {"a": "c"}, {"a": "c"}),
            ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
            ({"a": "b"}, {"a": None}, {}),
            ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
            ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
            ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
            ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
            ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
            (["a", "b"], ["c", "d"], ["c", "d"]),
            ({"a": "b"}, ["c"], ["c"]),
            ({"a": "foo"}, None, None),
            ({"a": "foo"}, "bar", "bar"),
            ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
            ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
            ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        ]:
            with self.subTest(patch=patch):
                self.assertEqual(merge_patch(document, patch), expected)
