"""A stream route: which TCP, TLS or UDP connections a stream service takes."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any

from gateway.model import fields
from gateway.model.fields import object_of
from gateway.model.problems import Problem

_ADDRESS = {"type": "string", "minLength": 1, "maxLength": 64}

SCHEMA = object_of(
    {
        "id": fields.identifier,
        "stream_route_id": fields.identifier,
        "name": fields.name,
        "desc": fields.description,
        "labels": fields.labels,
        "service_id": fields.identifier,
        "server_addr": _ADDRESS,
        "server_port": {"type": "integer", "minimum": 1, "maximum": 65535},
        "remote_addr": _ADDRESS,
        "sni": fields.host,
        "plugins": fields.plugins,
    },
    required=("service_id",),
)
"""As the enterprise dialect writes it (Admin API contract §3.5); it announces no default (§6.4)."""


def problems(document: Mapping[str, Any]) -> list[Problem]:
    """What a schema cannot say about a stream route that fits it: what is an address."""
    found = []
    for name in ("server_addr", "remote_addr"):
        if name in document:
            try:
                ip_network(document[name], strict=False)
            except ValueError:
                text = "value must be an IP address or a CIDR block"
                found.append(Problem((name,), "value", text, None, document[name]))
    return found
