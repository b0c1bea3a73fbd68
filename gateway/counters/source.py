"""Where plugins get their counters from: one source a process, which shares connections and closes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.counters.connection import RedisServer, Target
from gateway.counters.local import LocalCounters
from gateway.counters.redis import RedisCounters
from gateway.interfaces import Counters
from gateway.upstream.tls import ClientTLS


class Source:
    """``gateway.interfaces.CounterSource``."""

    def __init__(self, local: LocalCounters, reactor: Any, *, retry_s: float) -> None:
        """
        Args:
            local: The counters of this machine.
            retry_s: The longest pause between two tries to reach a server that is down.
        """
        self._local = local
        self._reactor = reactor
        self._retry_s = retry_s
        self._tls = ClientTLS()
        self._servers: dict[Target, RedisServer] = {}

    def __call__(self, settings: Mapping[str, Any]) -> Counters:
        """See ``CounterSource``."""
        if settings["policy"] == "redis":
            return RedisCounters(self._server(_target(settings)))
        return self._local

    def _server(self, target: Target) -> RedisServer:
        known = self._servers.get(target)
        if known is None:
            known = RedisServer(target, self._reactor, self._tls, retry_s=self._retry_s)
            self._servers[target] = known
        return known

    def close(self) -> None:
        """Close every connection."""
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
