"""A route in the apisix dialect (Admin API contract §5.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.model.apisix import fields, upstream
from gateway.model.problems import Problem

_URI = {"type": "string", "minLength": 1, "maxLength": 4096}

_TARGETS = ("plugins", "upstream", "upstream_id", "service_id")


def _at_most_one(one: str, many: str) -> dict[str, Any]:
    return {
        "oneOf": [
            {"not": {"anyOf": [{"required": [one]}, {"required": [many]}]}},
            {"required": [one]},
            {"required": [many]},
        ]
    }


SCHEMA = fields.resource(
    {
        "name": fields.name,
        "desc": fields.description,
        "labels": fields.labels,
        "uri": _URI,
        "uris": {"type": "array", "minItems": 1, "uniqueItems": True, "items": _URI},
        "priority": {"type": "integer", "default": 0},
        "methods": {"type": "array", "uniqueItems": True, "items": fields.methods},
        "host": fields.host,
        "hosts": fields.hosts,
        "remote_addr": fields.address,
        "remote_addrs": {"type": "array", "minItems": 1, "uniqueItems": True, "items": fields.address},
        "timeout": fields.timeout,
        "vars": {"type": "array"},
        "filter_func": {"type": "string", "minLength": 10, "pattern": r"^function"},
        "script": {"type": "string", "minLength": 10, "maxLength": 102400},
        "script_id": fields.identifier,
        "plugins": fields.plugins,
        "plugin_config_id": fields.identifier,
        "upstream": upstream.SCHEMA,
        "upstream_id": fields.identifier,
        "service_id": fields.identifier,
        "enable_websocket": {"type": "boolean"},
        "status": {"type": "integer", "enum": [1, 0], "default": 1},
    },
    (),
    allOf=[
        {"oneOf": [{"required": ["uri"]}, {"required": ["uris"]}]},
        _at_most_one("host", "hosts"),
        _at_most_one("remote_addr", "remote_addrs"),
    ],
    anyOf=[
        *({"required": [target, path]} for path in ("uri", "uris") for target in _TARGETS),
        {"required": ["script", "uri"]},
        {"required": ["script", "uris"]},
    ],
    **{
        "not": {
            "anyOf": [{"required": ["script", "plugins"]}, {"required": ["script", "plugin_config_id"]}],
        }
    },
)


def first_problems(document: Mapping[str, Any]) -> list[Problem]:
    """What is told before anything the schema says: two forms of one field (Admin API contract §5.1)."""
    return [
        Problem((many,), "conflict", f"only one of {one} or {many} is allowed")
        for one, many in (("host", "hosts"), ("remote_addr", "remote_addrs"))
        if one in document and many in document
    ]


def lua_problems(document: Mapping[str, Any]) -> list[Problem]:
    """Program text in Lua is refused: it would be stored and never run."""
    return [
        Problem((member,), "value", f"failed to load '{member}' string: this gateway does not run Lua")
        for member in ("filter_func", "script", "script_id")
        if member in document
    ]
