"""What a document looks like in the other dialect (Admin API contract §7.3).

Each record remembers the dialect that wrote it. Read through the other one it shows what both
have in common; the rest stays in the store. Members of both are never mixed in one document.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gateway.control.state import State
from gateway.core.paths import join_prefix
from gateway.model.apisix.fields import TIMES
from gateway.model.record import Record
from gateway.model.schema import Document
from gateway.model.upstream import DEFAULT_PORTS

_Conversion = Callable[[State, Record], Document]

_COMMON = ("name", "desc", "labels", "plugins")
_COMMON_ROUTE = (*_COMMON, "methods", "vars", "priority", "service_id", "timeout", "enable_websocket")


def _chosen(value: Mapping[str, Any], names: tuple[str, ...]) -> Document:
    return {name: value[name] for name in names if value.get(name) is not None}


def _prefix(state: State, route: Record) -> str | None:
    service = state.get(route.group, "service", str(route.value.get("service_id", "")))
    return None if service is None else service.value.get("path_prefix")


def _route_to_apisix(state: State, record: Record) -> Document:
    value = record.value
    prefix = _prefix(state, record)
    uris = [path if prefix is None else join_prefix(prefix, path) for path in value.get("paths", ())]
    return {"uris": uris, **_chosen(value, _COMMON_ROUTE), "status": 1}


def _service_to_apisix(state: State, record: Record) -> Document:
    return _chosen(record.value, (*_COMMON, "hosts", "upstream"))


def _named(record: Record) -> Document:
    # Every enterprise client counts on a name, and nobody else has to give one.
    return {"name": record.id.rpartition("/")[2]}


def _route_to_enterprise(state: State, record: Record) -> Document:
    value = record.value
    uris = value["uris"] if "uris" in value else [value[name] for name in ("uri",) if name in value]
    prefix = (_prefix(state, record) or "").rstrip("/")
    paths = [uri.removeprefix(prefix) if uri.startswith(f"{prefix}/") else uri for uri in uris]
    route = {**_named(record), **_chosen(value, _COMMON_ROUTE), "paths": paths}
    if not route.get("methods", True):
        del route["methods"]
    if "service_id" in route:
        route["service_id"] = str(route["service_id"])
    return route


def _service_to_enterprise(state: State, record: Record) -> Document:
    value = record.value
    service = {**_named(record), **_chosen(value, (*_COMMON, "hosts"))}
    upstream = value.get("upstream")
    if upstream is None and "upstream_id" in value:
        found = state.get(record.group, "upstream", str(value["upstream_id"]))
        upstream = None if found is None else found.value
    if upstream is not None:
        service["upstream"] = _upstream_to_enterprise(upstream)
    return service


def _upstream_to_enterprise(value: Mapping[str, Any]) -> Document:
    upstream = {name: member for name, member in value.items() if name not in ("id", *TIMES)}
    nodes = upstream.get("nodes")
    port = DEFAULT_PORTS.get(upstream.get("scheme", "http"), 80)
    if isinstance(nodes, Mapping):
        upstream["nodes"] = [_node(address, weight, port) for address, weight in nodes.items()]
    elif isinstance(nodes, list):
        # The other dialect may leave the port out.
        upstream["nodes"] = [node if "port" in node else {**node, "port": port} for node in nodes]
    return upstream


def _node(address: str, weight: int, default_port: int) -> Document:
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or host.endswith(":"):
        host, port = address, str(default_port)
    return {"host": host, "port": int(port), "weight": weight}


def _consumer_to_enterprise(state: State, record: Record) -> Document:
    return {name: value for name, value in record.value.items() if name not in ("group_id", *TIMES)}


def _credential_to_enterprise(state: State, record: Record) -> Document:
    return {**_named(record), **_chosen(record.value, _COMMON)}


def _without_times(state: State, record: Record) -> Document:
    return {name: value for name, value in record.value.items() if name not in TIMES}


_CONVERSIONS: Mapping[str, Mapping[str, _Conversion]] = {
    "apisix": {"route": _route_to_apisix, "service": _service_to_apisix},
    "enterprise": {
        "route": _route_to_enterprise,
        "service": _service_to_enterprise,
        "consumer": _consumer_to_enterprise,
        "credential": _credential_to_enterprise,
        "global_rule": _without_times,
        "ssl": _without_times,
        "proto": _without_times,
        "secret": _without_times,
        "stream_route": _without_times,
    },
}
"""The dialect that reads → kind → how a document of the other one becomes one of its own."""


def translated(state: State, record: Record, dialect: str) -> Document:
    """
    A record's document as *dialect* has it, without its id and its times.

    Args:
        state: Where the resources are that it refers to.
    Returns:
        A new document; its members are the record's and are not to be changed.
    """
    if record.dialect == dialect:
        return dict(record.value)
    convert = _CONVERSIONS[dialect].get(record.kind)
    return dict(record.value) if convert is None else convert(state, record)
