"""gzip: answers are compressed for clients that take it."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

from attrs import frozen
from zope.interface import implementer

from gateway.core.accepting import accepts
from gateway.core.exchange import Exchange
from gateway.factories import Factory
from gateway.interfaces import IBodyFilterPhase, IHeaderFilterPhase, PluginServices
from gateway.model.schema import fill, without_effect

NAME = "gzip"
STATUSES = frozenset({200, 403, 404})
"""Statuses whose answers are compressed."""

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "types": {
            "description": "Content types that are compressed, without parameters; * is all of them.",
            "anyOf": [
                {"type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1}},
                {"type": "string", "enum": ["*"]},
            ],
            "default": ["text/html"],
        },
        "min_length": {
            "type": "integer",
            "minimum": 1,
            "default": 20,
            "description": "Answers that are shorter are not compressed, where the length is known.",
        },
        "comp_level": {
            "type": "integer",
            "minimum": 1,
            "maximum": 9,
            "default": 1,
            "description": "How hard it tries.",
        },
        "http_version": {
            "enum": [1.1, 1.0],
            "default": 1.1,
            "description": "The least version of a client's HTTP.",
        },
        "buffers": without_effect(
            {
                "type": "object",
                "properties": {
                    "number": {"type": "integer", "minimum": 1, "default": 32},
                    "size": {"type": "integer", "minimum": 1, "default": 4096},
                },
                "default": {"number": 32, "size": 4096},
            },
            "content is compressed as it comes",
        ),
        "vary": {"type": "boolean", "description": "Whether Vary names Accept-Encoding."},
    },
}


@implementer(IHeaderFilterPhase, IBodyFilterPhase)
@frozen(eq=False)
class Gzip:
    """
    gzip with one configuration.

    Attributes:
        types: In lower case; None for all.
        key: Its own place in ``Exchange.context``.
    """

    types: frozenset[bytes] | None
    min_length: int
    level: int
    version: tuple[int, int]
    vary: bool
    key: str

    def header_filter(self, exchange: Exchange) -> None:
        """See ``IHeaderFilterPhase``."""
        fields = exchange.response_fields
        kind = fields.get(b"content-type")
        length = exchange.response_length
        if (
            kind is None
            or exchange.status not in STATUSES
            or (self.types is not None and kind.partition(b";")[0].strip().lower() not in self.types)
            or (length is not None and length < self.min_length)
            or b"content-encoding" in fields
        ):
            return
        if self.vary:
            fields.add(b"vary", b"Accept-Encoding")
        request = exchange.request
        if request.method == b"HEAD" or request.version < self.version:
            return
        if not accepts(exchange.fields.get_all(b"accept-encoding"), b"gzip"):
            return
        fields.add(b"content-encoding", b"gzip")
        fields.remove(b"content-length")
        fields.remove(b"accept-ranges")
        tag = fields.get(b"etag")
        if tag is not None and not tag.startswith(b"W/"):
            fields.set(b"etag", b"W/" + tag)
        exchange.context[self.key] = zlib.compressobj(self.level, zlib.DEFLATED, 31)

    def body_filter(self, exchange: Exchange, data: bytes, last: bool) -> bytes:
        """See ``IBodyFilterPhase``. What came is sent at once, so that events are not held back."""
        compressor = exchange.context.get(self.key)
        if compressor is None:
            return data
        sent: bytes = compressor.compress(data) if data else b""
        if last:
            sent += compressor.flush()
        elif data:
            sent += compressor.flush(zlib.Z_SYNC_FLUSH)
        return sent


def _make(config: Mapping[str, Any], services: PluginServices) -> Gzip:
    filled = fill(SCHEMA, config)
    types = filled["types"]
    return Gzip(
        None if types == "*" or "*" in types else frozenset(one.lower().encode() for one in types),
        filled["min_length"],
        filled["comp_level"],
        (1, 0) if filled["http_version"] == 1.0 else (1, 1),
        filled.get("vary", False),
        f"{NAME} {services.origin}",
    )


plugin = Factory(name=NAME, priority=995, schema=SCHEMA, make=_make)
