"""Tests for gateway.core.expressions."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.core import expressions
from gateway.core.expressions import (
    DEPTH_LIMIT,
    ExpressionError,
    compile_expression,
    to_number,
)
from gateway.core.regex_limits import MatchTimeout
from gateway.core.regexes import PATTERN_LIMIT
from gateway.testing.exchanges import exchange
from tests.slow_regex import PATTERN, TEXT, short_limit

SUBJECT = exchange(
    "GET", "/x?a=10&s=Abc&e=&f=1.50&h=0x1F&t=true&n=-3", [("X-Ip", "10.1.2.3"), ("X-Six", "::ffff:10.1.2.3")]
)


class OperatorTests(SynchronousTestCase):
    def check(self, cases: list[tuple[list[Any], bool]]) -> None:
        for rule, want in cases:
            self.assertIs(compile_expression([rule])(SUBJECT), want, rule)
            if len(rule) == 3:
                name, operator, right = rule
                self.assertIs(compile_expression([[name, "!", operator, right]])(SUBJECT), not want, rule)

    def test_equality(self) -> None:
        """Numbers on the right convert the left; text is compared as it is; null asks for absence."""
        self.check(
            [
                (["arg_a", "10"], True),
                (["arg_a", 10], True),
                (["arg_a", 11], False),
                (["arg_a", "==", "10"], True),
                (["arg_a", "==", 10], True),
                (["arg_a", "==", 10.0], True),
                (["arg_f", "==", 1.5], True),
                (["arg_f", "==", "1.5"], False),
                (["arg_h", "==", 31], True),
                (["arg_n", "==", -3], True),
                (["arg_s", "==", 10], False),
                (["arg_s", "~=", 10], True),
                (["arg_e", "==", 0], False),
                (["arg_e", "==", ""], True),
                (["arg_none", "==", ""], False),
                (["arg_none", "~=", "x"], True),
                (["arg_none", "==", None], True),
                (["arg_none", "~=", None], False),
                (["arg_s", "==", None], False),
                (["arg_s", "~=", None], True),
                (["arg_none", None], True),
                (["arg_t", "==", True], False),
                (["arg_t", "==", "true"], True),
                (["arg_s", "==", "abc"], False),
                (["arg_s", "~=", "Abc"], False),
                (["unknown", "==", "x"], False),
            ]
        )

    def test_order(self) -> None:
        """Both sides become numbers; if one is none, nothing holds."""
        self.check(
            [
                (["arg_a", ">", 9], True),
                (["arg_a", ">", "9"], True),
                (["arg_a", ">", 10], False),
                (["arg_a", ">=", 10], True),
                (["arg_a", "<", 10], False),
                (["arg_a", "<=", 10], True),
                (["arg_a", "<", "10.5"], True),
                (["arg_s", ">", 0], False),
                (["arg_s", "<", 0], False),
                (["arg_none", "<", 5], False),
                (["arg_a", ">", "x"], False),
                (["arg_a", ">", None], False),
                (["arg_a", ">=", True], False),
            ]
        )

    def test_regular_expressions(self) -> None:
        """``~~`` finds anywhere and minds the case, ``~*`` does not; PCRE's spellings work."""
        self.check(
            [
                (["arg_s", "~~", "b"], True),
                (["arg_s", "~~", "B"], False),
                (["arg_s", "~*", "B"], True),
                (["arg_s", "~~", "^b"], False),
                (["arg_none", "~~", ".*"], False),
                (["arg_none", "~*", ".*"], False),
                (["arg_e", "~~", "^$"], True),
                (["arg_s", "~~", r"^(?<first>\w)bc\z"], True),
                (["arg_s", "~~", r"^[[:upper:]][[:lower:]_]+$"], True),
                (["arg_a", "~~", r"^[^[:digit:]]"], False),
                (["arg_s", "~~", r"(?<=A)b(?<!x)"], True),
                (["arg_s", "~~", r"\(?<a>"], False),
                (["arg_s", "~~", r"A\Z|Abc\Z"], True),
            ]
        )

    def test_in_and_has(self) -> None:
        """``in`` looks into the right side, ``has`` into the left; neither converts."""
        self.check(
            [
                (["arg_a", "in", ["9", "10"]], True),
                (["arg_a", "in", [10]], False),
                (["arg_a", "in", []], False),
                (["arg_none", "in", ["x"]], False),
                (["arg_a", "has", "10"], False),
                (["arg_none", "has", "x"], False),
                (["arg_a", "IN", ["10"]], True),
            ]
        )

        def lists(name: str) -> Any:
            return lambda subject: {"l": ["a", 1, True], "t": True, "n": 1, "f": 2.5}[name]

        with patch.object(expressions, "getter", lists):
            self.check(
                [
                    (["l", "has", "a"], True),
                    (["l", "has", 1], True),
                    (["l", "has", True], True),
                    (["l", "has", False], False),
                    (["l", "has", 0], False),
                    (["l", "==", "a"], False),
                    (["l", "==", 1], False),
                    (["l", "~~", "a"], False),
                    (["l", "in", ["a"]], False),
                    (["t", "==", 1], False),
                    (["t", "==", True], True),
                    (["t", "in", [1]], False),
                    (["n", "in", [True, 1]], True),
                    (["n", "==", True], False),
                    (["n", "~~", "^1$"], True),
                    (["t", "~~", "."], False),
                    (["f", ">", "2"], True),
                ]
            )

    def test_ipmatch(self) -> None:
        """``ipmatch`` takes one address or network, or several."""
        self.check(
            [
                (["http_x_ip", "ipmatch", "10.1.2.3"], True),
                (["http_x_ip", "ipmatch", "10.0.0.0/8"], True),
                (["http_x_ip", "ipmatch", ["11.0.0.0/8", "10.1.0.0/16"]], True),
                (["http_x_six", "ipmatch", ["10.1.0.0/16"]], True),
                (["http_x_ip", "ipmatch", ["::/0"]], False),
                (["arg_s", "ipmatch", ["0.0.0.0/0"]], False),
                (["arg_none", "ipmatch", ["0.0.0.0/0"]], False),
            ]
        )

    def test_to_number(self) -> None:
        """Text counts as a number only if a person would say so."""
        none: list[Any] = [
            "",
            " ",
            "x",
            "1x",
            "nan",
            "inf",
            "1_0",
            "--1",
            "0x",
            "1e",
            "\u0661",
            True,
            None,
            [],
        ]
        for text, want in [
            ("1", 1),
            (" 1 ", 1),
            ("+1", 1),
            ("-.5", -0.5),
            ("1.", 1.0),
            ("1e3", 1000.0),
            ("0x10", 16),
            ("-0XfF", -255),
            ("9" * 30, int("9" * 30)),
            (2.5, 2.5),
            *[(bad, None) for bad in none],
        ]:
            self.assertEqual(to_number(text), want, text)
        self.assertEqual(to_number("9" * 5000), float("inf"))


class LogicTests(SynchronousTestCase):
    T = ("arg_a", "==", "10")
    F = ("arg_a", "==", "11")

    def test_table(self) -> None:
        """Rules are ANDed; logical lists nest; words may be in upper or lower case."""
        t, f = list(self.T), list(self.F)
        cases: list[tuple[Any, bool]] = [
            ([], True),
            ([t], True),
            ([f], False),
            ([t, t], True),
            ([t, f], False),
            (["AND", t, t], True),
            (["and", t, f], False),
            (["OR", f, t], True),
            (["or", f, f], False),
            (["!AND", t, t], False),
            (["!and", t, f], True),
            (["!OR", f, f], True),
            (["!or", f, t], False),
            ([["OR", f, t], t], True),
            ([["OR", f, t], f], False),
            (["OR", ["AND", t, f], ["!OR", f, ["!AND", t, t]]], True),
            (["OR", [f, t], [t, t]], True),
            (["OR", f, f, f, t], True),
            ((self.T, self.T), True),
        ]
        for raw, want in cases:
            self.assertIs(compile_expression(raw)(SUBJECT), want, raw)

    def test_no_more_than_needed(self) -> None:
        """Operands after the one that decides are not evaluated."""
        asked: list[str] = []

        def noted(name: str) -> Any:
            def read(subject: Any) -> str:
                asked.append(name)
                return name

            return read

        with patch.object(expressions, "getter", noted):
            compile_expression([["a", "x"], ["b", "b"]])(SUBJECT)
            compile_expression(["OR", ["c", "c"], ["d", "d"]])(SUBJECT)
        self.assertEqual(asked, ["a", "c"])

    def test_agrees_with_python(self) -> None:
        """However conditions are nested, the answer is that of plain boolean logic."""
        leaf = st.booleans()
        tree = st.recursive(
            leaf,
            lambda inner: st.tuples(
                st.sampled_from(["AND", "OR", "!AND", "!OR"]), st.lists(inner, min_size=2, max_size=3)
            ),
            max_leaves=12,
        )

        def raw(node: Any) -> list[Any]:
            if isinstance(node, bool):
                return list(self.T if node else self.F)
            return [node[0], *map(raw, node[1])]

        def value(node: Any) -> bool:
            if isinstance(node, bool):
                return node
            held = [value(part) for part in node[1]]
            whole = all(held) if node[0].endswith("AND") else any(held)
            return not whole if node[0].startswith("!") else whole

        @settings(deadline=None, max_examples=150)
        @given(tree)
        def check(node: Any) -> None:
            self.assertIs(compile_expression([raw(node)])(SUBJECT), value(node))

        check()


class ErrorTests(SynchronousTestCase):
    def test_texts(self) -> None:
        """A wrong expression is refused in the words that the Admin API promises."""
        rule = ["a", "==", "b"]
        for raw, text in [
            (["a", "==", "b"], "rule should be wrapped inside brackets"),
            (["a"], "rule should be wrapped inside brackets"),
            ([rule, "x"], "rule should be wrapped inside brackets"),
            ([5], "rule should be wrapped inside brackets"),
            (["AND", rule, "x"], "rule should be wrapped inside brackets"),
            (["AND", rule], "rule too short"),
            (["OR"], "rule too short"),
            ([["OR", rule]], "rule too short"),
            ([[]], "rule too short"),
            ([["a"]], "rule too short"),
            ([["a", "~", "==", "b"]], "bad 'not' expression"),
            ([["a", "!", "b"]], "bad 'not' expression"),
            ([["a", "!", "==", "b", "c"]], "invalid expression"),
            ([[5, "==", "b"]], "invalid expression"),
            ([["a", [], "b"]], "invalid expression"),
            ([["a", True, "b"]], "invalid expression"),
            ([["a", "in", "b"]], "invalid expression"),
            ({"a": 1}, "invalid expression"),
            ("abc", "invalid expression"),
            ([["a", "=", "b"]], "invalid operator '='"),
            ([["a", "!", "=>", "b"]], "invalid operator '=>'"),
            ([["a", 5, "b"]], "invalid operator '5'"),
            ([["a", "ipmatch", "x"]], "invalid ip address"),
            ([["a", "ipmatch", ["10.0.0.1", "10.0.0.0/40"]]], "invalid ip address"),
            ([["a", "ipmatch", [5]]], "invalid ip address"),
            ([["a", "ipmatch", []]], "invalid ip address"),
            ([["a", "ipmatch", 5]], "invalid ip address"),
        ]:
            with self.assertRaises(ExpressionError) as caught:
                compile_expression(raw)  # type: ignore[arg-type]
            self.assertEqual(str(caught.exception), text, raw)
        self.assertTrue(issubclass(ExpressionError, ValueError))

    def test_regular_expressions(self) -> None:
        """A bad or an immense regular expression is refused when it is configured."""
        for pattern in ["(", "[", "*", "(?P<a", "a{99999999999}", "x" * (PATTERN_LIMIT + 1), 5, None]:
            with self.assertRaises(ExpressionError) as caught:
                compile_expression([["a", "~~", pattern]])
            self.assertTrue(str(caught.exception).startswith("invalid regular expression: "), pattern)
        compile_expression([["a", "~~", "x" * PATTERN_LIMIT]])

    def test_depth(self) -> None:
        """Immense nesting is refused, not a crash."""
        rule: list[Any] = ["a", "b"]
        deep: list[Any] = rule
        for _ in range(5000):
            deep = ["AND", rule, deep]
        with self.assertRaises(ExpressionError) as caught:
            compile_expression(deep)
        self.assertEqual(str(caught.exception), "invalid expression")
        fair = rule
        for _ in range(DEPTH_LIMIT):
            fair = ["AND", rule, fair]
        compile_expression(fair)


class LimitTests(SynchronousTestCase):
    def test_slow_patterns(self) -> None:
        """Where a search takes too long nobody knows whether an expression holds, nor its opposite."""
        short_limit(self)
        for rule in (["uri", "~~", PATTERN], ["uri", "~*", PATTERN], ["uri", "!", "~~", PATTERN]):
            for raw in ([rule], ["OR", rule, ["uri", "==", "x"]], ["!AND", rule, rule]):
                self.assertRaises(MatchTimeout, compile_expression(raw), exchange(target=f"/{TEXT}"))
