"""Tests for gateway.counters.sentinel, with a real master, a replica and a sentinel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from gateway.counters.connection import RedisServer, Target
from gateway.counters.redis import RedisCounters
from gateway.counters.sentinel import RedisSentinel
from gateway.interfaces import CountersFailed, Window
from gateway.upstream.tls import ClientTLS
from tests.counters.redis_server import LIMIT_S, RedisProcess
from tests.ports import reserve


class SentinelTests(TestCase):
    timeout = LIMIT_S * 3

    def setUp(self) -> None:
        self.servers: dict[int, RedisServer] = {}
        self.addCleanup(lambda: [server.close() for server in self.servers.values()])

    def connect(self, host: str, port: int) -> RedisServer:
        known = self.servers.get(port)
        if known is None:
            target = Target(host, port, timeout_s=LIMIT_S)
            known = self.servers[port] = RedisServer(target, reactor, ClientTLS(), retry_s=0.2)
        return known

    def counters(self, *sentinels: int) -> Any:
        servers = [self.connect("127.0.0.1", port) for port in sentinels]
        return RedisCounters(RedisSentinel(servers, "main", self.connect, reactor, timeout_s=LIMIT_S))

    async def until(self, counters: Any, window: Window) -> None:
        """Take from *window* until it can be."""
        deadline = reactor.seconds() + LIMIT_S  # type: ignore[attr-defined]
        while reactor.seconds() < deadline:  # type: ignore[attr-defined]
            try:
                await counters.take(*window)
                return
            except CountersFailed:
                await deferLater(reactor, 0.1)  # type: ignore[arg-type]  # the reactor is typed apart
        self.fail("no master")

    async def test_failover(self) -> None:
        """Counters are on the master; when it dies, on the one that the sentinels put in its place."""
        master = RedisProcess(self)
        replica = RedisProcess(self, "--replicaof", f"127.0.0.1 {master.port}")
        config = Path(self.mktemp())
        config.write_text(
            f"sentinel monitor main 127.0.0.1 {master.port} 1\nsentinel failover-timeout main 2000\n"
        )
        sentinel = RedisProcess(self, str(config.resolve()), "--sentinel")
        counters = self.counters(reserve(self), sentinel.port)
        await counters.take("where", 9, 600.0)
        self.assertEqual(master.command("exists", "where"), "1")
        deadline = reactor.seconds() + LIMIT_S  # type: ignore[attr-defined]
        while "slaves=1" not in sentinel.command("info", "sentinel"):
            self.assertLess(reactor.seconds(), deadline)  # type: ignore[attr-defined]
            await deferLater(reactor, 0.1)  # type: ignore[arg-type]  # the reactor is typed apart
        # Impatient only now: a master that is merely slow would be replaced, too.
        sentinel.command("sentinel", "set", "main", "down-after-milliseconds", "500")
        master.kill()
        await self.until(counters, Window("after", 9, 600.0))
        self.assertEqual(replica.command("exists", "after"), "1")

    async def test_demoted(self) -> None:
        """A server that is the master no more is left for the one that is, in the same request."""
        one = RedisProcess(self)
        two = RedisProcess(self, "--replicaof", f"127.0.0.1 {one.port}")
        config = Path(self.mktemp())
        config.write_text(f"sentinel monitor main 127.0.0.1 {one.port} 1\n")
        sentinel = RedisProcess(self, str(config.resolve()), "--sentinel")
        counters = self.counters(sentinel.port)
        await counters.take("a", 9, 600.0)
        sentinel.command("sentinel", "remove", "main")
        two.command("replicaof", "no", "one")
        sentinel.command("sentinel", "monitor", "main", "127.0.0.1", str(two.port), "1")
        one.command("replicaof", "127.0.0.1", str(two.port))
        await counters.take("b", 9, 600.0)
        self.assertEqual(two.command("exists", "b"), "1")

    async def test_nobody(self) -> None:
        """Sentinels that cannot be reached, or know no such master, are a failure in words."""
        config = Path(self.mktemp())
        config.write_text("sentinel monitor other 127.0.0.1 1 1\n")
        sentinel = RedisProcess(self, str(config.resolve()), "--sentinel")
        for counters in (self.counters(reserve(self)), self.counters(sentinel.port)):
            with self.assertRaises(CountersFailed) as caught:
                await counters.take("k", 1, 60.0)
            self.assertIn("no sentinel knows a master", str(caught.exception))
