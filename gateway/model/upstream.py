"""An upstream: the nodes requests go to, and how they are chosen and spoken to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from gateway.model import fields, timeout
from gateway.model.fields import Fragment, object_of
from gateway.model.problems import Problem
from gateway.model.schema import Schema, fill, without_defaults
from gateway.model.ssl import KeyPair, pair_problems
from gateway.model.timeout import Timeout

_PORT: Fragment = {"type": "integer", "minimum": 1, "maximum": 65535}
_WEIGHT: Fragment = {"type": "integer", "minimum": 0, "maximum": 65535}
_NODE = object_of(
    {
        "host": {"type": "string", "minLength": 1, "pattern": r"^(\[[0-9a-fA-F:.]+\]|[0-9a-zA-Z-._]+)$"},
        "port": _PORT,
        "weight": _WEIGHT,
        "priority": {"type": "integer", "default": 0},
        "metadata": {"type": "object"},
    },
    required=("host", "port", "weight"),
)
_NODES: Fragment = {
    "type": "array",
    "items": _NODE,
    # {"host:port": weight}; announced as an array only, so that clients find the defaults of its items.
    "x-or": {
        "type": "object",
        "patternProperties": {r"^(\[[0-9a-fA-F:.]+\]|[0-9a-zA-Z-._]+)(:[0-9]{1,5})?$": _WEIGHT},
        "additionalProperties": False,
    },
}
_KEEPALIVE_POOL = object_of(
    {
        "size": {"type": "integer", "minimum": 1, "default": 320},
        "idle_timeout": {"type": "number", "minimum": 0, "default": 60},
        "requests": {"type": "integer", "minimum": 1, "default": 1000},
    }
)


def _counter(default: int, minimum: int) -> Fragment:
    return {"type": "integer", "minimum": minimum, "maximum": 254, "default": default}


def _statuses(default: list[int]) -> Fragment:
    status = {"type": "integer", "minimum": 200, "maximum": 599}
    return {"type": "array", "minItems": 1, "uniqueItems": True, "items": status, "default": default}


_INTERVAL: Fragment = {"type": "integer", "minimum": 1, "default": 1}
_PROBE_TYPE: Fragment = {"type": "string", "enum": ["http", "https", "tcp"], "default": "http"}
_ACTIVE = object_of(
    {
        "type": _PROBE_TYPE,
        "timeout": {"type": "number", "exclusiveMinimum": 0, "default": 1},
        "concurrency": {"type": "integer", "minimum": 1, "default": 10},
        "host": fields.host,
        "port": _PORT,
        "http_method": {"type": "string", "enum": list(fields.METHODS), "default": "GET"},
        "http_path": {"type": "string", "default": "/"},
        "http_req_body": {"type": "string", "default": ""},
        "https_verify_certificate": {"type": "boolean", "default": True},
        "req_headers": {"type": "array", "minItems": 1, "items": {"type": "string"}, "uniqueItems": True},
        "healthy": object_of(
            {"interval": _INTERVAL, "http_statuses": _statuses([200, 302]), "successes": _counter(2, 1)}
        ),
        "unhealthy": object_of(
            {
                "interval": _INTERVAL,
                "http_statuses": _statuses([429, 404, 500, 501, 502, 503, 504, 505]),
                "http_failures": _counter(5, 1),
                "tcp_failures": _counter(2, 1),
                "timeouts": _counter(3, 1),
            }
        ),
    }
)
_PASSIVE = object_of(
    {
        "type": _PROBE_TYPE,
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
)
_TLS = object_of(
    {
        "client_cert": {"type": "string", "minLength": 128, "maxLength": 65536},
        "client_key": {"type": "string", "minLength": 64, "maxLength": 65536},
        "client_cert_id": fields.identifier,
        "verify": {"type": "boolean"},
    },
    dependencies={"client_cert": ["client_key"], "client_key": ["client_cert"]},
)

_CHECKS = object_of({"active": _ACTIVE, "passive": _PASSIVE}, required=("active",))

HTTP_SCHEMES = ("http", "https", "grpc", "grpcs")
STREAM_SCHEMES = ("tcp", "tls", "udp")
DEFAULT_PORTS = {"http": 80, "grpc": 80, "https": 443, "grpcs": 443}


def _members(schemes: tuple[str, ...]) -> dict[str, Schema]:
    return {
        "id": fields.identifier,
        "name": {**fields.name, "default": "default"},
        "desc": fields.description,
        "labels": fields.labels,
        "scheme": {"type": "string", "enum": list(schemes), "default": schemes[0]},
        "type": {
            "type": "string",
            "enum": ["roundrobin", "chash", "least_conn", "ewma"],
            "default": "roundrobin",
        },
        "hash_on": {
            "type": "string",
            "enum": ["vars", "header", "cookie", "consumer", "vars_combinations"],
            "default": "vars",
        },
        "key": {"type": "string", "minLength": 1},
        "nodes": _NODES,
        "retries": {"type": "integer", "minimum": 0, "maximum": 65535},
        "retry_timeout": {"type": "number", "minimum": 0, "default": 0},
        "timeout": timeout.SCHEMA,
        "keepalive_pool": _KEEPALIVE_POOL,
        "pass_host": {"type": "string", "enum": ["pass", "node", "rewrite"], "default": "pass"},
        "upstream_host": fields.host,
        "service_name": {"type": "string", "minLength": 1, "maxLength": 256},
        "discovery_type": {"type": "string", "enum": ["kubernetes", "nacos", "consul"]},
        "discovery_args": {"type": "object", "default": {}},
        "tls": _TLS,
        "client_certificate": fields.identifier,
        "ca_certificates": {"type": "array", "items": fields.identifier},
        "tls_verify": {"type": "boolean"},
        # Their defaults are not among those that clients merge (contract §6.4): only ``parse`` adds them.
        "checks": without_defaults(_CHECKS),
    }


_HTTP = _members(HTTP_SCHEMES)
_STREAM = _members(STREAM_SCHEMES)
for _name in ("keepalive_pool", "pass_host", "discovery_args"):
    # Accepted and kept for a stream service, without defaults (contract §6.4).
    _STREAM[_name] = without_defaults(_STREAM[_name])

SCHEMA = object_of(_HTTP)
STREAM_SCHEMA = object_of(_STREAM)


@frozen
class Node:
    """
    One address of an upstream.

    Attributes:
        host: A name or an IP address; IPv6 without brackets.
        port: 1 to 65535.
        weight: Its share of the traffic, relative to the other nodes; 0 takes no traffic.
        priority: Nodes of a lower priority wait until the higher ones are used up.
        key: The node's identity in logs, metrics and health state: ``host:port``.
    """

    host: str
    port: int
    weight: int
    priority: int = 0
    key: str = field(init=False, eq=False, repr=False)

    @key.default
    def _key(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@frozen
class KeepalivePool:
    """How many idle connections a node keeps, for how long, and for how many requests each."""

    size: int
    idle_timeout_s: float
    requests: int


@frozen
class Upstream:
    """
    Attributes:
        nodes: In the order given; empty if none (the request is then answered 503).
        retries: Tries after the first, or None for "as many as there are other nodes".
        retry_timeout_s: Seconds since the first try after which none is started; 0 is no limit.
        pass_host: ``pass``, ``node`` or ``rewrite`` (then *upstream_host* is the Host sent).
        checks: The health check settings as given, defaults filled in; None if there are none.
        tls_verify: With TLS, whether the certificate of a node has to be valid.
        client_pair: What is shown to nodes that ask for a certificate; or else
        client_cert_id, client_certificate: the id of an ssl, or of a certificate, that is shown.
        ca_certificates: Ids of the authorities to trust; none for those the system trusts.
    Source:
        Admin API contract §3.3, data-plane contract §7.
    """

    name: str
    scheme: str
    type: str
    nodes: tuple[Node, ...]
    hash_on: str
    key: str | None
    retries: int | None
    retry_timeout_s: float
    timeout: Timeout
    keepalive_pool: KeepalivePool
    pass_host: str
    upstream_host: str | None
    tls_verify: bool
    checks: Mapping[str, Any] | None = None
    client_pair: KeyPair | None = None
    client_cert_id: str | None = None
    client_certificate: str | None = None
    ca_certificates: tuple[str, ...] = ()

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Upstream:
        """Read a document that fits ``SCHEMA`` and passed ``problems``."""
        full = fill(SCHEMA, document)
        pool = fill(_KEEPALIVE_POOL, full.get("keepalive_pool", {}))
        tls = full.get("tls") or {}
        return cls(
            name=full["name"],
            scheme=full["scheme"],
            type=full["type"],
            nodes=_nodes(full.get("nodes", []), full["scheme"]),
            hash_on=full["hash_on"],
            key=full.get("key"),
            retries=None if full.get("retries") is None else int(full["retries"]),
            retry_timeout_s=float(full["retry_timeout"]),
            timeout=Timeout.parse(full.get("timeout", {})),
            keepalive_pool=KeepalivePool(
                int(pool["size"]), float(pool["idle_timeout"]), int(pool["requests"])
            ),
            pass_host=full["pass_host"],
            upstream_host=full.get("upstream_host"),
            tls_verify=bool(full.get("tls_verify", tls.get("verify", False))),
            checks=None if full.get("checks") is None else _checks(full["checks"]),
            client_pair=_client_pair(tls),
            client_cert_id=tls.get("client_cert_id"),
            client_certificate=full.get("client_certificate"),
            ca_certificates=tuple(full.get("ca_certificates", ())),
        )


def _client_pair(tls: Mapping[str, Any]) -> KeyPair | None:
    if "client_cert" not in tls or "client_key" not in tls:
        return None
    where = (("tls", "client_cert"), ("tls", "client_key"))
    return KeyPair(tls["client_cert"], tls["client_key"], where)


def _split(address: str) -> tuple[str, int | None]:
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit() and not host.endswith(":"):
        return host, int(port)
    return address, None


def _nodes(given: Any, scheme: str) -> tuple[Node, ...]:
    # Whole numbers may be written 80.0: JSON Schema counts them as integers.
    default_port = DEFAULT_PORTS.get(scheme, 80)
    if isinstance(given, Mapping):
        split = [(*_split(address), weight) for address, weight in given.items()]
        return tuple(
            Node(host.strip("[]"), port or default_port, int(weight)) for host, port, weight in split
        )
    return tuple(
        Node(
            node["host"].strip("[]"),
            int(node.get("port", default_port)),
            int(node["weight"]),
            int(node.get("priority", 0)),
        )
        for node in given
    )


def _checks(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Health checks with every default, those of absent ``healthy`` and ``unhealthy`` included."""
    full = fill(_CHECKS, given)
    for part, schema in (("active", _ACTIVE), ("passive", _PASSIVE)):
        if part in full:
            for side in ("healthy", "unhealthy"):
                full[part][side] = fill(schema["properties"][side], full[part].get(side, {}))
    return full


def problems(document: Mapping[str, Any]) -> list[Problem]:
    """
    What a schema cannot say about an upstream that fits it.

    Source:
        Data-plane contract §7; Admin API contract §5.3.
    """
    found = []
    if document.get("type") == "chash" and document.get("hash_on") != "consumer" and "key" not in document:
        found.append(Problem(("key",), "required", "missing key", "key"))
    if document.get("pass_host") == "rewrite" and not document.get("upstream_host"):
        text = "`upstream_host` can't be empty when `pass_host` is `rewrite`"
        found.append(Problem(("upstream_host",), "required", text, "upstream_host"))
    if "nodes" in document and "service_name" in document:
        text = "only one of nodes or service_name is allowed"
        found.append(Problem(("service_name",), "conflict", text))
    for name, other in (("service_name", "discovery_type"), ("discovery_type", "service_name")):
        if name in document and other not in document:
            text = f'property "{other}" is required when "{name}" is set'
            found.append(Problem((other,), "required", text, other))
    tls = document.get("tls")
    if isinstance(tls, Mapping) and "client_cert_id" in tls and "client_cert" in tls:
        text = "only one of client_cert or client_cert_id is allowed"
        found.append(Problem(("tls", "client_cert_id"), "conflict", text))
    if isinstance(tls, Mapping) and (pair := _client_pair(tls)) is not None:
        found += pair_problems(pair)
    nodes = document.get("nodes")
    if isinstance(nodes, Mapping):
        for address in nodes:
            port = _split(address)[1]
            if port is not None and not 1 <= port <= 65535:
                found.append(Problem(("nodes", address), "value", f"invalid port {port}", None, port))
    return found
