"""Tests for gateway.core.limiting."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.core import limiting, schema_words
from gateway.model.schema import Checker
from gateway.testing.exchanges import exchange


class KeyTests(SynchronousTestCase):
    def test_readers(self) -> None:
        """Each type of key, with and without a value."""
        request = exchange(target="/?a=1", headers=[("x", "v")], client_ip="10.0.0.1")
        for key, kind, wanted in (
            ("remote_addr", "var", "10.0.0.1"),
            ("$remote_addr", "var", "10.0.0.1"),
            ("arg_a", "var", "1"),
            ("arg_b", "var", "10.0.0.1"),
            ("$arg_a-$http_x", "var_combination", "1-v"),
            ("$arg_b-$http_x", "var_combination", "-v"),
            ("$arg_b$arg_c", "var_combination", "10.0.0.1"),
            ("no variables", "var_combination", "10.0.0.1"),
            ("$arg_a", "constant", "$arg_a"),
        ):
            self.assertEqual(limiting.key_reader(key, kind)(request), wanted, (key, kind))

    def test_rule_keys(self) -> None:
        """A rule's key is text with variables; without any value the rule is not for the request."""
        request = exchange(target="/?a=1")
        for key, wanted in (("$arg_a", "1"), ("$arg_b", None), ("$arg_a $arg_b", "1 "), ("all", "all")):
            self.assertEqual(limiting.rule_key_reader(key)(request), wanted, key)

    def test_long(self) -> None:
        """A long key is a short one of its own."""
        read = limiting.key_reader("http_x", "var")
        found = {read(exchange(headers=[("x", letter * 9000)])) for letter in "abc"}
        self.assertEqual(len(found), 3)
        self.assertTrue(all(len(key) <= limiting.MAX_KEY for key in found))

    def test_identity(self) -> None:
        """Plugin, place and settings tell counters apart; the order of members does not."""
        one = limiting.identity("limit-count", "route/1", {"a": 1, "b": "\udcff"})
        self.assertEqual(one, limiting.identity("limit-count", "route/1", {"b": "\udcff", "a": 1}))
        others = {
            limiting.identity("limit-req", "route/1", {"a": 1, "b": "\udcff"}),
            limiting.identity("limit-count", "route/2", {"a": 1, "b": "\udcff"}),
            limiting.identity("limit-count", "route/1", {"a": 2, "b": "\udcff"}),
            limiting.identity("limit-count", "route/1", {"a": 1, "b": "\udcff"}, "g"),
        }
        self.assertEqual(len(others | {one}), 5)


class PolicyTests(SynchronousTestCase):
    def test_words(self) -> None:
        """What a policy lacks is told of as clients of Apache APISIX know it."""
        checker = Checker(limiting.policy_schema(sentinel=True))
        for policy, clause in (("redis", "then"), ("redis-cluster", "else"), ("redis-sentinel", "else")):
            problems = checker.problems({"policy": policy})
            self.assertEqual(schema_words.text(problems[0]), f"{clause} clause did not match", policy)
        self.assertEqual(checker.problems({}) + checker.problems({"policy": "local"}), [])


class NumberTests(SynchronousTestCase):
    def test_readers(self) -> None:
        """Numbers are taken as they are; text is read from the request and must be a whole number."""
        self.assertEqual(limiting.number_reader(5), 5)
        for text, least, wanted in (
            ("7", 1, 7),
            ("$arg_n", 1, 12),
            ("$arg_n.0", 1, 12),
            ("0", 1, None),
            ("0", 0, 0),
            ("$arg_x", 0, None),
            ("1.5", 1, None),
            ("٣", 1, None),
        ):
            read = limiting.number_reader(text, least=least)
            assert callable(read)
            self.assertEqual(read(exchange(target="/?n=12")), wanted, text)

    def test_decimal(self) -> None:
        """At most two decimals, and none that say nothing."""
        found = [limiting.decimal(s) for s in (60, 100.0, 59.999, 12.5, 0.004, 0.126, 0)]
        self.assertEqual(found, [b"60", b"100", b"60", b"12.5", b"0", b"0.13", b"0"])


class RefusalTests(SynchronousTestCase):
    def test_refusal(self) -> None:
        """With a message it is JSON, without one the status alone."""
        plain = limiting.refusal({"rejected_code": 429}, "r")
        self.assertEqual((plain.status, plain.body, plain.reason), (429, None, "r"))
        worded = limiting.refusal({"rejected_code": 503, "rejected_msg": "no"}, "r")
        self.assertEqual(worded.body, b'{"error_msg":"no"}\n')
