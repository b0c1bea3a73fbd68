"""echo: fixed texts before, after or in the place of an answer's content."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen
from zope.interface import implementer

from gateway.core.exchange import Exchange
from gateway.core.rewriting import map_schema, plain_fields, resolved
from gateway.core.variables import Template
from gateway.factories import Factory
from gateway.interfaces import IBodyFilterPhase, IHeaderFilterPhase, PluginServices

NAME = "echo"
_TEXT: dict[str, Any] = {"type": "string"}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "minProperties": 1,
    "properties": {
        "before_body": {**_TEXT, "description": "What is sent before the content."},
        "body": {**_TEXT, "description": "What is sent in the place of the content."},
        "after_body": {**_TEXT, "description": "What is sent after the content."},
        "headers": map_schema("Fields to set."),
    },
    "anyOf": [{"required": ["before_body"]}, {"required": ["body"]}, {"required": ["after_body"]}],
}
_ABOUT_CONTENT = frozenset((b"content-length", b"content-encoding", b"etag", b"last-modified"))


@implementer(IHeaderFilterPhase, IBodyFilterPhase)
@frozen(eq=False)
class Echo:
    """
    echo with one configuration.

    Attributes:
        key: Its own place in ``Exchange.context``.
    """

    before: bytes
    body: bytes | None
    after: bytes
    fields: tuple[tuple[bytes, Template], ...]
    key: str

    def header_filter(self, exchange: Exchange) -> None:
        """See ``IHeaderFilterPhase``."""
        fields = exchange.response_fields
        # A text beside coded content would be none of that coding: then the content stays alone.
        coded = fields.get(b"content-encoding") not in (None, b"identity")
        if not coded or self.body is not None:
            fields.remove_all(_ABOUT_CONTENT)
            exchange.context[self.key] = self.before
        for name, value in resolved(self.fields, exchange):
            fields.set(name, value)

    def body_filter(self, exchange: Exchange, data: bytes, last: bool) -> bytes:
        """See ``IBodyFilterPhase``."""
        before: bytes | None = exchange.context.get(self.key)
        if before is None:
            return data
        exchange.context[self.key] = b""
        if self.body is not None:
            data = self.body if last else b""
        return before + data + self.after if last else before + data


def _check(config: Mapping[str, Any]) -> None:
    plain_fields(config.get("headers", {}))


def _make(config: Mapping[str, Any], services: PluginServices) -> Echo:
    return Echo(
        config.get("before_body", "").encode("utf-8", "replace"),
        config["body"].encode("utf-8", "replace") if "body" in config else None,
        config.get("after_body", "").encode("utf-8", "replace"),
        plain_fields(config.get("headers", {})),
        f"{NAME} {services.origin}",
    )


plugin = Factory(name=NAME, priority=412, schema=SCHEMA, check=_check, make=_make)
