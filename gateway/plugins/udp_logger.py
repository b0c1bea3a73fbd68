"""udp-logger: what happened to requests is sent to a collector over UDP."""

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

NAME = "udp-logger"
MAX_DATAGRAM = 65507
"""Bytes of content in one IPv4 datagram."""

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "host": {"type": "string", "minLength": 1, "description": "Name or address of the collector."},
        "port": {"type": "integer", "minimum": 0, "maximum": 65535, "description": "Its port."},
        "timeout": {"type": "integer", "minimum": 1, "default": 3, "description": "Seconds for one try."},
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
    timeout_s: float
    single: bool
    services: PluginServices

    async def deliver(self, entries: Sequence[bytes]) -> None:
        """See ``gateway.interfaces.Deliver``; entries are JSON texts."""
        for content in entries if self.single else _datagrams(entries):
            await self.services.sockets.send("udp", self.host, self.port, [content], timeout_s=self.timeout_s)


def _datagrams(entries: Sequence[bytes]) -> list[bytes]:
    """JSON arrays of entries, each as large as a datagram may be."""
    made: list[bytes] = []
    held: list[bytes] = []
    size = 2
    for entry in entries:
        if held and size + len(entry) + 1 > MAX_DATAGRAM:
            made.append(b"[" + b",".join(held) + b"]")
            held, size = [], 2
        held.append(entry)
        size += len(entry) + 1
    return [*made, b"[" + b",".join(held) + b"]"]


@implementer(ILogPhase)
@frozen(eq=False)
class UdpLogger:
    """udp-logger with one configuration."""

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
class BodyLogger(UdpLogger):
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
    priority: int = 400
    kind: str = "general"
    schema: Mapping[str, Any] = field(default=SCHEMA, repr=False)
    metadata_schema: Mapping[str, Any] | None = field(default=METADATA_SCHEMA, repr=False)
    secret_fields: tuple[str, ...] = ()

    def check(self, config: Mapping[str, Any]) -> None:
        """See ``IPluginFactory.check``: formats and expressions compile."""
        EntryMaker.parse(config, {})

    def make(self, config: Mapping[str, Any], services: PluginServices) -> UdpLogger:
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
        sender = Sender(filled["host"], filled["port"], filled["timeout"], options.max_size == 1, services)
        batch = services.batches.open(NAME, services.origin.rpartition("/")[2], options, sender.deliver)
        with_content = maker.request_body.max_bytes or maker.response_body.max_bytes
        return (BodyLogger if with_content else UdpLogger)(maker, batch, services)


plugin = Factory()
