"""A route: which requests it takes, and what is done to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from gateway.model import fields, timeout
from gateway.model.fields import object_of, reference
from gateway.model.problems import ConfigErrors, Problem
from gateway.model.timeout import Timeout
from gateway.model.upstream import Upstream

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
        name: Empty if it has none: the APISIX dialect does not ask for one.
        service_id: None for a route that stands by itself.
        paths: Path patterns, each starting with ``/``.
        below_prefix: Whether the service's prefix still has to be put in front of them. The APISIX
            dialect has no prefixes and writes paths whole.
        hosts: Host patterns of its own; empty to inherit the service's.
        methods: Method names, or None for any.
        vars: The raw expression (data-plane contract §4); None if there is none.
        priority: Larger wins among routes of the same path pattern.
        enable_websocket: None to inherit.
        upstream: Its own upstream, or None. upstream_id: That of one that stands by itself.
        plugin_config_id: Whose plugins it has besides its own.
        enabled: A disabled route is not in the table.
    Source:
        Admin API contract §3.4 and §5.1, data-plane contract §3.1.
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
    upstream: Upstream | None = None
    upstream_id: str | None = None
    plugin_config_id: str | None = None
    below_prefix: bool = True

    @classmethod
    def parse(cls, id: str, document: Mapping[str, Any]) -> Route:
        """
        Read a document of either dialect that was accepted.

        Raises:
            ConfigErrors: it has no path.
        """
        methods = document.get("methods")
        expression = document.get("vars")
        limits = document.get("timeout")
        nodes = document.get("upstream")
        paths = _either(document, "paths", "uris", "uri")
        if not paths:
            raise ConfigErrors([Problem(("paths",), "required", 'property "paths" is required', "paths")])
        return cls(
            id=id,
            name=document.get("name", ""),
            service_id=reference(document, "service_id"),
            paths=paths,
            hosts=_either(document, "hosts", "host"),
            remote_addrs=_either(document, "remote_addrs", "remote_addr"),
            methods=frozenset(methods) if methods else None,
            vars=None if expression is None else tuple(expression),
            priority=int(document.get("priority", 0)),
            enable_websocket=document.get("enable_websocket"),
            timeout=None if limits is None else Timeout.parse(limits),
            plugins=document.get("plugins", {}),
            enabled=document.get("status", 1) == 1,
            upstream=None if nodes is None else Upstream.parse(nodes),
            upstream_id=reference(document, "upstream_id"),
            plugin_config_id=reference(document, "plugin_config_id"),
            below_prefix="paths" in document,
        )


def _either(document: Mapping[str, Any], *names: str) -> tuple[str, ...]:
    """The first of some members that is there: a list, or one text."""
    for name in names:
        value = document.get(name)
        if value is not None:
            return (value,) if isinstance(value, str) else tuple(value)
    return ()
