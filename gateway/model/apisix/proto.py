"""A proto in the apisix dialect (Admin API contract §5.6)."""

from __future__ import annotations

from gateway.model.apisix import fields

SCHEMA = fields.resource(
    {
        "name": fields.name,
        "desc": fields.description,
        "labels": fields.labels,
        "content": {"type": "string", "minLength": 1, "maxLength": 1024 * 1024},
    },
    required=("content",),
)
