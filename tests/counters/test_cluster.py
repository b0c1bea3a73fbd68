"""Tests for gateway.counters.cluster, with a real cluster of three servers."""

from __future__ import annotations

import subprocess
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from gateway.counters.cluster import SLOTS, RedisCluster, slot_of
from gateway.counters.connection import RedisServer, Target
from gateway.counters.redis import RedisCounters
from gateway.interfaces import CountersFailed, Quota
from gateway.upstream.tls import ClientTLS
from tests.counters.contract import CountersContract
from tests.counters.redis_server import LIMIT_S, RedisProcess
from tests.ports import reserve


class SlotTests(SynchronousTestCase):
    def test_slots(self) -> None:
        """Keys are in the slots that the specification says; what is in braces decides alone."""
        for key, slot in (
            (b"123456789", 0x31C3),
            (b"foo", 12182),
            (b"{foo}bar", 12182),
            (b"a{foo}{b}", 12182),
        ):
            self.assertEqual(slot_of(key), slot % SLOTS)
        self.assertNotEqual(slot_of(b"{}foo"), slot_of(b"{}bar"))


class Promises(CountersContract):
    """The contract, asked of somebody else's counters."""

    case: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self.case, name)

    async def pass_time(self, seconds: float) -> None:
        await self.case.pass_time(seconds)


class ClusterTests(TestCase):
    """A cluster of three servers; making one takes seconds, so one test looks at a lot."""

    timeout = LIMIT_S * 3

    def setUp(self) -> None:
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "15000")
        self.nodes = [RedisProcess(self, *options) for _ in range(3)]
        addresses = [f"127.0.0.1:{node.port}" for node in self.nodes]
        made = subprocess.run(
            ["redis-cli", "--cluster", "create", *addresses, "--cluster-yes"],
            capture_output=True,
            timeout=LIMIT_S,
            check=False,
        )
        self.assertEqual(made.returncode, 0, made.stdout.decode() + made.stderr.decode())
        self.servers: dict[int, RedisServer] = {}
        self.addCleanup(lambda: [server.close() for server in self.servers.values()])
        self.cluster = RedisCluster(
            [("127.0.0.1", self.nodes[0].port)], self.connect, reactor, timeout_s=LIMIT_S
        )
        self.counters = RedisCounters(self.cluster, together=False)
        return self.ready()

    def ready(self) -> Any:
        """Wait until all servers say that the cluster is whole."""

        async def wait() -> None:
            while any("cluster_state:ok" not in node.command("cluster", "info") for node in self.nodes):
                await self.pass_time(0.05)

        from twisted.internet.defer import Deferred

        return Deferred.fromCoroutine(wait())

    def connect(self, host: str, port: int) -> RedisServer:
        known = self.servers.get(port)
        if known is None:
            target = Target(host, port, timeout_s=LIMIT_S)
            known = self.servers[port] = RedisServer(target, reactor, ClientTLS(), retry_s=0.2)
        return known

    async def pass_time(self, seconds: float) -> None:
        await deferLater(reactor, seconds)  # type: ignore[arg-type]  # the reactor's interface is typed apart

    async def test_promises(self) -> None:
        """A cluster keeps the promises; keys are spread over its servers, and followed when they move."""
        promises = Promises()
        promises.case, promises.counters = self, self.counters
        for name in dir(CountersContract):
            if name.startswith("test_"):
                await getattr(promises, name)()
        await self.spread()
        await self.moved()

    async def spread(self) -> None:
        for number in range(60):
            await self.take(f"spread-{number}", 1, 60.0)
        counts = [int(node.command("dbsize")) for node in self.nodes]
        self.assertTrue(all(count > 3 for count in counts), counts)

    async def moved(self) -> None:
        """A slot moves to another server; no count is lost while it does."""
        key = "moving"
        self.assertTrue((await self.take(key, 3, 600.0)).admitted)
        slot = str(slot_of(key.encode()))
        source = next(node for node in self.nodes if node.command("exists", key) == "1")
        target = next(node for node in self.nodes if node is not source)
        source_id, target_id = source.command("cluster", "myid"), target.command("cluster", "myid")
        target.command("cluster", "setslot", slot, "importing", source_id)
        source.command("cluster", "setslot", slot, "migrating", target_id)
        self.assertEqual((await self.take(key, 3, 600.0)).remaining, 1)
        source.command("migrate", "127.0.0.1", str(target.port), key, "0", "5000")
        self.assertEqual((await self.take(key, 3, 600.0)).remaining, 0)
        for node in (target, source):
            node.command("cluster", "setslot", slot, "node", target_id)
        for _ in range(3):
            self.assertFalse((await self.take(key, 3, 600.0)).admitted)
        self.assertEqual(target.command("exists", key), "1")

    async def take(self, key: str, limit: int, window_s: float) -> Quota:
        quota: Quota = await self.counters.take(key, limit, window_s)
        return quota

    async def test_one_down(self) -> None:
        """A server that is down fails its own keys, in words; it is used again when it is back."""
        key = "lost"
        await self.take(key, 9, 600.0)
        node = next(node for node in self.nodes if node.command("exists", key) == "1")
        node.kill()
        with self.assertRaises(CountersFailed):
            await self.take(key, 9, 600.0)
        node.start()
        await self.ready()
        deadline = reactor.seconds() + LIMIT_S  # type: ignore[attr-defined]
        while reactor.seconds() < deadline:  # type: ignore[attr-defined]
            try:
                await self.take(key, 9, 600.0)
                return
            except CountersFailed:
                await self.pass_time(0.02)
        self.fail("the server is not used again")


class NobodyTests(TestCase):
    async def test_nobody(self) -> None:
        """A cluster of which no server can be reached is a failure in words."""
        server = RedisServer(Target("127.0.0.1", reserve(self)), reactor, ClientTLS(), retry_s=60)
        self.addCleanup(server.close)
        cluster = RedisCluster([("127.0.0.1", 1)], lambda host, port: server, reactor, timeout_s=30)
        counters: Any = RedisCounters(cluster, together=False)
        with self.assertRaises(CountersFailed) as caught:
            await counters.take("k", 1, 60.0)
        self.assertIn("redis cluster", str(caught.exception))
