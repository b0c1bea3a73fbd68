"""error-page: pages of one's own for the errors that the gateway answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen
from zope.interface import implementer

from gateway.core.exchange import Exchange
from gateway.core.rewriting import field_value
from gateway.factories import Factory
from gateway.interfaces import IBodyFilterPhase, IHeaderFilterPhase, PluginServices

NAME = "error-page"
STATUSES = (404, 500, 502, 503)

SCHEMA: dict[str, Any] = {"type": "object", "properties": {}}
_PAGE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "body": {"type": "string", "minLength": 1, "description": "The content."},
        "content_type": {"type": "string", "default": "text/html", "description": "Its type."},
    },
}
METADATA_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "enable": {"type": "boolean", "default": False, "description": "Whether the pages are used."},
        **{f"error_{status}": _PAGE for status in STATUSES},
    },
}


@implementer(IHeaderFilterPhase, IBodyFilterPhase)
@frozen(eq=False)
class ErrorPage:
    """
    error-page with one configuration.

    Attributes:
        pages: Status → type and content.
        key: Its own place in ``Exchange.context``.
    """

    pages: Mapping[int, tuple[bytes, bytes]]
    key: str

    def header_filter(self, exchange: Exchange) -> None:
        """See ``IHeaderFilterPhase``."""
        page = None if exchange.from_upstream else self.pages.get(exchange.status)
        if page is not None:
            exchange.response_fields.set(b"content-type", page[0])
            exchange.context[self.key] = page[1]

    def body_filter(self, exchange: Exchange, data: bytes, last: bool) -> bytes:
        """See ``IBodyFilterPhase``."""
        left: bytes | None = exchange.context.get(self.key)
        if left is None:
            return data
        exchange.context[self.key] = b""
        return left


def _make(config: Mapping[str, Any], services: PluginServices) -> ErrorPage:
    metadata = services.metadata
    pages = {}
    for status in STATUSES:
        page = metadata.get(f"error_{status}", {})
        if metadata.get("enable", False) and page.get("body"):
            kind = field_value(page.get("content_type", "text/html"))
            pages[status] = (kind, page["body"].encode("utf-8", "replace"))
    return ErrorPage(pages, f"{NAME} {services.origin}")


plugin = Factory(name=NAME, priority=450, schema=SCHEMA, metadata_schema=METADATA_SCHEMA, make=_make)
