"""A consumer, its credentials and its group in the apisix dialect (Admin API contract §5.4, §5.6)."""

from __future__ import annotations

from gateway.model.apisix import fields

SCHEMA = fields.object_of(
    {
        "username": fields.username,
        "group_id": fields.identifier,
        "plugins": fields.plugins,
        "desc": fields.description,
        "labels": fields.labels,
        "create_time": fields.time,
        "update_time": fields.time,
    },
    required=("username",),
)

CREDENTIAL = fields.resource(
    {
        "name": fields.name,
        "desc": fields.description,
        "labels": fields.labels,
        "plugins": {**fields.plugins, "maxProperties": 1},
    }
)
