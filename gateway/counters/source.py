"""Where plugins get their counters from: one source a process, which shares connections and closes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from weakref import WeakSet

from attrs import evolve

from gateway.counters.cluster import RedisCluster
from gateway.counters.connection import RedisServer, Target
from gateway.counters.local import LocalCounters
from gateway.counters.redis import RedisCounters
from gateway.counters.sentinel import RedisSentinel
from gateway.counters.synced import SyncedCounters
from gateway.interfaces import Counters
from gateway.upstream.tls import ClientTLS


class Source:
    """
    ``gateway.interfaces.CounterSource``.

    Attributes:
        local: The counters and breakers of this machine.
    """

    def __init__(
        self, local: LocalCounters, reactor: Any, *, retry_s: float, synced_keys: int = 100_000
    ) -> None:
        """
        Args:
            local: Those of this machine.
            retry_s: The longest pause between two tries to reach a server that is down.
            synced_keys: Windows that each plugin with a ``sync_interval`` holds at most.
        """
        self.local = local
        self._reactor = reactor
        self._retry_s = retry_s
        self._synced_keys = synced_keys
        self._synced: WeakSet[SyncedCounters] = WeakSet()
        self._tls = ClientTLS()
        self._clusters: dict[tuple[Target, tuple[tuple[str, int], ...]], RedisCluster] = {}
        self._watched: dict[tuple[Target, str, tuple[Target, ...]], RedisSentinel] = {}
        self._servers: dict[Target, RedisServer] = {}

    def __call__(self, settings: Mapping[str, Any]) -> Counters:
        """See ``CounterSource``."""
        interval_s = settings.get("sync_interval", -1)
        counters = self._counters(settings)
        if interval_s <= 0 or counters is self.local:
            return counters
        synced = SyncedCounters(counters, self._reactor, interval_s=interval_s, max_keys=self._synced_keys)
        self._synced.add(synced)
        return synced

    def _counters(self, settings: Mapping[str, Any]) -> Counters:
        if settings["policy"] == "redis":
            return RedisCounters(self._server(_target(settings)))
        if settings["policy"] == "redis-cluster":
            return RedisCounters(self._cluster(settings), together=False)
        if settings["policy"] == "redis-sentinel":
            return RedisCounters(self._sentinel(settings))
        return self.local

    def _server(self, target: Target) -> RedisServer:
        known = self._servers.get(target)
        if known is None:
            known = RedisServer(target, self._reactor, self._tls, retry_s=self._retry_s)
            self._servers[target] = known
        return known

    def _cluster(self, settings: Mapping[str, Any]) -> RedisCluster:
        template = _cluster_target(settings)
        nodes = tuple(_address(node) for node in settings["redis_cluster_nodes"])
        key = (template, nodes)
        known = self._clusters.get(key)
        if known is None:
            known = RedisCluster(
                nodes,
                lambda host, port: self._server(evolve(template, host=host, port=port)),
                self._reactor,
                timeout_s=template.timeout_s,
            )
            self._clusters[key] = known
        return known

    def _sentinel(self, settings: Mapping[str, Any]) -> RedisSentinel:
        template = _sentinel_target(settings)
        name = settings["redis_master_name"]
        sentinels = tuple(
            Target(
                host=one["host"],
                port=one["port"],
                timeout_s=settings["redis_connect_timeout"] / 1000,
                username=settings.get("sentinel_username"),
                password=settings.get("sentinel_password"),
            )
            for one in settings["redis_sentinels"]
        )
        key = (template, name, sentinels)
        known = self._watched.get(key)
        if known is None:
            known = RedisSentinel(
                [self._server(target) for target in sentinels],
                name,
                lambda host, port: self._server(evolve(template, host=host, port=port)),
                self._reactor,
                timeout_s=template.timeout_s,
            )
            self._watched[key] = known
        return known

    def close(self) -> None:
        """Close every connection."""
        for synced in self._synced:
            synced.close()
        for server in self._servers.values():
            server.close()


def _target(settings: Mapping[str, Any]) -> Target:
    return Target(
        host=settings["redis_host"],
        port=settings["redis_port"],
        timeout_s=settings["redis_timeout"] / 1000,
        idle_s=settings["redis_keepalive_timeout"] / 1000,
        username=settings.get("redis_username"),
        password=settings.get("redis_password"),
        database=settings["redis_database"] or None,
        tls=settings["redis_ssl"],
        verify=settings["redis_ssl_verify"],
    )


def _cluster_target(settings: Mapping[str, Any]) -> Target:
    """What all servers of a cluster have in common."""
    return Target(
        host="",
        port=0,
        timeout_s=settings["redis_timeout"] / 1000,
        idle_s=settings["redis_keepalive_timeout"] / 1000,
        username=settings.get("redis_username"),
        password=settings.get("redis_password"),
        tls=settings["redis_cluster_ssl"],
        verify=settings["redis_cluster_ssl_verify"],
    )


def _sentinel_target(settings: Mapping[str, Any]) -> Target:
    """What is the same whichever server is the master."""
    return Target(
        host="",
        port=0,
        timeout_s=(settings["redis_connect_timeout"] + settings["redis_read_timeout"]) / 1000,
        idle_s=settings["redis_keepalive_timeout"] / 1000,
        username=settings.get("redis_username"),
        password=settings.get("redis_password"),
        database=settings["redis_database"] or None,
    )


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)
