"""The table of resource kinds: what the Admin API can hold, one entry a kind.

An entry names the checks and the cascade, which every dialect shares, and for each dialect a
``Shape``: where its documents are found and what they look like. A new kind is one more entry.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gateway.admin import checks, kind_rules
from gateway.admin.kind import TIMES, Filter, Kind, Shape, flag, member, one, username_id
from gateway.control.state import State
from gateway.model import (
    certificate,
    consumer,
    credential,
    gateway_group,
    global_rule,
    plugin_metadata,
    proto,
    role,
    route,
    secret,
    service,
    service_upstream,
    ssl,
    stream_route,
    template,
    token,
    upstream,
    user,
)
from gateway.model.credential import split_id
from gateway.model.record import Key
from gateway.model.schema import Checker

__all__ = [
    "GATEWAY_GROUP",
    "GROUPLESS",
    "KINDS",
    "POLICY",
    "ROLE",
    "TIMES",
    "TOKEN",
    "USER",
    "Filter",
    "Kind",
    "Shape",
    "kind_at",
]

_HTTP_SERVICE = Checker(service.SCHEMA)
_STREAM_SERVICE = Checker(service.STREAM_SCHEMA)


def _service_checker(document: Mapping[str, Any]) -> Checker:
    return _STREAM_SERVICE if document.get("type") == "stream" else _HTTP_SERVICE


def _enterprise(path: str, methods: str, schema: Any, **more: Any) -> Mapping[str, Shape]:
    return {"enterprise": Shape(path, methods, one(schema), **more)}


_SERVICE_ANSWER = frozenset((*TIMES, "gateway_group_id", "gateway_group_name", "service_version_id"))
_ROUTE_ANSWER = frozenset((*TIMES, "apisix_route_id", "route_version_id", "service_version_id"))

_ALL = (
    Kind(
        name="service",
        title="service",
        shapes={"enterprise": Shape("services", "LGCUPD", _service_checker, _SERVICE_ANSWER)},
        id_members=("id", "service_id"),
        problems=service.problems,
        checks=(checks.plugins,),
        references=(checks.fixed_type, checks.upstream_certificates),
        cascade=kind_rules.members_of_service,
        filters={
            "type": member("type"),
            "hosts": lambda record, wanted: wanted in record.value.get("hosts", ()),
        },
    ),
    Kind(
        name="route",
        title="route",
        shapes=_enterprise("routes", "LGCUPD", route.SCHEMA, ignored=_ROUTE_ANSWER),
        id_members=("id", "route_id"),
        checks=(checks.expression, checks.plugins),
        references=(checks.http_service,),
        filters={"service_id": member("service_id")},
    ),
    Kind(
        name="stream_route",
        title="stream route",
        shapes=_enterprise("stream_routes", "LGCUPD", stream_route.SCHEMA, ignored=_ROUTE_ANSWER),
        id_members=("id", "stream_route_id"),
        problems=stream_route.problems,
        checks=(checks.plugins,),
        references=(checks.stream_service,),
        filters={"service_id": member("service_id")},
    ),
    Kind(
        name="service_upstream",
        title="upstream",
        shapes=_enterprise("upstreams", "LGCUD", service_upstream.SCHEMA),
        parent="service",
        problems=upstream.problems,
        references=(checks.not_the_default_upstream, checks.upstream_certificates),
    ),
    Kind(
        name="consumer",
        title="consumer",
        shapes=_enterprise("consumers", "LGCUPD", consumer.SCHEMA),
        id_members=(),
        id_member="username",
        id_of=kind_rules.username,
        id_problems=username_id,
        checks=(checks.consumer_plugins,),
        references=(checks.unique_key,),
        cascade=kind_rules.credentials_of_consumer,
        warnings=kind_rules.auth_on_consumer,
    ),
    Kind(
        name="credential",
        title="credential",
        shapes=_enterprise("credentials", "LGCUD", credential.SCHEMA),
        parent="consumer",
        checks=(checks.credential_plugin,),
        references=(checks.unique_key,),
        filters={"plugin_name": lambda record, wanted: wanted in record.value.get("plugins", {})},
    ),
    Kind(
        name="global_rule",
        title="global rule",
        shapes=_enterprise("global_rules", "LGCUD", global_rule.SCHEMA),
        id_of=kind_rules.only_plugin,
        checks=(checks.one_plugin, checks.plugins),
    ),
    Kind(
        name="plugin_metadata",
        title="plugin metadata",
        shapes=_enterprise("plugin_metadata", "LGUD", plugin_metadata.SCHEMA),
        bare=True,
        checks=(checks.metadata,),
    ),
    Kind(
        name="secret",
        title="secret provider",
        shapes=_enterprise("secret_providers", "LGUD", secret.SCHEMA, aliases=("secrets",)),
        id_problems=kind_rules.secret_id,
        id_segments=2,
        checks=(checks.secret_manager,),
        secrets=secret.SECRETS,
    ),
    Kind(
        name="proto",
        title="proto",
        shapes=_enterprise("protos", "LGCUD", proto.SCHEMA),
        checks=(checks.definition,),
    ),
    Kind(
        name="ssl",
        title="ssl",
        shapes=_enterprise("ssls", "LGCUPD", ssl.SCHEMA, hidden=frozenset({"key", "keys"})),
        problems=ssl.problems,
        secrets=frozenset({"key", "keys"}),
    ),
    Kind(
        name="certificate",
        title="certificate",
        shapes=_enterprise("certificates", "LGCUPD", certificate.CERTIFICATE, hidden=frozenset({"key"})),
        problems=certificate.problems,
        filters={"exptime": kind_rules.expires_until},
        secrets=frozenset({"key"}),
    ),
    Kind(
        name="ca_certificate",
        title="CA certificate",
        shapes=_enterprise("ca_certificates", "LGCUPD", certificate.CA_CERTIFICATE),
        problems=certificate.problems,
        filters={"exptime": kind_rules.expires_until},
    ),
    Kind(
        name="sni",
        title="SNI",
        shapes=_enterprise("snis", "LGCUPD", certificate.SNI),
        references=(checks.sni_certificates,),
        filters={"domain": member("domain"), "mtls_enabled": flag("mtls_enabled")},
    ),
)

KINDS: Mapping[str, Kind] = {kind.name: kind for kind in _ALL}
"""The resources of a gateway group, by the name of their records."""

_ELSEWHERE = ("upstream", "plugin_config", "consumer_group", "standalone")
"""Kinds that only the apisix dialect has."""
_CHILDREN_FIRST = ("credential", "route", "stream_route", "service_upstream", "sni")


def _everything_in(state: State, group: str, id: str) -> Iterable[Key]:
    for kind in (*_CHILDREN_FIRST, *KINDS, *_ELSEWHERE):
        for record_id in state.all(id, kind):
            yield id, kind, record_id
    for kind in ("group_key", "instance_token"):
        for record_id, record in state.all("", kind).items():
            if record.value.get("gateway_group_id") == id:
                yield "", kind, record_id
    for record_id in state.all("", "publication"):
        if split_id(record_id)[0] == id:
            yield "", "publication", record_id


GATEWAY_GROUP = Kind(
    name="gateway_group",
    title="gateway group",
    shapes=_enterprise("", "LGCUD", gateway_group.SCHEMA),
    upsert=False,
    references=(checks.unique_group_name,),
    cascade=_everything_in,
    filters={"name": member("name")},
)

TOKEN = Kind(
    name="token",
    title="token",
    shapes=_enterprise("", "LGCUD", token.SCHEMA, ignored=frozenset(("id", *TIMES))),
    id_members=(),
    upsert=False,
)

USER = Kind(
    name="user",
    title="user",
    shapes=_enterprise("", "LGD", user.SCHEMA, hidden=frozenset({"hash"})),
    upsert=False,
    references=(checks.unique_username,),
    cascade=kind_rules.tokens_of_user,
    filters={"roles": lambda record, wanted: wanted in record.value.get("roles", ())},
    secrets=frozenset({"password", "old_password", "new_password"}),
)

ROLE = Kind(
    name="role",
    title="role",
    shapes=_enterprise("", "LGCUD", role.ROLE),
    upsert=False,
    references=(checks.role_policies,),
)

POLICY = Kind(
    name="permission_policy",
    title="permission policy",
    shapes=_enterprise("", "LGCUD", role.POLICY),
    upsert=False,
)

_TEMPLATE_ANSWER = frozenset((*TIMES, "last_published", "published_gateway_groups_count"))

SERVICE_TEMPLATE = Kind(
    name="service_template",
    title="service template",
    shapes=_enterprise("", "LGCUPD", template.SERVICE, ignored=_TEMPLATE_ANSWER),
    id_members=("id",),
    checks=(checks.plugins,),
    references=(checks.fixed_type,),
    cascade=kind_rules.routes_of_template,
    orders=("last_published",),
    filters={"type": member("type")},
)

ROUTE_TEMPLATE = Kind(
    name="route_template",
    title="route template",
    shapes=_enterprise("", "LGCUPD", template.ROUTE),
    id_members=("id", "route_id"),
    checks=(checks.expression, checks.plugins),
    references=(checks.service_template,),
    filters={"service_id": member("service_id")},
)

STREAM_ROUTE_TEMPLATE = Kind(
    name="stream_route_template",
    title="stream route template",
    shapes=_enterprise("", "LGCUPD", template.STREAM_ROUTE),
    id_members=("id", "stream_route_id"),
    problems=stream_route.problems,
    checks=(checks.plugins,),
    references=(checks.service_template,),
    filters={"service_id": member("service_id")},
)

GROUPLESS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        GATEWAY_GROUP,
        TOKEN,
        USER,
        ROLE,
        POLICY,
        SERVICE_TEMPLATE,
        ROUTE_TEMPLATE,
        STREAM_ROUTE_TEMPLATE,
    )
}
"""What belongs to no gateway group, by the name of its records."""


def kind_at(dialect: str, path: str, parent: str | None = None) -> Kind | None:
    """
    The kind that *dialect* keeps at a segment, or None.

    Args:
        path: A segment under ``/apisix/admin``, or under one of *parent*'s resources.
        parent: The kind of that resource.
    """
    for kind in _ALL:
        shape = kind.shapes.get(dialect)
        if shape is not None and kind.parent == parent and path in (shape.path, *shape.aliases):
            return kind
    return None
