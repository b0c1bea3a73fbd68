"""syslog: what happened to requests is sent to a syslog server."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from attrs import frozen

from gateway.interfaces import Deliver, PluginServices
from gateway.loggers import MAX_DATAGRAM, log_factory
from gateway.model.schema import without_effect

PRIORITY = 5 * 8 + 6
"""Facility syslog, severity informational (RFC 5424 section 6.2.1)."""
APP_NAME = "gateway"

PROPERTIES: dict[str, Any] = {
    "host": {"type": "string", "minLength": 1, "description": "Name or address of the collector."},
    "port": {"type": "integer", "minimum": 0, "maximum": 65535, "description": "Its port."},
    "flush_limit": without_effect(
        {"type": "integer", "minimum": 1, "default": 4096},
        "batch_max_size and the times say when entries are sent",
    ),
    "drop_limit": without_effect(
        {"type": "integer", "minimum": 1, "default": 1048576},
        "max_pending_entries says when entries are dropped",
    ),
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
    "pool_size": without_effect(
        {"type": "integer", "minimum": 5, "default": 5}, "a connection is opened for each batch"
    ),
    "tls": {"type": "boolean", "default": False, "description": "Whether TLS is spoken."},
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


def _spell(entry: Mapping[str, Any], services: PluginServices) -> bytes:
    return frame(entry, services.clock.time(), services.hostname)


def _collector(settings: Mapping[str, Any], single: bool, services: PluginServices) -> Deliver:
    kind = "tls" if settings["tls"] and settings["sock_type"] == "tcp" else settings["sock_type"]
    return Sender(settings["host"], settings["port"], kind, settings["timeout"] / 1000, services).deliver


plugin = log_factory(
    "syslog",
    401,
    PROPERTIES,
    ["host", "port"],
    _collector,
    spell=_spell,
    max_entry_bytes=lambda settings: MAX_DATAGRAM if settings["sock_type"] == "udp" else None,
)
