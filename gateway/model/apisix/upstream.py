"""An upstream in the apisix dialect: a resource of its own, or inline in a route, service or stream route."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from gateway.model.apisix import fields
from gateway.model.apisix.fields import Fragment, object_of
from gateway.model.problems import PathPart, Problem
from gateway.model.schema import Schema, is_reference

_WEIGHT: Fragment = {"type": "integer", "minimum": 0}
_NODES: Fragment = {
    "anyOf": [
        {"type": "object", "patternProperties": {".*": _WEIGHT}},
        {
            "type": "array",
            "items": object_of(
                {
                    "host": {"type": "string", "minLength": 1, "pattern": fields.HOST_PATTERN},
                    "port": fields.port,
                    "weight": _WEIGHT,
                    "priority": {"type": "integer", "default": 0},
                    "metadata": {"type": "object"},
                },
                required=("host", "weight"),
            ),
        },
    ]
}


def _statuses(default: list[int]) -> Fragment:
    status = {"type": "integer", "minimum": 200, "maximum": 599}
    return {"type": "array", "minItems": 1, "items": status, "uniqueItems": True, "default": default}


def _counter(default: int, minimum: int = 1) -> Fragment:
    return {"type": "integer", "minimum": minimum, "maximum": 254, "default": default}


_INTERVAL: Fragment = {"type": "integer", "minimum": 1, "default": 1}
_PROBE: Fragment = {"type": "string", "enum": ["http", "https", "tcp"], "default": "http"}
CHECKS: Schema = object_of(
    {
        "active": object_of(
            {
                "type": _PROBE,
                "timeout": {"type": "number", "exclusiveMinimum": 0, "default": 1},
                "concurrency": {"type": "integer", "minimum": 1, "default": 10},
                "host": fields.host,
                "port": fields.port,
                "http_method": {**fields.methods, "default": "GET"},
                "http_path": {"type": "string", "default": "/"},
                "http_req_body": {"type": "string", "default": ""},
                "https_verify_certificate": {"type": "boolean", "default": True},
                "req_headers": {
                    "type": "array",
                    "minItems": 1,
                    "items": {"type": "string"},
                    "uniqueItems": True,
                },
                "healthy": object_of(
                    {
                        "interval": _INTERVAL,
                        "http_statuses": _statuses([200, 302]),
                        "successes": _counter(2),
                    }
                ),
                "unhealthy": object_of(
                    {
                        "interval": _INTERVAL,
                        "http_statuses": _statuses([429, 404, 500, 501, 502, 503, 504, 505]),
                        "http_failures": _counter(5),
                        "tcp_failures": _counter(2),
                        "timeouts": _counter(3),
                    }
                ),
            }
        ),
        "passive": object_of(
            {
                "type": _PROBE,
                "healthy": object_of(
                    {
                        "http_statuses": _statuses([*range(200, 209), 226, *range(300, 309)]),
                        "successes": _counter(5, 0),
                    }
                ),
                "unhealthy": object_of(
                    {
                        "http_statuses": _statuses([429, 500, 503]),
                        "tcp_failures": _counter(2, 0),
                        "timeouts": _counter(7, 0),
                        "http_failures": _counter(5, 0),
                    }
                ),
            }
        ),
    },
    anyOf=[{"required": ["active"]}, {"required": ["active", "passive"]}],
)
"""Admin API contract §5.8."""

_TLS: Schema = object_of(
    {
        "client_cert_id": fields.identifier,
        "client_cert": fields.certificate,
        "client_key": fields.private_key,
        "verify": {"type": "boolean", "default": False},
    },
    dependencies={
        "client_cert": {"required": ["client_key"], "not": {"required": ["client_cert_id"]}},
        "client_key": {"required": ["client_cert"], "not": {"required": ["client_cert_id"]}},
    },
)

SCHEMA = fields.resource(
    {
        "nodes": _NODES,
        "retries": {"type": "integer", "minimum": 0},
        "retry_timeout": {"type": "number", "minimum": 0},
        "timeout": fields.timeout,
        "tls": _TLS,
        "keepalive_pool": object_of(
            {
                "size": {"type": "integer", "minimum": 1, "default": 320},
                "idle_timeout": {"type": "number", "minimum": 0, "default": 60},
                "requests": {"type": "integer", "minimum": 1, "default": 1000},
            }
        ),
        "type": {"type": "string", "default": "roundrobin"},
        "checks": CHECKS,
        "hash_on": {
            "type": "string",
            "enum": ["vars", "header", "cookie", "consumer", "vars_combinations"],
            "default": "vars",
        },
        "key": {"type": "string"},
        "scheme": {
            "type": "string",
            "enum": ["grpc", "grpcs", "http", "https", "tcp", "tls", "udp", "kafka"],
            "default": "http",
        },
        "discovery_type": {"type": "string"},
        "discovery_args": {"type": "object"},
        "pass_host": {"type": "string", "enum": ["pass", "node", "rewrite"], "default": "pass"},
        "upstream_host": fields.host,
        "service_name": {"type": "string", "minLength": 1, "maxLength": 256},
        "name": fields.name,
        "desc": fields.description,
        "labels": fields.labels,
    },
    oneOf=[{"required": ["nodes"]}, {"required": ["service_name", "discovery_type"]}],
)

_NO_BRACKETS = "invalid configuration: IPv6 address must be enclosed with '[' and ']'"
# Its text is part of an answer that clients know, "A-z" included.
_VARS = re.compile(
    r"((uri|server_name|server_addr|request_uri|remote_port|remote_addr|query_string|host|hostname"
    r"|mqtt_client_id)|arg_[0-9a-zA-z_-]+)"
)
_KEY_PATTERNS = {
    "vars": _VARS,
    "header": re.compile(r"[a-zA-Z0-9-_]+"),
    "cookie": re.compile(r"[a-zA-Z0-9-_]+"),
}


def problems(document: Mapping[str, Any]) -> list[Problem]:
    """
    What the schema cannot say about an upstream; each message is the whole text.

    The document need not fit the schema: then there may be more to say.

    Source:
        Admin API contract §5.3.
    """
    found = [*_node_problems(document.get("nodes"))]
    if document.get("pass_host") == "rewrite" and not document.get("upstream_host"):
        text = "`upstream_host` can't be empty when `pass_host` is `rewrite`"
        found.append(Problem(("upstream_host",), "value", text))
    if document.get("type") == "chash":
        hash_on, key = str(document.get("hash_on", "vars")), document.get("key")
        if hash_on != "consumer" and not key:
            found.append(Problem(("key",), "value", "missing key"))
        pattern = _KEY_PATTERNS.get(hash_on)
        named = isinstance(key, str) and key != "" and not is_reference(key)
        if pattern is not None and named and not pattern.fullmatch(str(key)):
            text = f'invalid configuration: failed to match pattern "^{pattern.pattern}$" with "{key}"'
            found.append(Problem(("key",), "value", text))
    return found


def _node_problems(nodes: object) -> list[Problem]:
    if isinstance(nodes, Mapping):
        found = []
        for address in nodes:
            place: tuple[PathPart, ...] = ("nodes", address)
            host, port = _split(address)
            if host.count(":") and not host.startswith("["):
                found.append(Problem(place, "value", _NO_BRACKETS))
            elif port is not None and not 1 <= port <= 65535:
                found.append(Problem(place, "value", f"invalid port {port}"))
        return found
    items = nodes if isinstance(nodes, list) else []
    hosts = [node.get("host") if isinstance(node, Mapping) else None for node in items]
    return [
        Problem(("nodes", index, "host"), "value", _NO_BRACKETS)
        for index, host in enumerate(hosts)
        if isinstance(host, str) and ":" in host and not host.startswith("[")
    ]


def _split(address: str) -> tuple[str, int | None]:
    host, colon, port = address.rpartition(":")
    if colon and port.isascii() and port.isdigit() and not host.endswith(":") and len(port) < 10:
        return host, int(port)
    return address, None
