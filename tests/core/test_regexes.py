"""Tests for gateway.core.regexes."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from gateway.core.regexes import PATTERN_LIMIT, Replacement, captures, compile_regex, regex_flags


class CompileTests(SynchronousTestCase):
    def test_dialect(self) -> None:
        """What PCRE writes its own way works: named groups, POSIX classes, the end of the text."""
        for pattern, text in (
            (r"(?<id>\d+)\z", "a1"),
            ("^[[:alpha:]]+$", "abc"),
            (r"a\Z", "a\n"),
            ("a++b", "aab"),
        ):
            self.assertIsNotNone(compile_regex(pattern).search(text), pattern)

    def test_refusals(self) -> None:
        """A bad or endless pattern is refused in words."""
        for pattern in ("(", "[", "a{99999999999}", "x" * (PATTERN_LIMIT + 1)):
            self.assertRaises(ValueError, compile_regex, pattern)

    def test_options(self) -> None:
        """The letters of ngx.re options; one without a meaning is refused."""
        self.assertEqual(regex_flags("jo"), 0)
        self.assertEqual(regex_flags("jois"), re.IGNORECASE | re.DOTALL)
        self.assertRaises(ValueError, regex_flags, "q")


class ReplacementTests(SynchronousTestCase):
    def test_groups(self) -> None:
        """``$1`` is what a group caught; what caught nothing, or does not exist, is nothing."""
        match = re.search("(b)(x)?", "abc")
        assert match is not None
        for text, wanted in (
            ("[$1]", "a[b]c"),
            ("[${1}2]", "a[b2]c"),
            ("$0$2$9", "abc"),
            ("$$1", "a$1c"),
            ("", "ac"),
            ("$", "a$c"),
            ("$x", "a$xc"),
        ):
            self.assertEqual(Replacement(text).substitute(match), wanted, text)
        self.assertEqual(captures(match), ("b", "b", ""))
