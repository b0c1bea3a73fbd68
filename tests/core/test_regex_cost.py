"""Tests for gateway.core.regex_cost."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from gateway.core.regex_cost import safe_length


class SafeLengthTests(SynchronousTestCase):
    def test_linear(self) -> None:
        """Patterns that take time in proportion to the text may have any text."""
        for pattern in (
            *("", "$", r"\.php$", "^/api/(.*)$", "^a+b", "a{5}", "(select|union)", "^(a|b)+$", "^(?:ab)*c"),
            *(r"^/orders/(\d+)/(.*)$", r"^([^@:]+):([^@]+)@", r"^\w+:\w+$", "^[!-,]+-a*"),
            *("^a{1,100}$", "(?<=a)b", "(?!a)b", "^a|^b+", "(^a+)", r"\Aa+", "^(?=.*x)", "^(a)?(?(1)b|c)"),
        ):
            self.assertIsNone(safe_length(pattern), pattern)

    def test_polynomial(self) -> None:
        """Several places to begin, or several repeats, may have short texts, shorter for more of them."""
        for pattern in (
            *(
                "a+b",
                "a.*b",
                "^a*b*c",
                r"^/orders/([\d/]+)/(.*)$",
                "(?m)^a+b",
                "(?m:^)a+b",
                "a*+b",
                "(?>a*)b",
            ),
            *("(?:ab)+c", "a{1,100}b", r"(a)\1", "^a|b+", "(?=a*b)", "^(a*)(?(1)b|c)d*e"),
            *(r"([a-z]+\.)*com", r"^(?:(\w+)-)*x", "([^/]+?/)*", r"^([^\W]+,)+$", "^.+/.+/", r"^\S+-\w+"),
        ):
            self.assertIn(safe_length(pattern), range(64, 4097), pattern)
        lengths = [safe_length("^" + "a*" * count + "b") or 0 for count in (2, 3, 4)]
        self.assertEqual(lengths, sorted(lengths, reverse=True))

    def test_exponential(self) -> None:
        """Repeats of what can match in several ways may have no text at all."""
        for pattern in (
            *("(a+)+$", "(.*)*=", "(a|aa)+$", "(a?)*b", "^(([a-z])+.)+$", "(?:a{1,2})*$", "(?:a?){1000}b"),
            *(r"([a-z-]+-)*", "(.+/)*x", r"(\W+-)*x", r"([^\w]+-)*x", "([!-/]+-)*x", r"(a+\b)*x", "(a+a)*x"),
            *("(?i)(A+)+$", "(?=(a+)+$)", "(?>(a+)+$)", "(?:(?:a+)+)?+$", "((a*)*?)$"),
        ):
            self.assertEqual(safe_length(pattern), 0, pattern)

    def test_flags(self) -> None:
        """With MULTILINE a search begins at each line."""
        self.assertIsNone(safe_length("^a+b"))
        self.assertIsNotNone(safe_length("^a+b", re.MULTILINE))
        self.assertIsNone(safe_length(r"\Aa+b", re.MULTILINE))
