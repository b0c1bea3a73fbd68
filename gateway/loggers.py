"""What the plugins that send log entries to a collector have in common: everything but the collector."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen
from zope.interface import implementer

from gateway.core import batching, log_entry
from gateway.core.batching import BatchOptions
from gateway.core.exchange import Exchange
from gateway.core.log_entry import EntryMaker
from gateway.factories import Factory
from gateway.interfaces import (
    Batch,
    Deliver,
    IBodyTapPhase,
    ILogPhase,
    IPureHooks,
    IRewritePhase,
    PluginServices,
)
from gateway.model.schema import fill

Collector = Callable[[Mapping[str, Any], bool, PluginServices], Deliver]
"""Settings with their defaults, whether entries go singly, services → what takes a batch of entries."""
Spell = Callable[[Mapping[str, Any], PluginServices], bytes]
"""An entry → what the collector is sent of it."""

MAX_DATAGRAM = 65507
"""Bytes of content in one IPv4 datagram."""

METADATA_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {**log_entry.METADATA, "max_pending_entries": batching.PENDING},
}


def json_text(entry: Mapping[str, Any], services: PluginServices) -> bytes:
    """An entry as compact JSON."""
    return json.dumps(entry, separators=(",", ":")).encode("ascii")


@implementer(ILogPhase)
@frozen(eq=False)
class BatchLogger:
    """A logger with one configuration."""

    maker: EntryMaker
    batch: Batch
    services: PluginServices
    spell: Spell

    def log(self, exchange: Exchange) -> None:
        """See ``ILogPhase``."""
        clock = self.services.clock
        entry = self.maker.entry(exchange, clock.time(), clock.monotonic())
        self.batch.add(self.spell(entry, self.services), exchange.connection.server_ip)


@implementer(IRewritePhase, IBodyTapPhase, IPureHooks)
@frozen(eq=False)
class ContentLogger(BatchLogger):
    """The same, with content."""

    def rewrite(self, exchange: Exchange) -> None:
        """See ``IRewritePhase``."""
        self.maker.watch(exchange)

    def body_tap(self, exchange: Exchange, data: bytes) -> None:
        """See ``IBodyTapPhase``."""
        self.maker.tap(exchange, data)


def log_factory(
    name: str,
    priority: int,
    properties: Mapping[str, Any],
    required: list[str],
    collector: Collector,
    *,
    spell: Spell = json_text,
    no_route: str | None = None,
    secret_fields: tuple[str, ...] = (),
    max_entry_bytes: Callable[[Mapping[str, Any]], int | None] = lambda settings: None,
) -> Factory:
    """
    The factory of such a plugin.

    Args:
        properties: Settings of its own, by name, each a JSON Schema. required: Which of them must be there.
        collector: Called once for each configuration.
        no_route: What entries name as route where there was none.
        max_entry_bytes: Settings with their defaults → what an entry may have to be sent; None: anything.
    Source:
        Plugin catalogue §6, "Loggers: common part".
    """
    schema = {
        "type": "object",
        "properties": {**properties, **log_entry.PROPERTIES, **batching.PROPERTIES},
        "required": required,
    }

    def check(config: Mapping[str, Any]) -> None:
        EntryMaker.parse(config, {})

    def make(config: Mapping[str, Any], services: PluginServices) -> BatchLogger:
        maker = EntryMaker.parse(
            config,
            services.metadata,
            hostname=services.hostname,
            version=services.version,
            key=f"{name} {services.origin}",
            no_route=no_route,
        )
        settings = fill(schema, config)
        options = BatchOptions.parse(config, services.metadata, max_entry_bytes=max_entry_bytes(settings))
        deliver = collector(settings, options.max_size == 1, services)
        title = settings.get("name") or name
        batch = services.batches.open(title, services.origin.rpartition("/")[2], options, deliver)
        return (ContentLogger if maker.with_content else BatchLogger)(maker, batch, services, spell)

    return Factory(
        name=name,
        priority=priority,
        schema=schema,
        make=make,
        check=check,
        metadata_schema=METADATA_SCHEMA,
        secret_fields=secret_fields,
    )
