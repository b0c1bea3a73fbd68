"""http-logger: what happened to requests is sent to a collector over HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from gateway.core.rewriting import field_value
from gateway.interfaces import Deliver, PluginServices
from gateway.loggers import log_factory

PROPERTIES: dict[str, Any] = {
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


def _collector(settings: Mapping[str, Any], single: bool, services: PluginServices) -> Deliver:
    by_line = settings["concat_method"] == "new_line"
    fields = [(b"content-type", b"text/plain" if by_line else b"application/json")]
    if settings.get("auth_header"):
        fields.append((b"authorization", field_value(settings["auth_header"])))
    return Sender(
        settings["uri"],
        tuple(fields),
        settings["timeout"],
        settings["ssl_verify"],
        by_line,
        single,
        services,
    ).deliver


plugin = log_factory(
    "http-logger",
    410,
    PROPERTIES,
    ["uri"],
    _collector,
    no_route="no-matched",
    secret_fields=("auth_header",),
)
