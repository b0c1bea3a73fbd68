"""file-logger: what happened to requests is written to a file, a JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from attrs import frozen
from zope.interface import implementer

from gateway.core import log_entry
from gateway.core.chain import Predicate
from gateway.core.exchange import Exchange
from gateway.core.expressions import ExpressionError, compile_expression
from gateway.core.log_entry import EntryMaker
from gateway.core.regex_limits import MatchTimeout
from gateway.factories import Factory
from gateway.interfaces import (
    IBodyTapPhase,
    ILogPhase,
    IPureHooks,
    IRewritePhase,
    LineFile,
    PluginServices,
)

NAME = "file-logger"

_PATH: dict[str, Any] = {"type": "string", "minLength": 1, "description": "The file, appended to."}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "path": _PATH,
        "match": {
            "type": "array",
            "maxItems": 20,
            "items": {"type": "array"},
            "description": "Expressions; only requests that one of them holds for.",
        },
        **log_entry.PROPERTIES,
    },
}
METADATA_SCHEMA: dict[str, Any] = {"type": "object", "properties": {"path": _PATH, **log_entry.METADATA}}


def _match(config: Mapping[str, Any]) -> tuple[Predicate, ...]:
    try:
        return tuple([compile_expression(raw) for raw in config.get("match", ())])
    except ExpressionError as error:
        raise ValueError(f"failed to validate the 'match' expression: {error}") from None


@implementer(ILogPhase)
@frozen(eq=False)
class FileLogger:
    """
    file-logger with one configuration.

    Attributes:
        match: Expressions one of which must hold; empty: any request.
        file: None where neither the settings nor the metadata name one.
    """

    maker: EntryMaker
    match: tuple[Predicate, ...]
    file: LineFile | None
    services: PluginServices

    def log(self, exchange: Exchange) -> None:
        """See ``ILogPhase``."""
        if self.file is None or not self._takes(exchange):
            return
        clock = self.services.clock
        entry = self.maker.entry(exchange, clock.time(), clock.monotonic())
        self.file.write(json.dumps(entry, separators=(",", ":")).encode("ascii"))

    def _takes(self, exchange: Exchange) -> bool:
        try:
            return not self.match or any(holds(exchange) for holds in self.match)
        except MatchTimeout:
            return True  # No request keeps itself out of the log.


@implementer(IRewritePhase, IBodyTapPhase, IPureHooks)
@frozen(eq=False)
class BodyLogger(FileLogger):
    """The same, with content."""

    def rewrite(self, exchange: Exchange) -> None:
        """See ``IRewritePhase``."""
        self.maker.watch(exchange)

    def body_tap(self, exchange: Exchange, data: bytes) -> None:
        """See ``IBodyTapPhase``."""
        self.maker.tap(exchange, data)


def _check(config: Mapping[str, Any]) -> None:
    _match(config)
    EntryMaker.parse(config, {})


def _make(config: Mapping[str, Any], services: PluginServices) -> FileLogger:
    metadata = services.metadata
    maker = EntryMaker.parse(
        config,
        metadata,
        hostname=services.hostname,
        version=services.version,
        key=f"{NAME} {services.origin}",
    )
    path = config.get("path") or metadata.get("path")
    if path is None:
        services.log.warn("{origin}: file-logger has no path; nothing is written", origin=services.origin)
    file = None if path is None else services.files.open(NAME, path)
    return (BodyLogger if maker.with_content else FileLogger)(maker, _match(config), file, services)


plugin = Factory(
    name=NAME, priority=399, schema=SCHEMA, metadata_schema=METADATA_SCHEMA, check=_check, make=_make
)
