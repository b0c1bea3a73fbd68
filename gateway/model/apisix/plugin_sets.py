"""Plugins under a name of their own: global rules, plugin configs, consumer groups (contract §5.6)."""

from __future__ import annotations

from gateway.model.apisix import fields

GLOBAL_RULE = fields.resource({"plugins": fields.plugins}, required=("plugins",))

PLUGIN_CONFIG = fields.resource(
    {
        "name": {"type": "string", "minLength": 1},
        "desc": fields.description,
        "plugins": fields.plugins,
        "labels": fields.labels,
    },
    required=("plugins",),
)

CONSUMER_GROUP = fields.resource(
    {
        "name": fields.name,
        "desc": fields.description,
        "plugins": fields.plugins,
        "labels": fields.labels,
    },
    required=("plugins",),
)
