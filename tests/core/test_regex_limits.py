"""Tests for gateway.core.regex_limits."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.core.regex_limits import (
    LENGTH_STEP,
    LIMIT,
    LimitedPattern,
    MatchTimeout,
    compiling_for,
    limited,
    sharing_limit,
)
from tests.slow_regex import PATTERN, TEXT, short_limit


class LimitTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.told = short_limit(self)

    def compile(self, pattern: str, flags: int = 0) -> LimitedPattern:
        compiled = limited(pattern, pattern, flags)
        assert isinstance(compiled, LimitedPattern)
        return compiled


class LimitTests(LimitTestCase):
    def test_given_up(self) -> None:
        """A search that takes too long is given up, whatever is asked, and somebody is told."""
        pattern, text = PATTERN, TEXT
        with compiling_for("plugin p of route/1"):
            compiled = self.compile(pattern)
        searches: tuple[Callable[[], object], ...] = (
            lambda: compiled.search(text),
            lambda: compiled.split(text),
            lambda: compiled.sub(lambda match: "", text),
        )
        for search in searches:
            started_s = time.monotonic()
            timeout = self.assertRaises(MatchTimeout, search)
            self.assertLess(time.monotonic() - started_s, 5)
            self.assertEqual((timeout.pattern, timeout.owner), (pattern, "plugin p of route/1"))
            self.assertIs(self.told.pop(), timeout)
        self.assertEqual(self.told, [])

    def test_kinds(self) -> None:
        """Nested repeats, ambiguous alternatives, counted repeats, references back: each is given up."""
        for pattern, text in (
            (r"(.*a){20}b", "a" * 200),
            (r"(?P<q>a+)(?:(?P=q))+b", "a" * 20000),
            (r"^(?=(\w|\w\w)*!)", "a" * 80 + " !"),
            (r"^(?i:(A|AA)*)!", "a" * 80 + " !"),
            (r"^(?>(a|aa)+$)", "a" * 80 + "!"),
        ):
            self.assertRaises(MatchTimeout, self.compile(pattern).search, text)

    def test_what_is_found_in_time(self) -> None:
        """A search that ends in time says what one of ``re`` says, in short texts and in long ones."""
        compiled = self.compile(r"(\d+)-(\d+)")
        for fill in ("", "x" * (compiled.safe + 1)):
            text = fill + "12-3" + fill
            found = compiled.search(text)
            assert found is not None
            self.assertEqual((found[0], found.groups(), found.string), ("12-3", ("12", "3"), text))
            self.assertEqual(compiled.sub(lambda match: match[2], text), fill + "3" + fill)
            self.assertEqual(compiled.sub(lambda match: "", f"{text} {text}", 1), f"{fill}{fill} {text}")
            self.assertEqual(compiled.split(text), [fill, "12", "3", fill])
            self.assertIsNone(compiled.search(fill))
        self.assertEqual((compiled.groups, self.told), (2, []))

    def test_no_limit_where_none_is_needed(self) -> None:
        """What cannot take long is a pattern of ``re`` and costs nothing more."""
        self.assertIs(type(limited("^a+b", "^a+b", 0)), re.Pattern)

    def test_long_texts(self) -> None:
        """A longer text may take longer: the limit is for each MiB."""
        compiled = self.compile(PATTERN)
        used_s = []
        for length in (100, 8 * LENGTH_STEP):
            started_s = time.process_time()
            self.assertRaises(MatchTimeout, compiled.search, "a" * length + "!")
            used_s.append(time.process_time() - started_s)
        self.assertGreater(used_s[1], 0.08)

    def test_sharing(self) -> None:
        """Many searches can share one limit; short ones do not use it up."""
        pattern, text = PATTERN, TEXT
        slow = self.compile(pattern)
        self.patch(LIMIT, "seconds", 0.03)
        searches = 0
        with sharing_limit():
            for _ in range(2000):
                slow.search("aa")

            def attack() -> None:
                nonlocal searches
                for length in range(1, len(text)):
                    # Each alone stays below the limit, until they do not.
                    searches += 1
                    slow.search(text[:length] + "!")

            self.assertRaises(MatchTimeout, attack)
        before, searches = searches, 0
        with sharing_limit(10 * LENGTH_STEP):
            self.assertRaises(MatchTimeout, attack)
        self.assertGreater(searches, before)

    def test_owner(self) -> None:
        """The text says whose pattern it is, and which."""
        self.assertEqual(
            str(MatchTimeout("a+", "vars of route/1")),
            "vars of route/1: the regular expression a+ took too long",
        )

    def test_refused(self) -> None:
        """What is no pattern is refused as ``re`` does."""
        self.assertRaises(re.error, limited, "(a+", "(a+", 0)


ATOMS = st.sampled_from(
    [
        *(*"ab.^$", r"\w", r"\W", r"\d", r"\s", r"\S", r"\b", r"\B"),
        *("[ab]", "[^a]", r"[\w-]", r"[a\]]", "[[:x:]", r"\N{DIGIT ONE}"),
        *("(?=a)", "(?!b)", "(?<=a)", "(?P<n>a|ab)", "a{,2}"),
        *("x{e}", "{", r"\{e<=1}", "{,x}", "{}"),
    ]
)
REPEATS = st.sampled_from(["", "", *"*+?", "*?", "+?", "??", "{2}", "{1,3}", "{0,2}?", "*+", "++", "?+"])


def _larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    row = st.lists(st.tuples(inner, REPEATS).map("".join), min_size=1, max_size=3).map("".join)
    choice = st.lists(row, min_size=1, max_size=3).map("|".join)
    return st.tuples(st.sampled_from(["(", "(?:", "(?>", "(?=", "(?!", "(?i:", "(?s:"]), choice).map(
        lambda parts: f"{parts[0]}{parts[1]})"
    )


PATTERNS = st.lists(
    st.tuples(st.recursive(ATOMS, _larger, max_leaves=4), REPEATS).map("".join), min_size=1, max_size=4
).map("".join)
FLAGS = st.sampled_from([0, re.IGNORECASE, re.DOTALL, re.MULTILINE, re.ASCII, re.ASCII | re.IGNORECASE])


class DialectTests(LimitTestCase):
    """Both libraries understand a pattern in the same way."""

    def agree(self, pattern: str, flags: int, text: str) -> None:
        quick = re.compile(pattern, flags)
        careful = LimitedPattern(pattern, "", 0, quick)
        self.patch(LIMIT, "seconds", 1.0)
        one, other = quick.search(text), careful.search(text)
        said = [found and (found.span(), found.groups()) for found in (one, other)]
        self.assertEqual(said[0], said[1], (pattern, flags, text))
        self.assertEqual(quick.split(text), careful.split(text), (pattern, flags, text))
        self.assertEqual(
            quick.sub(lambda match: "<>", text), careful.sub(lambda match: "<>", text), (pattern, flags, text)
        )

    def test_spelling(self) -> None:
        """What one of them takes for something else is spelt so that it does not."""
        for pattern, text in (
            ("(?:foo){e}", "foo{e} fxo"),
            ("(?:foo){e<=1}x+y*z", "foo{e<=1}xz fxo"),
            (r"\{e}+\\{e}", r"{e}\{e}"),
            (r"\N{DIGIT ONE}{2}", "11"),
            ("a{,2}b{2,}c{3}", "aabbccc"),
            ("[[:x:]]+", "x]:]"),
            ("[:a:]+", ":a:"),
            ("[{e}]+", "{e}"),
            ("a{", "a{"),
            ("a{}", "a{}"),
            (r"(?x) a {e} # {e}", "a{e}"),
        ):
            self.agree(pattern, 0, text)

    def test_letters(self) -> None:
        """So it is with letters beyond ASCII and bytes that are no UTF-8, in any letter case."""
        for pattern in (r"\w+", r"\W", "é", "[à-ÿ]+", "ß", "K", "s", "."):
            for text in ("Éa", "é-ß", "S\u017f\u212a", "\udcff\udce9", "日本", "a\u2028b\x85"):
                for flags in (0, re.IGNORECASE, re.ASCII, re.ASCII | re.IGNORECASE):
                    self.agree(pattern, flags, text)

    def test_any(self) -> None:
        """Patterns and texts of all sorts: the same is found, caught, split and replaced."""

        @settings(deadline=None, max_examples=600)
        @given(PATTERNS, FLAGS, st.text("abAx1 \n-{e}]", max_size=6))
        def check(pattern: str, flags: int, text: str) -> None:
            try:
                re.compile(pattern, flags)
            except re.error:
                return
            try:
                self.agree(pattern, flags, text)
            except (MatchTimeout, SystemError):
                pass  # SystemError: a bug of ``re`` with groups in possessive repeats.

        check()
