"""The table of what the apisix dialect keeps under ``/apisix/admin`` (Admin API contract §5).

Kinds of both dialects have the same names, and so the same records; see ``gateway.admin.kinds``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import evolve, field, frozen

from gateway.admin import apisix_checks as checks
from gateway.admin import kind_rules
from gateway.admin.checks import Check
from gateway.admin.kind import Kind, Shape
from gateway.control.state import State
from gateway.model import ssl as certificates
from gateway.model.apisix import (
    consumer,
    fields,
    plugin_sets,
    proto,
    route,
    service,
    ssl,
    stream_route,
    upstream,
)
from gateway.model.credential import split_id
from gateway.model.problems import Problem
from gateway.model.record import Key
from gateway.model.schema import Checker, Document, Schema

DIALECT = "apisix"


class PlainShape(Shape):
    """A shape whose documents are stored as they were sent."""

    def complete(self, document: Document) -> Document:
        return dict(document)


def _id_problems(schema: Schema) -> Callable[[str], list[Problem]]:
    """What is wrong with an id, told as of the member ``id``."""
    checker = Checker({"type": "object", "properties": {"id": schema}})
    return lambda own: checker.problems({"id": own})


@frozen
class ApisixKind(Kind):
    """
    A kind as the apisix dialect knows it.

    Attributes:
        path: Its segment under ``/apisix/admin``, and in keys.
        words: What error texts call it.
        refused: Methods that it answers 405.
        users: Who keeps a record from being deleted.
        has_id: Whether documents show their id. has_times: likewise their times.
        needs_id: Whether a PUT takes its id from the path or from a member ``id``.
        schema: What the schema endpoint publishes.
    """

    path: str = ""
    words: str = ""
    refused: frozenset[str] = frozenset()
    users: checks.Blocker = checks.nobody
    has_id: bool = True
    has_times: bool = True
    needs_id: bool = True
    schema: Schema = field(factory=dict)

    @property
    def alone(self) -> ApisixKind:
        """The same kind without a look at other resources, nor at the id: for dry runs (contract §6.5)."""
        own = tuple(check for check in self.references if check not in checks.REFERENCES)
        return evolve(self, checks=own, references=())


_plain_id = _id_problems(fields.identifier)
_plugin_name = _id_problems({"type": "string", "minLength": 1, "maxLength": 256, "pattern": r"^[^/]+$"})
_secret_id = _id_problems({"type": "string", "pattern": r"^[a-z]+/[a-zA-Z0-9-_.]+$", "maxLength": 80})


def _any_id(id: str) -> list[Problem]:
    """For an id that another check compares with a member."""
    return []


def _kind(
    name: str,
    path: str,
    schema: Schema,
    *own: Check,
    references: bool = True,
    refused: str = "",
    **more: Any,
) -> ApisixKind:
    checker = Checker(schema, references=references)
    return ApisixKind(
        **{
            "name": name,
            "title": name.replace("_", " "),
            "words": name.replace("_", " "),
            "shapes": {DIALECT: PlainShape(path, "", lambda document: checker, frozenset())},
            # All in one: what is told first is a matter of their order.
            "references": own,
            "id_problems": _plain_id,
            "path": path,
            "refused": frozenset(refused.split()),
            "schema": schema,
            **more,
        }
    )


_ANY: Schema = {"type": "object"}

_ALL = (
    _kind(
        "route",
        "routes",
        route.SCHEMA,
        checks.first,
        checks.addresses,
        checks.inline_upstream,
        checks.client_certificate,
        checks.upstream_id,
        checks.service_id,
        checks.plugin_config_id,
        checks.plugins,
        checks.expression,
        checks.no_lua,
    ),
    _kind(
        "service",
        "services",
        service.SCHEMA,
        checks.inline_upstream,
        checks.client_certificate,
        checks.upstream_id,
        checks.plugins,
        checks.no_lua,
        users=checks.service_users,
    ),
    _kind(
        "upstream",
        "upstreams",
        upstream.SCHEMA,
        checks.client_certificate,
        checks.own_upstream,
        users=checks.upstream_users,
    ),
    _kind(
        "consumer",
        "consumers",
        consumer.SCHEMA,
        checks.username,
        checks.consumer_plugins,
        checks.unique_key,
        checks.group_id,
        # The name is part of keys: no reference can stand for it.
        references=False,
        refused="POST PATCH",
        id_members=(),
        id_problems=_any_id,
        cascade=kind_rules.credentials_of_consumer,
        has_id=False,
        needs_id=False,
    ),
    _kind(
        "credential",
        "credentials",
        consumer.CREDENTIAL,
        checks.consumer_plugins,
        checks.only_auth,
        checks.unique_key,
        refused="POST PATCH",
        parent="consumer",
    ),
    _kind("ssl", "ssls", ssl.SCHEMA, problems=certificates.problems, secrets=frozenset({"key", "keys"})),
    _kind(
        "global_rule",
        "global_rules",
        plugin_sets.GLOBAL_RULE,
        checks.plugins,
        checks.rule_plugins,
        refused="POST",
    ),
    _kind(
        "plugin_config",
        "plugin_configs",
        plugin_sets.PLUGIN_CONFIG,
        checks.plugins,
        refused="POST",
        users=checks.plugin_config_users,
    ),
    _kind(
        "consumer_group",
        "consumer_groups",
        plugin_sets.CONSUMER_GROUP,
        checks.plugins,
        refused="POST",
        users=checks.consumer_group_users,
    ),
    _kind(
        "proto",
        "protos",
        proto.SCHEMA,
        checks.definition,
        refused="PATCH",
        users=checks.proto_users,
    ),
    _kind(
        "stream_route",
        "stream_routes",
        stream_route.SCHEMA,
        checks.addresses,
        checks.inline_upstream,
        checks.client_certificate,
        checks.upstream_id,
        checks.service_id,
        checks.plugins,
        checks.superior,
        refused="PATCH",
        users=checks.stream_route_users,
    ),
    _kind(
        "secret",
        "secrets",
        _ANY,
        checks.manager,
        refused="POST",
        id_problems=_secret_id,
        secrets=frozenset({"token", "secret_access_key", "session_token", "private_key"}),
    ),
    _kind(
        "plugin_metadata",
        "plugin_metadata",
        _ANY,
        checks.metadata,
        words="plugin_metadata",
        refused="POST PATCH",
        id_problems=_plugin_name,
        has_times=False,
        needs_id=False,
    ),
)

APISIX_KINDS: Mapping[str, ApisixKind] = {kind.path: kind for kind in _ALL}
"""By their segment under ``/apisix/admin``."""

BY_NAME: Mapping[str, ApisixKind] = {kind.name: kind for kind in _ALL}
"""By the name of their records."""


def resource_key(kind: ApisixKind, id: str) -> str:
    """What clients know as a resource's key: the path that it has in Apache APISIX's own store."""
    if kind.name == "credential":
        username, own = split_id(id)
        return f"/apisix/consumers/{username}/credentials/{own}"
    return f"/apisix/{kind.path}/{id}"


def removal(state: State, key: Key) -> list[Key]:
    """The keys of what goes with the record at *key*, itself included; none if it is gone."""
    group, name, id = key
    if state.get(*key) is None:
        return []
    kind = BY_NAME.get(name)
    below = () if kind is None else kind.cascade(state, group, id)
    return [*below, key]
