"""
What a call asks for, and whether a statement of a permission policy covers it.

A call is named by an action (``gateway:UpdateRoute``) and by a resource
(``arn:api7:gateway:gatewaygroup/default/route/r1``). The form is API7 Enterprise's; its complete list of
actions is not public, so ours follows from the table of resources.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from attrs import frozen

from gateway.control.state import State
from gateway.model.user import SUPER_ADMIN, VIEWER

_VERBS = {
    "GET": "Get",
    "HEAD": "Get",
    "POST": "Create",
    "PUT": "Update",
    "PATCH": "Update",
    "DELETE": "Delete",
}
_IN_GROUP = {
    "services": "Service",
    "routes": "Route",
    "stream_routes": "StreamRoute",
    "consumers": "Consumer",
    "ssls": "SSL",
    "certificates": "Certificate",
    "ca_certificates": "CACertificate",
    "snis": "SNI",
    "global_rules": "GlobalRule",
    "plugin_metadata": "PluginMetadata",
    "secret_providers": "SecretProvider",
    "secrets": "SecretProvider",
    "protos": "Proto",
}
_CHILDREN = {("Service", "upstreams"): "Upstream", ("Consumer", "credentials"): "Credential"}
_PEOPLE = {
    "users": "User",
    "invites": "User",
    "roles": "Role",
    "permission_policies": "PermissionPolicy",
    "tokens": "Token",
}
_ANYBODY = frozenset(
    {"version", "schema", "status", "openapi.json", "parse_certificate", "validate_cert_key"}
)
"""Below ``/api``: what everybody with a role may ask, as clients do before anything else."""
_ANYBODY_IN_GROUP = frozenset({"plugins", "schema", "configs"})
"""Below ``/apisix/admin``, likewise; nothing there is changed by it."""
_ANY = "*"


@frozen
class Wish:
    """
    What a call asks for.

    Attributes:
        action, resource: See this module. Both empty for what everybody with a role may ask.
    """

    action: str = ""
    resource: str = ""

    @property
    def is_free(self) -> bool:
        """Whether every role is enough."""
        return not self.action


@frozen
class Statement:
    """One statement of a policy."""

    allows: bool
    actions: tuple[str, ...]
    resources: tuple[str, ...]

    def covers(self, wish: Wish) -> bool:
        """Whether it says something about *wish*."""
        return any(_pattern(each).fullmatch(wish.action) for each in self.actions) and any(
            _pattern(each).fullmatch(wish.resource) for each in self.resources
        )


@lru_cache(2000)
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in re.split(r"<\.\*>|\*", text)), re.DOTALL)


def wish_of(method: str, path: str, group: str | None) -> Wish | None:
    """
    Name what a call asks for.

    Args:
        path: As in the request target. group: The gateway group that its query names.
    Returns:
        None for what has no name: only who may do everything may ask that.
    """
    verb = _VERBS.get(method)
    parts = [unquote(part) for part in path.removesuffix("/").split("/")[1:]]
    if verb is None or not all(parts):
        return None
    if parts[:2] == ["apisix", "admin"]:
        return _in_group(verb, group or "", parts[2:])
    if parts[0] == "api" and len(parts) > 1:
        return _of_control_plane(verb, parts[1], parts[2:])
    return None


def _in_group(verb: str, group: str, parts: list[str]) -> Wish | None:
    if not parts:
        return None
    if parts[0] in _ANYBODY_IN_GROUP:
        return Wish()
    kind = _IN_GROUP.get(parts[0])
    if kind is None:
        return None
    place = f"arn:api7:gateway:gatewaygroup/{group}/{kind.lower()}"
    if len(parts) > 2 and kind in ("Service", "Consumer"):
        child = _CHILDREN.get((kind, parts[2]))
        if child is None:
            return None
        place, kind, parts = f"{place}/{parts[1]}/{child.lower()}", child, parts[2:]
    return Wish(f"gateway:{verb}{kind}", f"{place}/{'/'.join(parts[1:]) or _ANY}")


def _of_control_plane(verb: str, first: str, more: list[str]) -> Wish | None:
    own = more[0] if more else _ANY
    if first in _ANYBODY or (first == "gateway_groups" and not more and verb == "Get"):
        return Wish()
    if first in _PEOPLE:
        # What is assigned to somebody, or attached to something, is a change of them.
        return Wish(f"iam:{verb}{_PEOPLE[first]}", f"arn:api7:iam:{_PEOPLE[first].lower()}/{own}")
    if first == "gateway_groups":
        place = f"arn:api7:gateway:gatewaygroup/{own}"
        if more[1:2] == ["services"]:
            return Wish(f"gateway:{verb}Service", f"{place}/service/{more[2] if len(more) > 2 else _ANY}")
        # Keys and tokens of a group open all of it.
        changes = "Update" if len(more) > 1 and verb != "Get" else verb
        return Wish(f"gateway:{changes}GatewayGroup", place)
    if first in ("services", "routes", "stream_routes") and more[:1] == ["template"]:
        id = more[1] if len(more) > 1 else _ANY
        return Wish(f"gateway:{verb}ServiceTemplate", f"arn:api7:gateway:servicetemplate/{id}")
    if [first, *more] == ["services", "publish"]:
        # Which group it is for stands in the content.
        return Wish("gateway:PublishService", f"arn:api7:gateway:gatewaygroup/{_ANY}")
    if first == "import":
        return Wish("gateway:CreateServiceTemplate", f"arn:api7:gateway:servicetemplate/{_ANY}")
    if first == "explain":
        verb = "Get"  # it changes nothing, whatever the method
    return Wish(f"iam:{verb}Organization", f"arn:api7:iam:organization/{first}")


def statements_of(state: State, roles: Iterable[str]) -> tuple[Statement, ...]:
    """Every statement of the policies of these roles; what is gone says nothing."""
    found: list[Statement] = []
    for id in sorted(roles):
        role = None if id in (SUPER_ADMIN, VIEWER) else state.get("", "role", id)
        for policy_id in () if role is None else role.value.get("permission_policies", ()):
            policy = state.get("", "permission_policy", policy_id)
            found += [] if policy is None else [_statement(one) for one in policy.value["statement"]]
    return tuple(found)


def _statement(given: Mapping[str, Any]) -> Statement:
    return Statement(
        given.get("effect", "allow") == "allow", tuple(given["actions"]), tuple(given["resources"])
    )
