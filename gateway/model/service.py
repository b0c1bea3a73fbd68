"""A service: what its routes have in common. The default upstream is inline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from gateway.model import fields, upstream
from gateway.model.fields import object_of, reference
from gateway.model.problems import Problem
from gateway.model.schema import Schema, fill
from gateway.model.upstream import Upstream


def _members(upstream_schema: Schema) -> dict[str, Schema]:
    return {
        "id": fields.identifier,
        "service_id": fields.identifier,
        "name": fields.name,
        "desc": fields.description,
        "labels": fields.labels,
        # In every answer, but not among the defaults that clients merge (contract §6.1, §6.4).
        "type": {"type": "string", "enum": ["http", "stream"], "x-default": "http"},
        "status": {"type": "integer", "enum": [0, 1], "x-default": 1},
        "hosts": fields.hosts,
        "path_prefix": fields.path,
        "strip_path_prefix": {"type": "boolean", "default": True},
        "plugins": fields.plugins,
        "upstream": upstream_schema,
    }


_STREAM = _members(upstream.STREAM_SCHEMA)
# Means nothing there, but clients send it and compare it (contract §6.4 rule 4).
_STREAM["strip_path_prefix"] = {"type": "boolean"}
for _name in ("hosts", "path_prefix"):
    # Only HTTP has them (contract §3.2).
    del _STREAM[_name]

SCHEMA = object_of(_members(upstream.SCHEMA), required=("name",))
STREAM_SCHEMA = object_of(_STREAM, required=("name",))


@frozen
class Service:
    """
    Attributes:
        hosts: Host patterns its routes answer to; empty for any host.
        path_prefix: Text in front of each route's path, or None.
        strip_path_prefix: Whether the upstream sees the path without that prefix.
        enabled: A disabled service's routes are not in the table.
        upstream_id: That of an upstream that stands by itself.
        enable_websocket: Whether its routes let clients change the protocol, unless they say otherwise.
    Source:
        Admin API contract §3.2 and §5.2.
    """

    id: str
    name: str
    type: str
    hosts: tuple[str, ...]
    path_prefix: str | None
    strip_path_prefix: bool
    plugins: Mapping[str, Mapping[str, Any]] = field(repr=False)
    upstream: Upstream | None
    enabled: bool
    upstream_id: str | None = None
    enable_websocket: bool = False

    @classmethod
    def parse(cls, id: str, document: Mapping[str, Any]) -> Service:
        """Read a document of either dialect that was accepted."""
        full = fill(SCHEMA, document)
        nodes = full.get("upstream")
        return cls(
            id=id,
            name=full.get("name", ""),
            type=full["type"],
            hosts=tuple(full.get("hosts", ())),
            path_prefix=full.get("path_prefix"),
            strip_path_prefix=full["strip_path_prefix"],
            plugins=full.get("plugins", {}),
            upstream=None if nodes is None else Upstream.parse(nodes),
            enabled=full["status"] == 1,
            upstream_id=reference(full, "upstream_id"),
            enable_websocket=full.get("enable_websocket") is True,
        )


def problems(document: Mapping[str, Any]) -> list[Problem]:
    """What a schema cannot say about a service that fits it."""
    if isinstance(document.get("upstream"), Mapping):
        return [problem.below("upstream") for problem in upstream.problems(document["upstream"])]
    return []
