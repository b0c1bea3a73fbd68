"""syslog: what happened to requests is sent to a syslog server."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
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

NAME = "syslog"
PRIORITY = 5 * 8 + 6
"""Facility syslog, severity informational (RFC 5424 section 6.2.1)."""
APP_NAME = "gateway"

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "host": {"type": "string", "minLength": 1, "description": "Name or address of the collector."},
        "port": {"type": "integer", "minimum": 0, "maximum": 65535, "description": "Its port."},
        "flush_limit": {
            "type": "integer",
            "minimum": 1,
            "default": 4096,
            "description": "Accepted; batch_max_size and the times say when entries are sent.",
        },
        "drop_limit": {
            "type": "integer",
            "minimum": 1,
            "default": 1048576,
            "description": "Accepted; max_pending_entries says when entries are dropped.",
        },
        "timeout": {
            "type": "integer",
            "minimum": 1,
            "default": 3000,
            "description": "Milliseconds for one try.",
        },
        "sock_type": {
            "type": "string",
            "enum": ["tcp", "udp"],
            "default": "tcp",
            "description": "How entries are sent.",
        },
        "pool_size": {
            "type": "integer",
            "minimum": 5,
            "default": 5,
            "description": "Accepted; a connection is opened for each batch.",
        },
        "tls": {"type": "boolean", "default": False, "description": "Whether TLS is spoken."},
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
    """Sends frames to one server."""

    host: str
    port: int
    kind: str
    timeout_s: float
    services: PluginServices

    async def deliver(self, entries: Sequence[bytes]) -> None:
        """See ``gateway.interfaces.Deliver``; entries are frames."""
        await self.services.sockets.send(self.kind, self.host, self.port, entries, timeout_s=self.timeout_s)


def frame(entry: Mapping[str, Any], now_s: float, hostname: str) -> bytes:
    """An entry as a frame of RFC 5424, with a line end (RFC 6587 section 3.4.2)."""
    at = datetime.fromtimestamp(now_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
    text = json.dumps(entry, separators=(",", ":"))
    return f"<{PRIORITY}>1 {at}Z {hostname or '-'} {APP_NAME} - - - {text}\n".encode("ascii", "replace")


@implementer(ILogPhase)
@frozen(eq=False)
class SyslogLogger:
    """syslog with one configuration."""

    maker: EntryMaker
    batch: Batch
    services: PluginServices

    def log(self, exchange: Exchange) -> None:
        """See ``ILogPhase``."""
        clock = self.services.clock
        entry = self.maker.entry(exchange, clock.time(), clock.monotonic())
        self.batch.add(frame(entry, clock.time(), self.services.hostname))


@implementer(IRewritePhase, IBodyTapPhase)
@frozen(eq=False)
class BodyLogger(SyslogLogger):
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
    priority: int = 401
    kind: str = "general"
    schema: Mapping[str, Any] = field(default=SCHEMA, repr=False)
    metadata_schema: Mapping[str, Any] | None = field(default=METADATA_SCHEMA, repr=False)
    secret_fields: tuple[str, ...] = ()

    def check(self, config: Mapping[str, Any]) -> None:
        """See ``IPluginFactory.check``: formats and expressions compile."""
        EntryMaker.parse(config, {})

    def make(self, config: Mapping[str, Any], services: PluginServices) -> SyslogLogger:
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
        kind = "tls" if filled["tls"] and filled["sock_type"] == "tcp" else filled["sock_type"]
        sender = Sender(filled["host"], filled["port"], kind, filled["timeout"] / 1000, services)
        batch = services.batches.open(NAME, services.origin.rpartition("/")[2], options, sender.deliver)
        with_content = maker.request_body.max_bytes or maker.response_body.max_bytes
        return (BodyLogger if with_content else SyslogLogger)(maker, batch, services)


plugin = Factory()
