"""A proto: a Protocol Buffers definition that plugins translate by."""

from __future__ import annotations

from gateway.model import fields
from gateway.model.fields import object_of

MAX_CONTENT = 1024 * 1024

SCHEMA = object_of(
    {
        "id": fields.identifier,
        "name": fields.name,
        "desc": fields.description,
        "labels": fields.labels,
        "content": {"type": "string", "minLength": 1, "maxLength": MAX_CONTENT},
    },
    required=("content",),
)
"""Source: Admin API contract §3.1, §5.6."""
