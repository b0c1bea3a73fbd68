"""Tests for gateway.plugins.api_breaker."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from gateway.core.exchange import Attempt, Reply
from gateway.core.explanation import Explanation
from gateway.interfaces import IAccessPhase, ILogPhase, IPluginFactory
from gateway.plugins import api_breaker
from gateway.registry import PluginRegistry
from gateway.testing.exchanges import exchange
from tests.plugins.limits_kit import World, access, explained


class ApiBreakerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()

    def plugin(self, **config: Any) -> Any:
        return api_breaker.plugin.make({"break_response_code": 502, **config}, self.world.services())

    def ask(self, plugin: Any, *statuses: int, **request: Any) -> list[Reply | None]:
        """Requests whose upstream answers with these statuses, as far as they get there."""
        replies = []
        for status in statuses:
            one = exchange(**request)
            reply = access(plugin, one)
            if reply is None and status:
                one.attempts.append(Attempt("127.0.0.1:1", status, 0.1, "ok"))
            plugin.log(one)
            replies.append(reply)
        return replies

    def test_interfaces(self) -> None:
        """It is a plugin for the access and log phases."""
        verifyObject(IPluginFactory, api_breaker.plugin)
        verifyObject(IAccessPhase, self.plugin())
        verifyObject(ILogPhase, self.plugin())

    def test_opens(self) -> None:
        """Three bad answers open it for 2 seconds."""
        plugin = self.plugin()
        self.assertEqual(self.ask(plugin, 500, 500, 500), [None] * 3)
        (reply,) = self.ask(plugin, 200)
        assert reply is not None
        self.assertEqual((reply.status, reply.body, reply.reason), (502, None, "breaker_open"))
        self.world.counters.now += 2.1
        self.assertEqual(self.ask(plugin, 200), [None])

    def test_longer_each_time(self) -> None:
        """Each time it opens it stays so for twice as long, up to the limit."""
        plugin = self.plugin(max_breaker_sec=10)
        for seconds in (2, 4, 8, 10, 10):
            self.ask(plugin, 500, 500, 500)
            self.world.counters.now += seconds - 0.1
            self.assertIsNotNone(self.ask(plugin, 0)[0], seconds)
            self.world.counters.now += 0.2
            self.assertIsNone(self.ask(plugin, 0)[0], seconds)

    def test_heals(self) -> None:
        """Three good answers forget all bad ones; a bad one in between forgets the good ones."""
        plugin = self.plugin()
        self.ask(plugin, 500, 500, 500)
        self.world.counters.now += 2.1
        self.ask(plugin, 200, 200, 500, 200, 200, 200)
        self.ask(plugin, 500, 500)
        self.assertIsNone(self.ask(plugin, 0)[0])
        self.ask(plugin, 500)
        self.world.counters.now += 2.1
        self.assertIsNone(self.ask(plugin, 0)[0])

    def test_others_do_not_count(self) -> None:
        """Statuses in neither list, and requests that met no upstream, change nothing."""
        plugin = self.plugin()
        self.ask(plugin, 500, 500, 404, 0, 503, 0)
        self.assertIsNone(self.ask(plugin, 500)[0])
        self.assertIsNotNone(self.ask(plugin, 0)[0])

    def test_host_and_path(self) -> None:
        """Each path of each host has a breaker of its own."""
        plugin = self.plugin()
        self.ask(plugin, 500, 500, 500, target="/a?b=1", headers=[("host", "one.test")])
        self.assertIsNotNone(self.ask(plugin, 0, target="/a", headers=[("host", "one.test")])[0])
        self.assertIsNone(self.ask(plugin, 0, target="/a", headers=[("host", "two.test")])[0])
        self.assertIsNone(self.ask(plugin, 0, target="/b", headers=[("host", "one.test")])[0])

    def test_answer(self) -> None:
        """The answer may have content, and fields with variables; without content it has none of them."""
        fields = [
            {"key": "X-Addr", "value": "from $remote_addr$http_evil"},
            {"key": "Content-Type", "value": "a/b"},
        ]
        plugin = self.plugin(break_response_body="closed", break_response_headers=fields)
        self.ask(plugin, 500, 500, 500)
        (reply,) = self.ask(plugin, 0, client_ip="10.0.0.1", headers=[("evil", "\r\nx: y")])
        assert reply is not None
        self.assertEqual((reply.status, reply.body), (502, b"closed"))
        self.assertEqual(dict(reply.fields), {b"x-addr": b"from 10.0.0.1x: y", b"content-type": b"a/b"})
        (reply,) = self.ask(self.plugin(break_response_headers=fields), 0)
        assert reply is not None
        self.assertEqual((reply.body, reply.fields), (None, ()))

    def test_own_statuses(self) -> None:
        """Which answers are bad, which are good, and how many of them, is for the user to say."""
        plugin = self.plugin(
            unhealthy={"http_statuses": [503], "failures": 1},
            healthy={"http_statuses": [404], "successes": 1},
        )
        self.assertEqual(self.ask(plugin, 500, 503), [None, None])
        self.assertIsNotNone(self.ask(plugin, 0)[0])
        self.world.counters.now += 2.1
        self.ask(plugin, 404, 503)
        self.world.counters.now += 2.1
        self.assertIsNone(self.ask(plugin, 0)[0])

    def test_time(self) -> None:
        """Powers of two, at least one, at most the limit."""
        found = [api_breaker.open_for_s(n, 3, 300) for n in (0, 1, 3, 4, 6, 24, 27, 10**6)]
        self.assertEqual(found, [2, 2, 2, 2, 4, 256, 300, 300])

    def test_settings(self) -> None:
        """What is accepted as settings."""
        registry = PluginRegistry([(api_breaker.plugin, "here")])
        good: dict[str, Any] = {"break_response_code": 502}
        for change in (
            {},
            {"unhealthy": {"failures": 1}},
            {"healthy": {"http_statuses": [200, 206]}},
            {"max_breaker_sec": 3},
        ):
            self.assertEqual(registry.check("api-breaker", {**good, **change}), [], change)
        bad: tuple[dict[str, Any], ...] = (
            {"break_response_code": 199},
            {"max_breaker_sec": 2},
            {"unhealthy": {"http_statuses": [404]}},
            {"unhealthy": {"failures": 0}},
            {"healthy": {"http_statuses": [500]}},
            {"healthy": {"http_statuses": [200, 200]}},
            {"break_response_headers": [{"key": "a b", "value": "c"}]},
            {"break_response_headers": [{"key": "a"}]},
        )
        for change in bad:
            self.assertNotEqual(registry.check("api-breaker", {**good, **change}), [], change)
        self.assertNotEqual(registry.check("api-breaker", {}), [])

    def test_explained(self) -> None:
        """Whether it is open and for how long, and until when it was; asking changes nothing."""
        plugin = self.plugin()
        self.assertEqual(explained(plugin, exchange()), Explanation(None, "the breaker is closed"))
        self.ask(plugin, 500, 500, 500)
        self.world.counters.now += 0.5
        for _ in range(3):
            found = explained(plugin, exchange())
            self.assertEqual(found.words, "the breaker is open for 1.5 s more")
            assert found.reply is not None
            self.assertEqual((found.reply.status, found.reply.reason), (502, "breaker_open"))
        self.world.counters.now += 2
        said = explained(plugin, exchange())
        self.assertEqual(said, Explanation(None, "the breaker was open until 0.5 s ago"))
        self.assertIsNone(explained(plugin, exchange(target="/other")).reply)
