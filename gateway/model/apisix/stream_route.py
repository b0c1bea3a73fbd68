"""A stream route in the apisix dialect (Admin API contract §5.7)."""

from __future__ import annotations

from gateway.model.apisix import fields, upstream

SCHEMA = fields.resource(
    {
        "name": fields.name,
        "desc": fields.description,
        "labels": fields.labels,
        "remote_addr": fields.address,
        "server_addr": fields.address,
        "server_port": fields.port,
        "sni": fields.host,
        "upstream": upstream.SCHEMA,
        "upstream_id": fields.identifier,
        "service_id": fields.identifier,
        "plugins": fields.plugins,
        "protocol": fields.object_of(
            {
                "name": {"type": "string"},
                "superior_id": fields.identifier,
                "conf": {"type": "object"},
                "logger": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {
                            "name": {"type": "string"},
                            "filter": {"type": "array"},
                            "conf": {"type": "object"},
                        },
                        "dependencies": {"name": ["conf"]},
                        "additionalProperties": False,
                    },
                },
            },
            required=("name",),
        ),
    }
)
