"""A route: which requests it takes, and what is done to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from gateway.model import fields, timeout
from gateway.model.fields import object_of
from gateway.model.schema import fill
from gateway.model.timeout import Timeout

SCHEMA = object_of(
    {
        "id": fields.identifier,
        "route_id": fields.identifier,
        "name": fields.name,
        "desc": fields.description,
        "labels": fields.labels,
        "service_id": fields.identifier,
        "paths": {"type": "array", "minItems": 1, "maxItems": 64, "items": fields.path},
        "methods": {
            "type": "array",
            "minItems": 1,
            "maxItems": 9,
            "uniqueItems": True,
            "items": {"type": "string", "enum": list(fields.METHODS)},
        },
        "vars": {"type": "array"},
        "priority": {"type": "integer", "default": 0},
        "enable_websocket": {"type": ["boolean", "null"]},
        "timeout": timeout.SCHEMA,
        "plugins": fields.plugins,
    },
    required=("name", "service_id", "paths"),
)


@frozen
class Route:
    """
    Attributes:
        paths: Path patterns, each starting with ``/``; the service's prefix is not yet in front.
        hosts: Host patterns of its own; empty to inherit the service's.
        methods: Method names, or None for any.
        vars: The raw expression (data-plane contract §4); None if there is none.
        priority: Larger wins among routes of the same path pattern.
        enable_websocket: None to inherit.
    Source:
        Admin API contract §3.4, data-plane contract §3.1.
    """

    id: str
    name: str
    service_id: str | None
    paths: tuple[str, ...]
    hosts: tuple[str, ...] = ()
    remote_addrs: tuple[str, ...] = ()
    methods: frozenset[str] | None = None
    vars: tuple[Any, ...] | None = None
    priority: int = 0
    enable_websocket: bool | None = None
    timeout: Timeout | None = None
    plugins: Mapping[str, Mapping[str, Any]] = field(factory=dict, repr=False)
    enabled: bool = True

    @classmethod
    def parse(cls, id: str, document: Mapping[str, Any]) -> Route:
        """Read a document that fits ``SCHEMA``."""
        full = fill(SCHEMA, document)
        methods = full.get("methods")
        expression = full.get("vars")
        limits = full.get("timeout")
        return cls(
            id=id,
            name=full["name"],
            service_id=full["service_id"],
            paths=tuple(full["paths"]),
            methods=frozenset(methods) if methods else None,
            vars=None if expression is None else tuple(expression),
            priority=int(full["priority"]),
            enable_websocket=full.get("enable_websocket"),
            timeout=None if limits is None else Timeout.parse(limits),
            plugins=full.get("plugins", {}),
        )
