"""http-logger: what happened to requests is sent to a collector over HTTP."""

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
from gateway.core.rewriting import field_value
from gateway.interfaces import (
    Batch,
    IBodyTapPhase,
    ILogPhase,
    IPluginFactory,
    IRewritePhase,
    PluginServices,
)
from gateway.model.schema import fill

NAME = "http-logger"

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "uri": {"type": "string", "pattern": "^https?://[^\\s/]+", "description": "Where entries are sent."},
        "auth_header": {"type": "string", "description": "The value of Authorization."},
        "timeout": {"type": "integer", "minimum": 1, "default": 3, "description": "Seconds for one call."},
        "concat_method": {
            "type": "string",
            "enum": ["json", "new_line"],
            "default": "json",
            "description": "Several entries together: a JSON array, or an object a line.",
        },
        "ssl_verify": {
            "type": "boolean",
            "default": False,
            "description": "Whether the collector's certificate must be valid.",
        },
        **log_entry.PROPERTIES,
        **batching.PROPERTIES,
    },
    "required": ["uri"],
}
METADATA_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {**log_entry.METADATA, "max_pending_entries": batching.PENDING},
}


@frozen
class Sender:
    """Sends entries to one collector."""

    uri: str
    fields: tuple[tuple[bytes, bytes], ...]
    timeout_s: float
    verify: bool
    by_line: bool
    single: bool
    services: PluginServices

    async def deliver(self, entries: Sequence[bytes]) -> None:
        """See ``gateway.interfaces.Deliver``; entries are JSON texts."""
        if self.by_line:
            content = b"\n".join(entries)
        else:
            content = entries[0] if self.single else b"[" + b",".join(entries) + b"]"
        answer = await self.services.http.request(
            "POST",
            self.uri,
            fields=self.fields,
            content=content,
            timeout_s=self.timeout_s,
            verify=self.verify,
        )
        if answer.status >= 400:
            raise ValueError(f"the collector answered {answer.status}")


@implementer(ILogPhase)
@frozen(eq=False)
class HttpLogger:
    """http-logger with one configuration."""

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
class BodyLogger(HttpLogger):
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
    priority: int = 410
    kind: str = "general"
    schema: Mapping[str, Any] = field(default=SCHEMA, repr=False)
    metadata_schema: Mapping[str, Any] | None = field(default=METADATA_SCHEMA, repr=False)
    secret_fields: tuple[str, ...] = ("auth_header",)

    def check(self, config: Mapping[str, Any]) -> None:
        """See ``IPluginFactory.check``: formats and expressions compile."""
        EntryMaker.parse(config, {})

    def make(self, config: Mapping[str, Any], services: PluginServices) -> HttpLogger:
        """See ``IPluginFactory.make``."""
        filled = fill(SCHEMA, config)
        metadata = services.metadata
        maker = EntryMaker.parse(
            config,
            metadata,
            hostname=services.hostname,
            version=services.version,
            key=f"{NAME} {services.origin}",
            no_route="no-matched",
        )
        by_line = filled["concat_method"] == "new_line"
        fields = [(b"content-type", b"text/plain" if by_line else b"application/json")]
        if filled.get("auth_header"):
            fields.append((b"authorization", field_value(filled["auth_header"])))
        options = BatchOptions.parse(config, metadata)
        sender = Sender(
            filled["uri"],
            tuple(fields),
            filled["timeout"],
            filled["ssl_verify"],
            by_line,
            options.max_size == 1,
            services,
        )
        route = services.origin.rpartition("/")[2]
        batch = services.batches.open(NAME, route, options, sender.deliver)
        with_content = maker.request_body.max_bytes or maker.response_body.max_bytes
        return (BodyLogger if with_content else HttpLogger)(maker, batch, services)


plugin = Factory()
