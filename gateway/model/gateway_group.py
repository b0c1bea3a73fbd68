"""A gateway group: a name space of resources, served by the gateways that joined it."""

from __future__ import annotations

from gateway.model import fields
from gateway.model.fields import object_of

DEFAULT_GROUP = "default"

SCHEMA = object_of(
    {
        "name": {"type": "string", "minLength": 1, "maxLength": 100},
        "description": fields.description,
        "labels": fields.labels,
        "type": {
            "type": "string",
            "enum": ["api7_gateway", "api7_ingress_controller"],
            "default": "api7_gateway",
        },
        "enforce_service_publishing": {"type": "boolean", "default": False},
        "config": {"type": "object"},
        # A client-sent id is accepted and ignored: created groups get a UUID (contract §2.3).
        "id": {"type": "string"},
        "prefix": {"type": "string"},
    },
    required=("name",),
)
