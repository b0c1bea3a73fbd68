"""What the plugins share that let requests in or keep them out by what they say of their client.

Source: plugin contract §2, ip-restriction, ua-restriction and referer-restriction.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.core.exchange import Reply


def list_schema(items: Mapping[str, Any], description: str) -> dict[str, Any]:
    """A setting that is a list of at least one of *items*."""
    return {"type": "array", "minItems": 1, "items": items, "description": description}


def message_schema(default: str) -> dict[str, Any]:
    """The setting ``message``."""
    return {
        "type": "string",
        "minLength": 1,
        "maxLength": 1024,
        "default": default,
        "description": "What is answered.",
    }


def bypass_schema(description: str) -> dict[str, Any]:
    """The setting ``bypass_missing``."""
    return {"type": "boolean", "default": False, "description": description}


def refusals(settings: Mapping[str, Any], missing: str, denied: str) -> tuple[Reply | None, Reply]:
    """
    The answers to who says nothing, None to let them in, and to who may not.

    Args:
        settings: With their defaults. missing, denied: The reason codes.
    """
    body = {"message": settings["message"]}
    nothing = None if settings["bypass_missing"] else Reply.json(403, body, reason=missing)
    return nothing, Reply.json(403, body, reason=denied)
