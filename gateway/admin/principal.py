"""Who calls, once that is known, and what such a caller may do."""

from __future__ import annotations

from attrs import frozen

from gateway.admin.permissions import Statement, wish_of
from gateway.admin.refusals import Denied
from gateway.model.user import SUPER_ADMIN, VIEWER

_READING = ("GET", "HEAD", "OPTIONS")
_ALWAYS_OWN = ("/api/password", "/api/logout")
_NOT_A_WRITE = ("/api/explain", "/apisix/admin/configs/validate", "/apisix/admin/schema/validate")
"""What is asked with POST and changes nothing."""
_OF_ONE_GROUP = ("/api/version", "/api/schema", "/api/gateway_groups", "/api/status", "/api/openapi.json")
"""What the key of one gateway group may read under ``/api``."""


@frozen
class Principal:
    """
    Attributes:
        name: For the log of revisions.
        roles: Ids of roles. user: The user's id; None for keys that are nobody's.
        group: The one gateway group it may touch; None for all.
        statements: What the roles that people made allow and deny.
    """

    name: str
    roles: frozenset[str]
    user: str | None = None
    group: str | None = None
    statements: tuple[Statement, ...] = ()

    @property
    def is_admin(self) -> bool:
        """Whether it may do everything there is."""
        return SUPER_ADMIN in self.roles and self.group is None

    def check(self, method: str, path: str, group: str | None = None) -> None:
        """
        Whether this caller may make a call at all.

        Args:
            group: The gateway group that the query names.
        Raises:
            Denied: they may not.
        """
        inside = _under(path, ("/apisix/admin",)) or (method in _READING and _under(path, _OF_ONE_GROUP))
        if self.group is not None and not inside:
            raise Denied("this key is for the resources of one gateway group")
        if SUPER_ADMIN in self.roles or path in _ALWAYS_OWN:
            return
        if self.statements and self._is_allowed(method, path, group):
            return
        if VIEWER not in self.roles:
            raise Denied("you have no role that allows this")
        if method not in _READING and not _under(path, _NOT_A_WRITE):
            raise Denied("the role viewer may read only")

    def _is_allowed(self, method: str, path: str, group: str | None) -> bool:
        """
        Whether a statement allows a call.

        Raises:
            Denied: one denies it, whatever else allows it.
        """
        wish = wish_of(method, path, group)
        if wish is None or wish.is_free:
            return wish is not None
        told = [statement.allows for statement in self.statements if statement.covers(wish)]
        if not all(told):
            raise Denied(f"a permission policy denies {wish.action} on {wish.resource}"[:1000])
        return bool(told)


def _under(path: str, places: tuple[str, ...]) -> bool:
    return any(path == place or path.startswith(place + "/") for place in places)


GATEWAY = Principal("gateway", frozenset({SUPER_ADMIN}))
"""The gateway itself."""
