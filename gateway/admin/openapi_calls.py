"""The calls that no table of kinds tells of: the control plane's, and a few below ``/apisix/admin``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import field, frozen

from gateway.admin.kinds import ROUTE_TEMPLATE, SERVICE_TEMPLATE, STREAM_ROUTE_TEMPLATE
from gateway.model import gateway_group, role, token, user
from gateway.model.schema import Schema

_TEXT: Schema = {"type": "string"}
_VALUE: Schema = {"type": "object", "required": ["value"]}
_LIST: Schema = {
    "type": "object",
    "required": ["list", "total"],
    "properties": {"list": {"type": "array"}, "total": {"type": "integer", "minimum": 0}},
}
_PAGES: Mapping[str, Schema] = {
    "page": {"type": "integer", "minimum": 1},
    "page_size": {"type": "integer", "minimum": 1},
    "search": _TEXT,
}


@frozen
class Operation:
    """
    One call.

    Attributes:
        body: What it takes, or None. answer: What 200 holds; None for any object.
        query: Its parameters. in_group: Whether it is about a gateway group.
        open: Whether anybody may make it.
    """

    method: str
    path: str
    summary: str
    body: Schema | None = None
    answer: Schema | None = None
    query: Mapping[str, Schema] = field(factory=dict)
    in_group: bool = False
    open: bool = False

    @property
    def in_path(self) -> Sequence[str]:
        """The parameters in its path."""
        return re.findall(r"\{(\w+)\}", self.path)


def _template(path: str, schema: Any, what: str) -> Sequence[Operation]:
    base = f"/api/{path}/template"
    return (
        Operation("get", base, f"List: {what} template", None, _LIST, _PAGES),
        Operation("post", base, f"Create: {what} template", schema, _VALUE),
        Operation("get", base + "/{id}", f"Show: {what} template", None, _VALUE),
        Operation("put", base + "/{id}", f"Replace: {what} template", schema, _VALUE),
        Operation("patch", base + "/{id}", f"Patch: {what} template", {"type": ["array", "object"]}, _VALUE),
        Operation("delete", base + "/{id}", f"Delete: {what} template"),
    )


def _schema(kind: Any) -> Schema:
    found: Schema = kind.shapes["enterprise"].checker({}).schema
    return found


_PEM: Schema = {"type": "string", "minLength": 1, "maxLength": 65536}
_CERT: Schema = {"type": "object", "required": ["cert"], "properties": {"cert": _PEM}}
_PAIR: Schema = {"type": "object", "required": ["cert", "key"], "properties": {"cert": _PEM, "key": _PEM}}
_GROUP_ID = "/api/gateway_groups/{id}"

CALLS: Sequence[Operation] = (
    Operation("get", "/api/version", "The release clients should take this for", None, _VALUE),
    Operation("get", "/api/status", "How the gateway is", None, _VALUE),
    Operation("get", "/api/schema/core", "The schemas of all resources, with defaults", None, _VALUE),
    Operation("get", "/api/openapi.json", "This document", None, None, {"dialect": _TEXT}),
    Operation(
        "get",
        "/api/revisions",
        "Who changed what, when and why",
        None,
        _LIST,
        {
            "limit": {"type": "integer", "minimum": 1, "maximum": 1000},
            "before": {"type": "integer", "minimum": 1},
            "kind": _TEXT,
            "id": _TEXT,
        },
    ),
    Operation(
        "get",
        "/api/explain",
        "What would be done with a request",
        None,
        _VALUE,
        {"method": _TEXT, "url": _TEXT, "header": _TEXT, "client_ip": _TEXT, "body": _TEXT},
    ),
    Operation("post", "/api/login", "Begin a session", user.LOGIN, _VALUE, open=True),
    Operation("put", "/api/password", "Change one's own password", user.NEW_PASSWORD),
    Operation("post", "/api/invites", "Make a user", user.SCHEMA, _VALUE),
    Operation("get", "/api/users", "List: users", None, _LIST, {**_PAGES, "roles": _TEXT}),
    Operation("get", "/api/users/{id}", "Show: user", None, _VALUE),
    Operation("delete", "/api/users/{id}", "Delete: user"),
    Operation("put", "/api/users/{id}/assigned_roles", "Give a user roles", user.ASSIGNED_ROLES, _VALUE),
    Operation("get", "/api/roles", "List: roles", None, _LIST, _PAGES),
    Operation("post", "/api/roles", "Make a role", role.ROLE, _VALUE),
    Operation("get", "/api/roles/{id}", "Show: role", None, _VALUE),
    Operation("put", "/api/roles/{id}", "Replace: role", role.ROLE, _VALUE),
    Operation("delete", "/api/roles/{id}", "Delete: role"),
    Operation("get", "/api/roles/{id}/permission_policies", "List: policies of a role", None, _LIST),
    Operation("put", "/api/roles/{id}/permission_policies", "Give a role policies", role.ATTACHED, _VALUE),
    Operation("get", "/api/permission_policies", "List: permission policies", None, _LIST, _PAGES),
    Operation("post", "/api/permission_policies", "Make a permission policy", role.POLICY, _VALUE),
    Operation("get", "/api/permission_policies/{id}", "Show: permission policy", None, _VALUE),
    Operation("put", "/api/permission_policies/{id}", "Replace: permission policy", role.POLICY, _VALUE),
    Operation("delete", "/api/permission_policies/{id}", "Delete: permission policy"),
    Operation("get", "/api/tokens", "List: tokens", None, _LIST, _PAGES),
    Operation("post", "/api/tokens", "Make a token", token.SCHEMA, _VALUE),
    Operation("get", "/api/tokens/{id}", "Show: token", None, _VALUE),
    Operation("put", "/api/tokens/{id}", "Rename a token, or move its expiry", token.SCHEMA, _VALUE),
    Operation("delete", "/api/tokens/{id}", "Revoke a token"),
    Operation("get", "/api/gateway_groups", "List: gateway groups", None, _LIST, {**_PAGES, "name": _TEXT}),
    Operation("post", "/api/gateway_groups", "Make a gateway group", gateway_group.SCHEMA, _VALUE),
    Operation("get", _GROUP_ID, "Show: gateway group", None, _VALUE),
    Operation("put", _GROUP_ID, "Replace: gateway group", gateway_group.SCHEMA, _VALUE),
    Operation("delete", _GROUP_ID, "Delete: gateway group, with all that is in it"),
    Operation("put", _GROUP_ID + "/admin_key", "A new admin key of the group", None, _VALUE),
    Operation("post", _GROUP_ID + "/instance_token", "A token for a data plane", None, _VALUE),
    Operation("post", _GROUP_ID + "/dp_client_certificates", "A data plane's certificate", None, _VALUE),
    Operation("get", _GROUP_ID + "/services", "List: services of a group", None, _LIST, _PAGES),
    Operation("get", _GROUP_ID + "/services/{service_id}", "Show: service of a group", None, _VALUE),
    Operation("delete", _GROUP_ID + "/services/{service_id}", "Take a service out of a group"),
    Operation(
        "get", _GROUP_ID + "/instances", "List: data planes of a group", None, _LIST, {"status": _TEXT}
    ),
    Operation(
        "get",
        _GROUP_ID + "/services/{service_id}/healthcheck",
        "How the nodes of a service are",
        None,
        _LIST,
        {"upstream_id": _TEXT},
    ),
    Operation("get", "/api/instances", "List: data planes", None, _LIST, {"status": _TEXT}),
    *_template("services", _schema(SERVICE_TEMPLATE), "service"),
    *_template("routes", _schema(ROUTE_TEMPLATE), "route"),
    *_template("stream_routes", _schema(STREAM_ROUTE_TEMPLATE), "stream route"),
    Operation("get", "/api/services/template/{id}/versions", "List: versions of a template", None, _LIST),
    Operation(
        "post", "/api/import/services/template", "Make a template with its routes", {"type": "object"}, _VALUE
    ),
    Operation(
        "post", "/api/services/publish", "Publish templates to a gateway group", {"type": "object"}, _VALUE
    ),
    Operation("put", "/api/parse_certificate", "What a certificate says", _CERT, _VALUE),
    Operation("put", "/api/validate_cert_key", "Whether a key is a certificate's", _PAIR, _VALUE),
    Operation(
        "put",
        "/api/license",
        "Accepted, and needed for nothing",
        {"type": "object", "required": ["data"], "properties": {"data": _TEXT}},
        _VALUE,
    ),
    Operation("get", "/api/system_settings", "Show: system settings", None, _VALUE),
    Operation("put", "/api/system_settings", "Replace: system settings", {"type": "object"}, _VALUE),
    Operation(
        "post",
        "/apisix/admin/configs/validate",
        "Check many documents, and store nothing",
        {"type": "object", "additionalProperties": {"type": "array"}},
        in_group=True,
    ),
)
"""Source: Admin API contract §3.6, §3.7, §6.5."""
