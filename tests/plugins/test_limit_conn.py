"""Tests for gateway.plugins.limit_conn."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from gateway.core.exchange import Attempt, Exchange
from gateway.core.explanation import Explanation
from gateway.interfaces import IAccessPhase, ILogPhase, IPluginFactory
from gateway.plugins import limit_conn
from gateway.registry import PluginRegistry
from gateway.testing.exchanges import exchange
from tests.plugins.limits_kit import World, access, explained, outcome


class LimitConnTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.count = 0

    def plugin(self, **config: Any) -> Any:
        settings = {"conn": 2, "burst": 1, "default_conn_delay": 0.5, "key": "remote_addr", **config}
        return limit_conn.plugin.make(settings, self.world.services())

    def request(self, **more: Any) -> Exchange:
        self.count += 1
        made = exchange(**more)
        made.id = f"request-{self.count}"
        return made

    def end(self, plugin: Any, request: Exchange, proxied: bool = True) -> None:
        if proxied:
            request.attempts.append(Attempt("127.0.0.1:1", 200, 0.1, "ok"))
        plugin.log(request)

    def test_interfaces(self) -> None:
        """It is a plugin for the access and log phases."""
        verifyObject(IPluginFactory, limit_conn.plugin)
        verifyObject(IAccessPhase, self.plugin())
        verifyObject(ILogPhase, self.plugin())

    def test_at_the_same_time(self) -> None:
        """conn pass, burst wait, the rest is refused; whoever ends makes room."""
        plugin = self.plugin()
        requests = [self.request() for _ in range(4)]
        verdicts = [outcome(plugin.access(request)) for request in requests]
        self.assertEqual(verdicts[:2], [None, None])
        self.assertEqual((verdicts[3].status, verdicts[3].reason), (503, "limit_conn_exceeded"))
        self.assertEqual(self.world.slept, [0.5])
        self.world.waiting[0].callback(None)
        self.assertIsNone(self.successResultOf(verdicts[2]))
        for request in requests:
            self.end(plugin, request)
        self.assertIsNone(access(plugin, self.request()))
        self.assertIsNone(access(plugin, self.request()))

    def test_refused_holds_nothing(self) -> None:
        """A refused request takes nobody's place, and gives nobody's back."""
        plugin = self.plugin(burst=0)
        inside = [self.request(), self.request()]
        for request in inside:
            access(plugin, request)
        for _ in range(3):
            refused = self.request()
            self.assertIsNotNone(access(plugin, refused))
            self.end(plugin, refused, proxied=False)
        self.assertIsNotNone(access(plugin, self.request()))

    def test_ends_once(self) -> None:
        """A request gives its place back once."""
        plugin = self.plugin(burst=0)
        one, two = self.request(), self.request()
        access(plugin, one)
        access(plugin, two)
        self.end(plugin, one)
        self.end(plugin, one)
        self.assertIsNone(access(plugin, self.request()))
        self.assertIsNotNone(access(plugin, self.request()))

    def test_client_leaves_while_it_waits(self) -> None:
        """A client that leaves during its delay has its place given back."""
        plugin = self.plugin(conn=1)
        first, second = self.request(), self.request()
        access(plugin, first)
        verdict = outcome(plugin.access(second))
        verdict.addErrback(lambda _: None)
        verdict.cancel()
        self.end(plugin, second, proxied=False)
        self.end(plugin, first)
        self.assertIsNone(access(plugin, self.request()))

    def test_delay_grows(self) -> None:
        """The delay is the unit for each full conn requests that are in already."""
        plugin = self.plugin(conn=2, burst=4)
        for _ in range(6):
            outcome(plugin.access(self.request()))
        self.assertEqual(self.world.slept, [0.5, 0.5, 1.0, 1.0])

    def test_adapts(self) -> None:
        """The unit follows how long requests take, the delay aside; unless it is to stay."""
        for config, wanted in (({}, 1.25), ({"only_use_default_delay": True}, 0.5)):
            plugin = self.plugin(key="http_x", **config)
            request = self.request(headers=[("x", str(config))])
            access(plugin, request)
            self.world.counters.now += 2.0
            self.end(plugin, request)
            self.assertEqual(plugin.unit_s, wanted)

    def test_rules(self) -> None:
        """Several limits hold at once; a request that one refuses leaves the others."""
        rules = [{"conn": 5, "burst": 0, "key": "$http_tenant"}, {"conn": 1, "burst": 0, "key": "$http_user"}]
        plugin = limit_conn.plugin.make({"default_conn_delay": 0.1, "rules": rules}, self.world.services())
        first = self.request(headers=[("tenant", "t"), ("user", "a")])
        self.assertIsNone(access(plugin, first))
        for _ in range(20):
            refused = self.request(headers=[("tenant", "t"), ("user", "a")])
            self.assertIsNotNone(access(plugin, refused))
            plugin.log(refused)
        self.assertIsNone(access(plugin, self.request(headers=[("tenant", "t"), ("user", "b")])))
        reply = access(plugin, self.request())
        assert reply is not None
        self.assertEqual((reply.status, reply.reason), (500, "limit_unresolved"))

    def test_templates(self) -> None:
        """conn and burst may come from the request; what is no number is a 500."""
        config: Any = {"conn": "${http_c ?? 1}", "burst": "${http_b ?? 0}"}
        plugin = self.plugin(**config)
        self.assertIsNone(access(plugin, self.request()))
        reply = access(plugin, self.request())
        assert reply is not None
        self.assertEqual(reply.status, 503)
        self.assertIsNone(access(plugin, self.request(headers=[("c", "9")])))
        for bad in (("c", "0"), ("c", "x"), ("b", "-1")):
            reply = access(plugin, self.request(headers=[bad]))
            assert reply is not None
            self.assertEqual((reply.status, reply.body), (500, None))
        self.assertIsNone(access(self.plugin(allow_degradation=True, **config), self.request(headers=[bad])))

    def test_down(self) -> None:
        """Counters that cannot be had are a 500, or let the request pass if the user says so."""
        self.world.counters.down = True
        reply = access(self.plugin(), self.request())
        assert reply is not None
        self.assertEqual((reply.status, reply.body), (500, b'{"error_msg":"failed to limit conn"}\n'))
        request = self.request()
        degraded = self.plugin(allow_degradation=True)
        self.assertIsNone(access(degraded, request))
        self.end(degraded, request)

    def test_in_time(self) -> None:
        """Counters that are asked elsewhere give the same answers, later."""
        self.world.lag = True
        plugin = self.plugin(conn=1, burst=1)
        requests = [self.request() for _ in range(3)]
        verdicts = [outcome(plugin.access(request)) for request in requests]
        for answer in self.world.answers:
            answer.callback(None)
        self.assertIsNone(self.successResultOf(verdicts[0]))
        self.assertNoResult(verdicts[1])
        self.world.waiting[0].callback(None)
        self.assertIsNone(self.successResultOf(verdicts[1]))
        self.assertEqual(self.successResultOf(verdicts[2]).status, 503)

    def test_client_leaves_before_the_answer(self) -> None:
        """A client that leaves before the counters have answered holds no place."""
        self.world.lag = True
        plugin = self.plugin(conn=1, burst=0)
        request = self.request()
        verdict = outcome(plugin.access(request))
        verdict.addErrback(lambda _: None)
        verdict.cancel()
        self.end(plugin, request, proxied=False)
        verdict = outcome(plugin.access(self.request()))
        self.world.answers[-1].callback(None)
        self.assertIsNone(self.successResultOf(verdict))

    def test_settings(self) -> None:
        """What is accepted as settings."""
        registry = PluginRegistry([(limit_conn.plugin, "here")])
        good: dict[str, Any] = {"conn": 1, "burst": 0, "default_conn_delay": 0.1, "key": "remote_addr"}
        rules: dict[str, Any] = {"default_conn_delay": 1, "rules": [{"conn": 1, "burst": 0, "key": "$a"}]}
        for config in (good, rules, {**good, "conn": "$a", "burst": "$b"}, {**good, "key_ttl": 5}):
            self.assertEqual(registry.check("limit-conn", config), [], config)
        changes: tuple[dict[str, Any], ...] = (
            {"conn": 0},
            {"burst": -1},
            {"default_conn_delay": 0},
            {"policy": "redis"},
            {"rules": rules["rules"]},
        )
        for change in changes:
            self.assertNotEqual(registry.check("limit-conn", {**good, **change}), [], change)
        for name in good:
            self.assertNotEqual(
                registry.check("limit-conn", {k: v for k, v in good.items() if k != name}), []
            )
        twice = {"default_conn_delay": 1, "rules": rules["rules"] * 2}
        self.assertNotEqual(registry.check("limit-conn", twice), [])
        self.assertIn("redis_password", limit_conn.plugin.secret_fields)

    def test_explained(self) -> None:
        """How many places are taken, and how long a request would wait; none is taken by asking."""
        plugin = self.plugin()
        for _ in range(3):
            said = explained(plugin, self.request())
            self.assertEqual(said, Explanation(None, "0 of 3 places are taken"))
        inside = [self.request() for _ in range(3)]
        for one in inside[:2]:
            access(plugin, one)
        said = explained(plugin, self.request())
        self.assertEqual(said, Explanation(None, "2 of 3 places are taken; waits about 0.5 s"))
        outcome(plugin.access(inside[2]))
        found, asked = explained(plugin, self.request()), self.request()
        self.assertEqual(found.reply, access(plugin, asked))
        self.assertEqual(found.words, "all 3 places are taken until a request ends")
        for one in (*inside, asked):
            self.end(plugin, one)
        self.assertEqual(explained(plugin, self.request()).words, "0 of 3 places are taken")

    def test_explained_without_numbers(self) -> None:
        """A request whose limit cannot be told is explained as a 500; so are counters that are down."""
        found = explained(self.plugin(conn="$http_conn"), self.request())
        assert found.reply is not None
        self.assertEqual((found.reply.status, found.reply.reason), (500, "limit_unresolved"))
        self.world.counters.down = True
        found = explained(self.plugin(), self.request())
        assert found.reply is not None
        self.assertEqual(found.reply.reason, "limit_unavailable")
