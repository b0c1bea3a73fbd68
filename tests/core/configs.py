"""Small configurations for tests of the compiler, snapshots and ``explain``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define, field

from gateway.core import auth
from gateway.core.chain import BoundPlugin
from gateway.core.exchange import Connection, Exchange, Reply, RequestHead
from gateway.core.merge import PluginUse
from gateway.core.opening import open_exchange
from gateway.core.snapshot import Snapshot
from gateway.model.record import Change, Record


@define
class FakePlugins:
    """
    A plugin source of five plugins.

    ``tag`` notes its ``value`` in the exchange; ``stop`` answers its ``status``; ``limit`` sets
    ``max_body_bytes``; ``auth`` takes the key in the field ``key``; ``nobody`` lets
    everybody in as the anonymous consumer ``username``. ``refused`` cannot be bound.
    """

    bound: list[PluginUse] = field(factory=list)
    metadata: list[Mapping[str, Any]] = field(factory=list)

    def bind(self, use: PluginUse, metadata: Mapping[str, Any], upstream: Any) -> BoundPlugin:
        if use.name == "refused":
            raise ValueError("refused will not be bound")
        self.bound.append(use)
        self.metadata.append(metadata)
        config = use.config

        def tag(exchange: Exchange) -> None:
            exchange.context.setdefault("tags", []).append((use.origin, config.get("value")))

        def stop(exchange: Exchange) -> Reply:
            return Reply.text(config["status"], "stopped", reason="stopped")

        def limit(exchange: Exchange) -> None:
            exchange.max_body_bytes = config["max_body_bytes"]

        def nobody(exchange: Exchange) -> Reply | None:
            failure = Reply.text(401, "", reason="key_missing")
            return auth.anonymous(exchange, config["username"], failure, ())

        if use.name == "nobody":
            return BoundPlugin(use, 1000, True, True, rewrite=nobody)
        if use.name == "limit":
            return BoundPlugin(use, 1000, True, False, rewrite=limit)
        if use.name == "stop":
            return BoundPlugin(use, 1000, True, False, access=stop)
        return BoundPlugin(use, 500, use.name != "impure", self.is_auth(use.name), rewrite=tag, access=tag)

    def is_auth(self, name: str) -> bool:
        return name == "auth"

    def credential(self, name: str, config: Mapping[str, Any]) -> tuple[str, object]:
        if config.get("broken"):
            raise ValueError("broken credential")
        return config["key"], dict(config)


def change(kind: str, id: str, value: Mapping[str, Any] | None, group: str = "default") -> Change:
    return Change(group, kind, id, value)


def service(id: str, **more: Any) -> Change:
    """A service with one node on loopback."""
    node = {"host": "127.0.0.1", "port": 8080, "weight": 1}
    return change("service", id, {"name": id, "upstream": {"nodes": [node]}, **more})


def route(id: str, path: str, service_id: str = "s", **more: Any) -> Change:
    return change("route", id, {"name": id, "service_id": service_id, "paths": [path], **more})


def records(*changes: Change) -> list[Record]:
    """The records those changes make, in order."""
    return [
        Record(c.group, c.kind, c.id, c.value or {}, c.dialect, 0, 0, number, number)
        for number, c in enumerate(changes, 1)
    ]


def ask(snapshot: Snapshot, path: str, method: str = "GET", host: str = "example.com") -> Exchange:
    """An exchange on *snapshot*, as it arrives."""
    head = RequestHead(method.encode(), path.encode(), ((b"host", host.encode()),))
    connection = Connection("127.0.0.1", 50000, "127.0.0.1", 9080)
    return open_exchange(
        head, connection, snapshot, path=path.partition("?")[0], host=host, started_s=0.0, id="test"
    )
