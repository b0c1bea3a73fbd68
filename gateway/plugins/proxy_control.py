"""proxy-control: accepted for the sake of configurations that have it; requests stream anyway."""

from __future__ import annotations

from gateway.factories import accepted

plugin = accepted(
    "proxy-control",
    21990,
    {
        "request_buffering": {
            "type": "boolean",
            "default": True,
            "description": "Accepted; content of requests streams.",
        }
    },
)
