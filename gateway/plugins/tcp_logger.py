"""tcp-logger: what happened to requests is sent to a collector over TCP."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import field, frozen
from twisted.plugin import IPlugin
from zope.interface import implementer

from gateway.core import batching, log_entry
from gateway.core.batching import BatchOptions
from gateway.core.exchange import Exchange
from gateway.core.log_entry import EntryMaker
from gateway.interfaces import (
    Batch,
    IBodyTapPhase,
    ILogPhase,
    IPluginFactory,
    IRewritePhase,
    PluginServices,
)
from gateway.model.schema import fill

NAME = "tcp-logger"

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "host": {"type": "string", "minLength": 1, "description": "Name or address of the collector."},
        "port": {"type": "integer", "minimum": 0, "maximum": 65535, "description": "Its port."},
        "tls": {"type": "boolean", "default": False, "description": "Whether TLS is spoken."},
        "tls_options": {"type": "string", "description": "The name to ask for in TLS; not set: host."},
        "timeout": {
            "type": "integer",
            "minimum": 1,
            "default": 1000,
            "description": "Milliseconds for one try.",
        },
        **log_entry.PROPERTIES,
        **batching.PROPERTIES,
    },
    "required": ["host", "port"],
}
METADATA_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {**log_entry.METADATA, "max_pending_entries": batching.PENDING},
}


@frozen
class Sender:
    """Sends entries to one collector."""

    host: str
    port: int
    kind: str
    server_name: str | None
    timeout_s: float
    single: bool
    services: PluginServices

    async def deliver(self, entries: Sequence[bytes]) -> None:
        """See ``gateway.interfaces.Deliver``; entries are JSON texts."""
        content = entries[0] if self.single else b"[" + b",".join(entries) + b"]"
        await self.services.sockets.send(
            self.kind,
            self.host,
            self.port,
            [content + b"\n"],
            timeout_s=self.timeout_s,
            server_name=self.server_name,
        )


@implementer(ILogPhase)
@frozen(eq=False)
class TcpLogger:
    """tcp-logger with one configuration."""

    maker: EntryMaker
    batch: Batch
    services: PluginServices

    def log(self, exchange: Exchange) -> None:
        """See ``ILogPhase``."""
        clock = self.services.clock
        entry = self.maker.entry(exchange, clock.time(), clock.monotonic())
        self.batch.add(json.dumps(entry, separators=(",", ":")).encode("ascii"))


@implementer(IRewritePhase, IBodyTapPhase)
@frozen(eq=False)
class BodyLogger(TcpLogger):
    """The same, with content."""

    def rewrite(self, exchange: Exchange) -> None:
        """See ``IRewritePhase``."""
        self.maker.watch(exchange)

    def body_tap(self, exchange: Exchange, data: bytes) -> None:
        """See ``IBodyTapPhase``."""
        self.maker.tap(exchange, data)


@implementer(IPlugin, IPluginFactory)
@frozen(eq=False)
class Factory:
    """Provides ``IPluginFactory``."""

    name: str = NAME
    version: str = "0.1"
    priority: int = 405
    kind: str = "general"
    schema: Mapping[str, Any] = field(default=SCHEMA, repr=False)
    metadata_schema: Mapping[str, Any] | None = field(default=METADATA_SCHEMA, repr=False)
    secret_fields: tuple[str, ...] = ()

    def check(self, config: Mapping[str, Any]) -> None:
        """See ``IPluginFactory.check``: formats and expressions compile."""
        EntryMaker.parse(config, {})

    def make(self, config: Mapping[str, Any], services: PluginServices) -> TcpLogger:
        """See ``IPluginFactory.make``."""
        filled = fill(SCHEMA, config)
        maker = EntryMaker.parse(
            config,
            services.metadata,
            hostname=services.hostname,
            version=services.version,
            key=f"{NAME} {services.origin}",
        )
        options = BatchOptions.parse(config, services.metadata)
        sender = Sender(
            filled["host"],
            filled["port"],
            "tls" if filled["tls"] else "tcp",
            filled.get("tls_options"),
            filled["timeout"] / 1000,
            options.max_size == 1,
            services,
        )
        batch = services.batches.open(NAME, services.origin.rpartition("/")[2], options, sender.deliver)
        with_content = maker.request_body.max_bytes or maker.response_body.max_bytes
        return (BodyLogger if with_content else TcpLogger)(maker, batch, services)


plugin = Factory()
