"""Tests for gateway.plugins.uri_blocker."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway.core.exchange import Reply
from gateway.core.regex_limits import MatchTimeout
from gateway.plugins.uri_blocker import plugin
from gateway.testing.exchanges import exchange
from gateway.testing.plugins import bind, finish, problems
from gateway.testing.services import services
from tests.slow_regex import PATTERN, TEXT, short_limit


def rewrite(target: str, path: str | None = None, **config: Any) -> Reply | None:
    hook = bind(plugin, config).rewrite
    assert hook is not None
    return finish(hook(exchange(target=target, path=path)))


class RewriteTests(SynchronousTestCase):
    def test_blocked(self) -> None:
        """What is found in the path or the query blocks a request."""
        rules = [r"root\.exe", r"\.(bak|sql)$", "select.+from"]
        for target in ("/root.exe?a", "/x/root.exe", "/a.sql", "/?q=select%20a%20from"):
            reply = rewrite(target, block_rules=rules)
            assert reply is not None
            self.assertEqual((reply.status, reply.body, reply.reason), (403, None, "uri_blocked"))
        for target in ("/rootXexe", "/a.sql?x", "/ROOT.EXE"):
            self.assertIsNone(rewrite(target, block_rules=rules), target)

    def test_normalised(self) -> None:
        """The path that counts is the one that routes are matched against."""
        self.assertIsNotNone(rewrite("/%72oot.exe", "/root.exe", block_rules=[r"^/root\.exe$"]))

    def test_answer(self) -> None:
        """Status and text are the route's."""
        reply = rewrite("/a", block_rules=["a"], rejected_code=451, rejected_msg="no entry")
        assert reply is not None
        self.assertEqual((reply.status, reply.body), (451, b'{"error_msg":"no entry"}\n'))

    def test_letter_case(self) -> None:
        """Letter case matters unless it is said not to."""
        self.assertIsNone(rewrite("/AA", block_rules=["aa"]))
        self.assertIsNotNone(rewrite("/AA", block_rules=["aa"], case_insensitive=True))

    def test_no_rules(self) -> None:
        """Without rules nothing is blocked."""
        self.assertIsNone(rewrite("/AA", block_rules=[]))


class LimitTests(SynchronousTestCase):
    def test_slow_rules(self) -> None:
        """A request for which a rule takes too long does not pass, and it is said whose rule it is."""
        short_limit(self)
        hook = bind(plugin, {"block_rules": [PATTERN]}, services(origin="route/1")).rewrite
        assert hook is not None
        timeout = self.assertRaises(MatchTimeout, hook, exchange(target=f"/{TEXT}"))
        self.assertEqual((timeout.owner, timeout.pattern), ("plugin uri-blocker of route/1", PATTERN))
        self.assertIsNone(finish(hook(exchange(target="/b"))))


class FactoryTests(SynchronousTestCase):
    def test_settings(self) -> None:
        """Rules are regular expressions, no two alike."""
        self.assertEqual(problems(plugin, {}), [("/block_rules", "required")])
        self.assertEqual(problems(plugin, {"block_rules": ["a", "a"]}), [("/block_rules", "uniqueItems")])
        self.assertEqual(problems(plugin, {"block_rules": [""]}), [("/block_rules/0", "minLength")])
        self.assertEqual(problems(plugin, {"block_rules": ["a" * 4097]}), [("/block_rules/0", "maxLength")])
        ((_, text),) = problems(plugin, {"block_rules": [".+("]})
        self.assertTrue(text.startswith("block_rules: invalid regular expression: "), text)
        for member, value, rule in (("rejected_code", 199, "minimum"), ("rejected_msg", "", "minLength")):
            self.assertEqual(problems(plugin, {"block_rules": ["a"], member: value}), [(f"/{member}", rule)])
        self.assertEqual(len(problems(plugin, {"block_rules": ["a"], "rejected_code": 1000})), 1)
        self.assertEqual(plugin.priority, 2900)
