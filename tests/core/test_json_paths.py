"""Tests for gateway.core.json_paths."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.core import json_paths
from gateway.core.json_paths import JsonPath

DOCUMENT = {"a": {"b": [1, {"c": 2}], "b c": 3, "": 4}, "c": [{"c": 5}], "*": 6}


class JsonPathTests(SynchronousTestCase):
    def test_table(self) -> None:
        """A path finds what it names, in document order."""
        for path, found in (
            ("$", [DOCUMENT]),
            ("", [DOCUMENT]),
            ("a.b", [[1, {"c": 2}]]),
            ("$.a.b[1].c", [2]),
            ("a['b c']", [3]),
            ('$["a"]["b c"]', [3]),
            ("a['']", [4]),
            ("['*']", [6]),
            ("a.b[2]", []),
            ("a.b.c", []),
            ("nope", []),
            ("a.b[*]", [1, {"c": 2}]),
            ("c.*.c", [5]),
            ("$..c", [2, [{"c": 5}], 5]),
            ("$.a..c", [2]),
            ("..c[*].c", [5]),
        ):
            parsed = JsonPath.parse(path)
            self.assertEqual(sorted(map(str, parsed.find(DOCUMENT))), sorted(map(str, found)), path)
            self.assertEqual(parsed.several, "*" in path.replace("'*'", "") or ".." in path, path)

    def test_no_path(self) -> None:
        """What is none is told."""
        for path in ("a.", "a[", "a[x]", "$.a[?(@.b)]", "a...b", "a[-1]", "[0"):
            self.assertRaises(ValueError, JsonPath.parse, path)

    def test_bounded(self) -> None:
        """However much there is, so many values are found."""
        self.patch(json_paths, "MAX_FOUND", 3)
        self.assertEqual(JsonPath.parse("[*]").find([0] * 10), [0] * 3)
        self.assertEqual(len(JsonPath.parse("..[*]").find([[0] * 10] * 10)), 3)
