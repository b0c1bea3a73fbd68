"""How records look in the enterprise dialect (Admin API contract §2.4, §7.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid5

from attrs import evolve

from gateway.admin.kind import Kind
from gateway.admin.resources import own_id
from gateway.admin.translation import translated
from gateway.control.state import State
from gateway.model.credential import join_id
from gateway.model.record import Record
from gateway.model.schema import Document

DIALECT = "enterprise"

VERSION = "3.10.1"
"""The release of API7 Enterprise whose Admin API this dialect follows; clients adapt to it."""

_VERSIONS = UUID("6c1f3c3e-6a5b-4d0e-9f43-0c7a7b1b6c55")


def view(state: State, kind: Kind, record: Record, *, publish_info: bool = False) -> dict[str, Any]:
    """
    A record as the enterprise dialect shows it: the document between its id and its times.

    Args:
        publish_info: Whether routes also tell the versions that were published.
    """
    document: Mapping[str, Any] = record.value
    if record.dialect != DIALECT:
        document = _in_own_members(kind, translated(state, record, DIALECT))
    hidden = kind.shapes[DIALECT].hidden
    if hidden:
        document = {name: value for name, value in document.items() if name not in hidden}
    if kind.bare:
        return dict(document)
    shown: dict[str, Any] = {} if kind.id_member is not None else {"id": own_id(kind, record)}
    shown.update(document)
    if kind.name == "service":
        group = state.get("", "gateway_group", record.group)
        shown["service_id"] = record.id
        shown["service_version_id"] = _version(record)
        shown["gateway_group_id"] = record.group
        shown["gateway_group_name"] = record.group if group is None else group.value["name"]
    if publish_info and kind.name in ("route", "stream_route"):
        service = state.get(record.group, "service", str(record.value.get("service_id")))
        shown["apisix_route_id"] = record.id
        shown["route_version_id"] = _version(record)
        if service is not None:
            shown["service_version_id"] = _version(service)
    shown["created_at"] = record.created_at
    shown["updated_at"] = record.updated_at
    return shown


def _in_own_members(kind: Kind, document: Document) -> Document:
    """Only the members that this dialect has, with its defaults."""
    shape = kind.shapes[DIALECT]
    known = shape.checker(document).schema.get("properties")
    if known is not None:
        document = {name: member for name, member in document.items() if name in known}
    return shape.complete(document)


def _version(record: Record) -> str:
    return str(uuid5(_VERSIONS, f"{record.group}/{record.id}/{record.modified_revision}"))


def default_upstream(service: Record) -> Record | None:
    """A service's inline upstream as one of its upstreams: its id is the service's (contract §3.1)."""
    inline = service.value.get("upstream")
    if not isinstance(inline, Mapping):
        return None
    return evolve(service, kind="service_upstream", id=join_id(service.id, service.id), value=inline)


def single_plugins(rule: Record) -> list[Record]:
    """A global rule, one record a plugin: another dialect may have put several into one (contract §7.2)."""
    plugins = rule.value.get("plugins", {})
    if len(plugins) == 1 and rule.id in plugins:
        return [rule]
    return [
        evolve(rule, id=name, value={"plugins": {name: config}}, dialect=DIALECT)
        for name, config in plugins.items()
    ]
