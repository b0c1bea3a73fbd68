"""Tests for gateway.counters.source."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gateway.counters.local import LocalCounters
from gateway.counters.redis import RedisCounters
from gateway.counters.source import Source
from gateway.counters.synced import SyncedCounters

REDIS: dict[str, Any] = {
    "policy": "redis",
    "redis_host": "127.0.0.1",
    "redis_port": 6379,
    "redis_timeout": 1000,
    "redis_keepalive_timeout": 10000,
    "redis_database": 0,
    "redis_ssl": False,
    "redis_ssl_verify": False,
}


class SourceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.local = LocalCounters.make(16, lambda: 0.0)
        self.source = Source(self.local, Clock(), retry_s=1)
        self.addCleanup(self.source.close)

    def test_local(self) -> None:
        """Local counters are those of the machine."""
        self.assertIs(self.source({"policy": "local"}), self.local)

    def server(self, **change: Any) -> Any:
        counters = self.source({**REDIS, **change})
        assert isinstance(counters, RedisCounters)
        return counters._server

    def test_connections_are_shared(self) -> None:
        """Plugins that use a Redis the same way share its connection; nobody connects before a request."""
        one = self.server()
        self.assertIs(self.server(), one)
        for change in (
            {"redis_port": 6380},
            {"redis_password": "a"},
            {"redis_database": 1},
            {"redis_ssl": True},
            {"redis_timeout": 500},
        ):
            self.assertIsNot(self.server(**change), one, change)

    def test_synced(self) -> None:
        """With a sync_interval counts in a Redis go there together; those of this machine need none."""
        synced = self.source({**REDIS, "sync_interval": 0.5})
        self.assertIsInstance(synced, SyncedCounters)
        self.assertIsInstance(self.source({**REDIS, "sync_interval": -1}), RedisCounters)
        self.assertIs(self.source({"policy": "local", "sync_interval": 0.5}), self.local)

    def test_cluster(self) -> None:
        """Plugins that use a cluster the same way share it, and its servers."""
        settings = {
            **REDIS,
            "policy": "redis-cluster",
            "redis_cluster_nodes": ["127.0.0.1:7000", "[::1]:7001"],
            "redis_cluster_ssl": True,
            "redis_cluster_ssl_verify": False,
            "redis_password": "hush",
        }
        one: Any = self.source(settings)
        two: Any = self.source(dict(settings))
        self.assertIs(one._server, two._server)
        self.assertIsNot(self.source({**settings, "redis_password": "other"}), one)
        server = one._server._connect("127.0.0.1", 7000)
        self.assertEqual(
            (server.target.name, server.target.tls, server.target.password), ("127.0.0.1:7000", True, "hush")
        )
        self.assertIs(one._server._connect("127.0.0.1", 7000), server)

    def test_target(self) -> None:
        """Settings are in milliseconds; the password is in no text."""
        target = self.server(redis_timeout=250, redis_password="hush", redis_username="u").target
        self.assertEqual((target.timeout_s, target.idle_s, target.username), (0.25, 10.0, "u"))
        self.assertNotIn("hush", repr(target))
