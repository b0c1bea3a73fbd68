"""tcp-logger: what happened to requests is sent to a collector over TCP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from gateway.interfaces import Deliver, PluginServices
from gateway.loggers import log_factory

PROPERTIES: dict[str, Any] = {
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


def _collector(settings: Mapping[str, Any], single: bool, services: PluginServices) -> Deliver:
    return Sender(
        settings["host"],
        settings["port"],
        "tls" if settings["tls"] else "tcp",
        settings.get("tls_options"),
        settings["timeout"] / 1000,
        single,
        services,
    ).deliver


plugin = log_factory("tcp-logger", 405, PROPERTIES, ["host", "port"], _collector)
