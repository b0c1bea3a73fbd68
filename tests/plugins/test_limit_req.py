"""Tests for gateway.plugins.limit_req."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from gateway.core.explanation import Explanation
from gateway.interfaces import IAccessPhase, IPluginFactory
from gateway.plugins import limit_req
from gateway.registry import PluginRegistry
from gateway.testing.exchanges import exchange
from tests.plugins.limits_kit import World, access, explained, outcome


class LimitReqTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()

    def plugin(self, **config: Any) -> Any:
        return limit_req.plugin.make(
            {"rate": 2, "burst": 2, "key": "remote_addr", **config}, self.world.services()
        )

    def test_interfaces(self) -> None:
        """It is a plugin for the access phase."""
        verifyObject(IPluginFactory, limit_req.plugin)
        verifyObject(IAccessPhase, self.plugin())

    def test_steady(self) -> None:
        """Requests that keep to the rate do not wait."""
        plugin = self.plugin(burst=0)
        for _ in range(5):
            self.assertIsNone(access(plugin, exchange()))
            self.world.counters.now += 0.5
        self.assertEqual(self.world.slept, [])

    def test_burst(self) -> None:
        """Requests that come at once wait for their turn; what is beyond the burst is refused."""
        plugin = self.plugin()
        verdicts = [outcome(plugin.access(exchange())) for _ in range(4)]
        self.assertIsNone(verdicts[0])
        self.assertEqual((verdicts[3].status, verdicts[3].body), (503, None))
        self.assertEqual(self.world.slept, [0.5, 1.0])
        for verdict, waiting in zip(verdicts[1:3], self.world.waiting, strict=True):
            self.assertNoResult(verdict)
            waiting.callback(None)
            self.assertIsNone(self.successResultOf(verdict))

    def test_no_delay(self) -> None:
        """The burst may pass at once."""
        plugin = self.plugin(nodelay=True, rejected_code=429, rejected_msg="too fast")
        replies = [access(plugin, exchange()) for _ in range(4)]
        self.assertEqual(replies[:3], [None] * 3)
        assert replies[3] is not None
        self.assertEqual((replies[3].status, replies[3].body), (429, b'{"error_msg":"too fast"}\n'))
        self.assertEqual(replies[3].reason, "limit_req_exceeded")
        self.assertEqual(self.world.slept, [])

    def test_keys(self) -> None:
        """Each key has a bucket of its own."""
        plugin = self.plugin(burst=0, key="$remote_addr$http_x", key_type="var_combination")
        self.assertIsNone(access(plugin, exchange(headers=[("x", "a")])))
        self.assertIsNone(access(plugin, exchange(headers=[("x", "b")])))
        self.assertIsNotNone(access(plugin, exchange(headers=[("x", "b")])))

    def test_client_leaves(self) -> None:
        """A client that leaves while its request waits is not waited for."""
        plugin = self.plugin()
        access(plugin, exchange())
        verdict = outcome(plugin.access(exchange()))
        verdict.cancel()
        self.failureResultOf(verdict, CancelledError)

    def test_down(self) -> None:
        """Counters that cannot be had are a 500, or let the request pass if the user says so."""
        self.world.counters.down = True
        reply = access(self.plugin(), exchange())
        assert reply is not None
        self.assertEqual((reply.status, reply.body), (500, b'{"error_msg":"failed to limit req"}\n'))
        self.assertIsNone(access(self.plugin(allow_degradation=True), exchange()))

    def test_in_time(self) -> None:
        """Counters that are asked elsewhere give the same answers, later."""
        self.world.lag = True
        plugin = self.plugin(burst=1)
        verdicts = [outcome(plugin.access(exchange())) for _ in range(3)]
        for answer in self.world.answers:
            answer.callback(None)
        self.assertIsNone(self.successResultOf(verdicts[0]))
        self.assertNoResult(verdicts[1])
        self.world.waiting[0].callback(None)
        self.assertIsNone(self.successResultOf(verdicts[1]))
        self.assertEqual(self.successResultOf(verdicts[2]).status, 503)
        self.world.counters.down = True
        verdict = outcome(plugin.access(exchange()))
        self.world.answers[-1].callback(None)
        self.assertEqual(self.successResultOf(verdict).status, 500)

    def test_extremes(self) -> None:
        """Nobody waits for ever, however slow the rate; no number is too large."""
        plugin = self.plugin(rate=1e-300, burst=10**400)
        self.assertIsNone(access(plugin, exchange()))
        outcome(plugin.access(exchange()))
        self.assertEqual(self.world.slept, [3600.0])
        plugin = self.plugin(rate=10**400, burst=0)
        self.assertIsNone(access(plugin, exchange(client_ip="10.0.0.7")))

    def test_settings(self) -> None:
        """What is accepted as settings."""
        registry = PluginRegistry([(limit_req.plugin, "here")])
        good: dict[str, Any] = {"rate": 0.5, "burst": 0, "key": "remote_addr"}
        for change in ({}, {"burst": 1.5}, {"policy": "redis", "redis_host": "localhost"}):
            self.assertEqual(registry.check("limit-req", {**good, **change}), [], change)
        bad: tuple[dict[str, Any], ...] = (
            {"rate": 0},
            {"burst": -1},
            {"policy": "redis"},
            {"key_type": "constant"},
        )
        for change in bad:
            self.assertNotEqual(registry.check("limit-req", {**good, **change}), [], change)
        for name in good:
            self.assertNotEqual(registry.check("limit-req", {k: v for k, v in good.items() if k != name}), [])

    def test_explained(self) -> None:
        """Whether a request would wait, or when there is room again; nothing is poured in by asking."""
        plugin = self.plugin(burst=1)
        for _ in range(3):
            self.assertEqual(explained(plugin, exchange()), Explanation(None, "keeps to the rate"))
        access(plugin, exchange())
        for _ in range(3):
            self.assertEqual(explained(plugin, exchange()).words, "waits 0.5 s for its turn")
        outcome(plugin.access(exchange()))
        found = explained(plugin, exchange())
        self.assertEqual(found.reply, access(plugin, exchange()))
        self.assertEqual(found.words, "as many wait as burst allows; there is room again in 0.5 s")
        self.world.counters.now += 0.5
        self.assertIsNone(explained(plugin, exchange()).reply)
        self.assertEqual(self.world.slept, [0.5])

    def test_explained_without_delay(self) -> None:
        """Those that may pass at once do not wait; counters that cannot be had are told."""
        plugin = self.plugin(nodelay=True)
        access(plugin, exchange())
        self.assertEqual(explained(plugin, exchange()).words, "early by 0.5 s, within the burst")
        self.world.counters.down = True
        found = explained(plugin, exchange())
        assert found.reply is not None
        self.assertEqual((found.reply.reason, found.words), ("limit_unavailable", "the counters are down"))
