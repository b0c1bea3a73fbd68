"""proxy-buffering: accepted for the sake of configurations that have it; answers stream anyway."""

from __future__ import annotations

from gateway.factories import accepted

plugin = accepted(
    "proxy-buffering",
    21991,
    {
        "disable_proxy_buffering": {
            "type": "boolean",
            "default": False,
            "description": "Accepted; answers are never held back.",
        }
    },
)
