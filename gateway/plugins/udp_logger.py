"""udp-logger: what happened to requests is sent to a collector over UDP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from gateway.interfaces import Deliver, PluginServices
from gateway.loggers import MAX_DATAGRAM, log_factory

PROPERTIES: dict[str, Any] = {
    "host": {"type": "string", "minLength": 1, "description": "Name or address of the collector."},
    "port": {"type": "integer", "minimum": 0, "maximum": 65535, "description": "Its port."},
    "timeout": {"type": "integer", "minimum": 1, "default": 3, "description": "Seconds for one try."},
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


def _collector(settings: Mapping[str, Any], single: bool, services: PluginServices) -> Deliver:
    return Sender(settings["host"], settings["port"], settings["timeout"], single, services).deliver


plugin = log_factory(
    "udp-logger",
    400,
    PROPERTIES,
    ["host", "port"],
    _collector,
    max_entry_bytes=lambda settings: MAX_DATAGRAM - len("[]"),
)
