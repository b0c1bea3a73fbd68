"""Tests for gateway.plugins.ua_restriction."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway.core.exchange import Reply
from gateway.core.regex_limits import MatchTimeout
from gateway.plugins.ua_restriction import plugin
from gateway.testing.exchanges import exchange
from gateway.testing.plugins import bind, finish, problems
from tests.slow_regex import PATTERN, TEXT, short_limit


def access(*agents: str, **config: Any) -> Reply | None:
    hook = bind(plugin, config).access
    assert hook is not None
    return finish(hook(exchange(headers=[("User-Agent", agent) for agent in agents])))


class AccessTests(SynchronousTestCase):
    def refused(self, reply: Reply | None, reason: str, message: str = "Not allowed") -> None:
        assert reply is not None
        self.assertEqual((reply.status, reply.reason), (403, reason))
        self.assertEqual(reply.body, b'{"message":"%s"}\n' % message.encode())

    def test_allowlist(self) -> None:
        """With an allowlist only agents that are on it may."""
        listed = ["my-bot1", r"(Baiduspider)/(\d+)\.(\d+)"]
        for agent in ("a my-bot1 b", "Baiduspider/1.10"):
            self.assertIsNone(access(agent, allowlist=listed))
        for agent in ("MY-BOT1", "Baiduspider", ""):
            self.refused(access(agent, allowlist=listed), "user_agent_not_allowed")

    def test_denylist(self) -> None:
        """With a denylist every agent may but those."""
        self.assertIsNone(access("curl", denylist=["^my-bot"]))
        self.refused(
            access("my-bot2", denylist=["^my-bot"], message="Go away"), "user_agent_not_allowed", "Go away"
        )
        self.refused(access("MY-BOT", denylist=["(?i)my-bot"]), "user_agent_not_allowed")

    def test_both(self) -> None:
        """With both, the denylist counts first, and everybody else must be on the allowlist."""
        lists = {"allowlist": ["bot"], "denylist": ["bad"]}
        self.assertIsNone(access("good bot", **lists))
        self.refused(access("bad bot", **lists), "user_agent_not_allowed")
        self.refused(access("curl", **lists), "user_agent_not_allowed")

    def test_missing(self) -> None:
        """A request that does not say is refused, unless the route lets it pass."""
        for name in ("allowlist", "denylist"):
            self.refused(access(**{name: ["a"]}), "user_agent_missing")
            self.assertIsNone(access(bypass_missing=True, **{name: ["a"]}))

    def test_repeated(self) -> None:
        """Of repeated headers one that is denied is enough, and one that is allowed."""
        self.assertIsNone(access("a", "b", allowlist=["b"]))
        self.refused(access("a", "b", denylist=["b"]), "user_agent_not_allowed")
        self.assertIsNone(access("a", "b", denylist=["c"]))


class LimitTests(SynchronousTestCase):
    def test_slow_patterns(self) -> None:
        """Nobody passes a list that takes too long, and many headers share one limit."""
        short_limit(self)
        for name in ("allowlist", "denylist"):
            self.assertRaises(MatchTimeout, access, TEXT, **{name: [PATTERN]})
        # Each of them alone is in time.
        agents = ["a" * length + "!" for length in range(10, 20)] * 30
        self.assertIsNone(access(agents[0], denylist=[PATTERN]))
        self.assertRaises(MatchTimeout, access, *agents, denylist=[PATTERN])


class FactoryTests(SynchronousTestCase):
    def test_settings(self) -> None:
        """At least one list is needed, of regular expressions."""
        self.assertEqual(problems(plugin, {}), [("", "anyOf")])
        self.assertEqual(problems(plugin, {"allowlist": []}), [("/allowlist", "minItems")])
        self.assertEqual(problems(plugin, {"denylist": [""]}), [("/denylist/0", "minLength")])
        self.assertEqual(problems(plugin, {"denylist": ["a"], "message": ""}), [("/message", "minLength")])
        for name in ("allowlist", "denylist"):
            ((_, text),) = problems(plugin, {name: ["a", "("]})
            self.assertTrue(text.startswith(f"{name}: invalid regular expression: "), text)
        self.assertEqual(problems(plugin, {"allowlist": ["a"], "denylist": ["$env://B"]}), [])
        self.assertEqual(plugin.priority, 2999)
