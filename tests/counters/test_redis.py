"""Tests for gateway.counters.redis, with a real Redis."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from gateway.counters.connection import RedisServer, Target
from gateway.counters.redis import RedisCounters
from gateway.interfaces import CountersFailed, Window
from gateway.upstream.tls import ClientTLS
from tests.counters.contract import CountersContract
from tests.counters.redis_server import RedisProcess


class RedisCase(TestCase):
    """A Redis for each test."""

    redis: RedisProcess

    def server(self, target: Target | None = None, retry_s: float = 0.2) -> RedisServer:
        target = target or Target("127.0.0.1", self.redis.port, timeout_s=30)
        server = RedisServer(target, reactor, ClientTLS(), retry_s=retry_s)
        self.addCleanup(server.close)
        return server


class RedisCountersTests(CountersContract, RedisCase):
    """Redis keeps the promises."""

    def setUp(self) -> None:
        self.redis = RedisProcess(self)
        self.counters = RedisCounters(self.server())

    async def pass_time(self, seconds: float) -> None:
        await deferLater(reactor, seconds)  # type: ignore[arg-type]  # the reactor's interface is typed apart

    async def test_two_gateways(self) -> None:
        """Two gateways that use one Redis share its counters."""
        key = self.key()
        other: Any = RedisCounters(self.server())
        self.assertTrue((await self.take(key, 2, 60.0)).admitted)
        self.assertTrue((await other.take(key, 2, 60.0)).admitted)
        self.assertFalse((await self.take(key, 2, 60.0)).admitted)

    async def test_one_round_trip(self) -> None:
        """Each request is one command, once the server knows the script."""
        key = self.key()
        windows = [Window(f"{key}{n}", 9, 60.0) for n in range(3)]
        await self.counters.take_all(windows)
        before = self._commands()
        for _ in range(10):
            await self.counters.take_all(windows)
        self.assertEqual(self._commands() - before, 10)

    def _commands(self) -> int:
        lines = self.redis.command("info", "commandstats").splitlines()
        calls = [line.partition("calls=")[2].partition(",")[0] for line in lines if "cmdstat_eval" in line]
        return sum(map(int, calls))

    async def test_forgotten(self) -> None:
        """Who does not leave, because its gateway is gone, is forgotten after a time."""
        key = self.key()
        self.assertEqual(await self.value(self.counters.enter(key, 1, "a", 0.05)), 1)
        await self.pass_time(0.1)
        self.assertEqual(await self.value(self.counters.enter(key, 1, "b", 60.0)), 1)

    async def test_nothing_stays(self) -> None:
        """Every key in Redis has an end."""
        key = self.key()
        await self.take(key + "f", 3, 60.0)
        await self.take(key + "s", 3, 60.0, sliding=True)
        await self.value(self.counters.leak(key + "b", 0.01, 1))
        await self.value(self.counters.enter(key + "r", 3, "t", 60.0))
        for kind in "fsbr":
            self.assertGreater(int(self.redis.command("pttl", key + kind)), 0, kind)

    async def test_another_type(self) -> None:
        """A key that holds something else is a failure in words, not a bug."""
        key = self.key()
        self.redis.command("rpush", key, "x")
        with self.assertRaises(CountersFailed) as caught:
            await self.take(key, 3, 60.0)
        self.assertIn("redis refused", str(caught.exception))
