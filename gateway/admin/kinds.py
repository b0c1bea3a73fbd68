"""The table of resource kinds: what the Admin API can hold, one entry a kind.

An entry names the checks and the cascade, which every dialect shares, and for each dialect a
``Shape``: where its documents are found and what they look like. A new kind is one more entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from attrs import field, frozen

from gateway.admin import checks
from gateway.admin.checks import Check
from gateway.control.state import State
from gateway.model import consumer, credential, gateway_group, global_rule, route, service, token
from gateway.model.credential import split_id
from gateway.model.problems import Problem
from gateway.model.record import Record
from gateway.model.schema import Checker, Document, Schema, fill_scalars

Filter = Callable[[Record, str], bool]
"""Whether a record is in a list that a query parameter's value narrows."""

TIMES = ("created_at", "updated_at")


@frozen
class Shape:
    """
    How documents of a kind look in one dialect.

    Attributes:
        path: The segment under ``/apisix/admin``; empty for what is served elsewhere.
        methods: Letters of Admin API contract §3.1: L G C U P D.
        checker: Picks the schema that a document must fit.
        ignored: Members the server adds to answers. They are accepted and dropped, so that
            what was read can be written back.
    """

    path: str
    methods: str
    checker: Callable[[Mapping[str, Any]], Checker]
    ignored: frozenset[str] = frozenset(TIMES)

    def complete(self, document: Document) -> Document:
        """Add the defaults that this dialect stores (Admin API contract §6.4)."""
        return fill_scalars(self.checker(document).schema, document)


@frozen
class Kind:
    """
    A kind of resource.

    Attributes:
        name: The kind of its records. title: What people call it.
        shapes: Dialect → shape.
        id_members: Members that repeat the id; they must agree with the path and are not stored.
        id_member: The member that *is* the id and is stored, such as ``username``; or None.
        id_of: Finds the id in a document that is created without one; None for a new UUID.
        parent: The kind its records belong to, if their stored id is ``<parent id>/<own id>``.
        upsert: Whether a PUT may create it.
        problems: What no schema can say about a document that fits it.
        checks: What depends on other resources or on plugins.
        cascade: What goes when it goes: (kind, stored id) of each.
        warnings: What a writer should know though it was accepted.
        filters: Query parameters that narrow its lists.
        secrets: Names of members that hold secrets, wherever they stand.
        id_checker: What an id must look like; None for the rule that all share.
    """

    name: str
    title: str
    shapes: Mapping[str, Shape]
    id_members: tuple[str, ...] = ("id",)
    id_member: str | None = None
    id_of: Callable[[Mapping[str, Any]], str | None] | None = None
    parent: str | None = None
    upsert: bool = True
    problems: Callable[[Mapping[str, Any]], list[Problem]] = lambda document: []
    checks: tuple[Check, ...] = ()
    cascade: Callable[[State, str, str], Iterable[tuple[str, str]]] = lambda state, group, own: ()
    warnings: Callable[[Mapping[str, Any], Callable[[str], bool]], list[str]] = lambda document, is_auth: []
    filters: Mapping[str, Filter] = field(factory=dict)
    secrets: frozenset[str] = frozenset({"client_key"})
    id_checker: Checker | None = None


def _one(schema: Schema) -> Callable[[Mapping[str, Any]], Checker]:
    checker = Checker(schema)
    return lambda document: checker


_HTTP_SERVICE = Checker(service.SCHEMA)
_STREAM_SERVICE = Checker(service.STREAM_SCHEMA)


def _service_checker(document: Mapping[str, Any]) -> Checker:
    return _STREAM_SERVICE if document.get("type") == "stream" else _HTTP_SERVICE


def _routes_of(state: State, group: str, id: str) -> Iterable[tuple[str, str]]:
    for route_id, record in state.all(group, "route").items():
        # The apisix dialect has whole numbers for ids too.
        if str(record.value.get("service_id")) == id:
            yield "route", route_id


def _credentials_of(state: State, group: str, id: str) -> Iterable[tuple[str, str]]:
    for credential_id in state.all(group, "credential"):
        if split_id(credential_id)[0] == id:
            yield "credential", credential_id


def _consumer_warnings(document: Mapping[str, Any], is_auth: Callable[[str], bool]) -> list[str]:
    names = [name for name in document.get("plugins", {}) if is_auth(name)]
    return [f"plugin {name} on a consumer is deprecated: make a credential of the consumer" for name in names]


def _only_plugin(document: Mapping[str, Any]) -> str | None:
    plugins = document.get("plugins")
    return next(iter(plugins)) if isinstance(plugins, Mapping) and len(plugins) == 1 else None


def _username(document: Mapping[str, Any]) -> str | None:
    name = document.get("username")
    return name if isinstance(name, str) else None


def _member(name: str) -> Filter:
    return lambda record, wanted: str(record.value.get(name)) == wanted


_SERVICE_ANSWER = frozenset((*TIMES, "gateway_group_id", "gateway_group_name", "service_version_id"))

_ALL = (
    Kind(
        name="service",
        title="service",
        shapes={"enterprise": Shape("services", "LGCUPD", _service_checker, _SERVICE_ANSWER)},
        id_members=("id", "service_id"),
        problems=service.problems,
        checks=(checks.fixed_type, checks.plugins),
        cascade=_routes_of,
        filters={
            "type": _member("type"),
            "hosts": lambda record, wanted: wanted in record.value.get("hosts", ()),
        },
    ),
    Kind(
        name="route",
        title="route",
        shapes={"enterprise": Shape("routes", "LGCUPD", _one(route.SCHEMA))},
        id_members=("id", "route_id"),
        checks=(checks.http_service, checks.expression, checks.plugins),
        filters={"service_id": _member("service_id")},
    ),
    Kind(
        name="consumer",
        title="consumer",
        shapes={"enterprise": Shape("consumers", "LGCUPD", _one(consumer.SCHEMA))},
        id_members=(),
        id_member="username",
        id_of=_username,
        checks=(checks.consumer_plugins, checks.unique_key),
        cascade=_credentials_of,
        warnings=_consumer_warnings,
    ),
    Kind(
        name="credential",
        title="credential",
        shapes={"enterprise": Shape("credentials", "LGCUD", _one(credential.SCHEMA))},
        parent="consumer",
        checks=(checks.credential_plugin, checks.unique_key),
        filters={"plugin_name": lambda record, wanted: wanted in record.value.get("plugins", {})},
    ),
    Kind(
        name="global_rule",
        title="global rule",
        shapes={"enterprise": Shape("global_rules", "LGCUD", _one(global_rule.SCHEMA))},
        id_of=_only_plugin,
        checks=(checks.one_plugin, checks.plugins),
    ),
)

KINDS: Mapping[str, Kind] = {kind.name: kind for kind in _ALL}
"""The resources of a gateway group, by the name of their records."""


def _everything_in(state: State, group: str, id: str) -> Iterable[tuple[str, str]]:
    # Children before parents, so that no step of the commit leaves a dangling reference.
    for kind in ("credential", "route", *KINDS):
        for record_id in state.all(id, kind):
            yield kind, record_id


GATEWAY_GROUP = Kind(
    name="gateway_group",
    title="gateway group",
    shapes={"enterprise": Shape("", "LGCUD", _one(gateway_group.SCHEMA))},
    upsert=False,
    checks=(checks.unique_group_name,),
    cascade=_everything_in,
    filters={"name": _member("name")},
)

TOKEN = Kind(
    name="token",
    title="token",
    shapes={"enterprise": Shape("", "LGCUD", _one(token.SCHEMA), frozenset(("id", *TIMES)))},
    id_members=(),
    upsert=False,
)


def kind_at(dialect: str, path: str) -> Kind | None:
    """The kind that *dialect* keeps at a segment under ``/apisix/admin``, or None."""
    for kind in _ALL:
        shape = kind.shapes.get(dialect)
        if shape is not None and shape.path == path:
            return kind
    return None
