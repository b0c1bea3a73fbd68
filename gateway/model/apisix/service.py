"""A service in the apisix dialect (Admin API contract §5.2)."""

from __future__ import annotations

from gateway.model.apisix import fields, upstream

SCHEMA = fields.resource(
    {
        "name": fields.name,
        "desc": fields.description,
        "labels": fields.labels,
        "plugins": fields.plugins,
        "upstream": upstream.SCHEMA,
        "upstream_id": fields.identifier,
        "script": {"type": "string", "minLength": 10, "maxLength": 102400},
        "enable_websocket": {"type": "boolean"},
        "hosts": fields.hosts,
    }
)
