"""An access token of the Admin API. Only its hash is ever kept."""

from __future__ import annotations

from gateway.model.fields import object_of

SCHEMA = object_of(
    {
        "name": {"type": "string", "minLength": 1, "maxLength": 256},
        "expires_at": {"type": "integer", "minimum": 0, "default": 0},
    },
    required=("name",),
)
