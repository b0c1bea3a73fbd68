"""The keys of gw.ini that open the apisix dialect: one for everything, one for reading."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Literal

from gateway.admin.principal import Principal
from gateway.model.user import SUPER_ADMIN, VIEWER

Role = Literal["admin", "viewer"]

_ROLES: Mapping[Role, str] = {"admin": SUPER_ADMIN, "viewer": VIEWER}


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


class StaticKeys:
    """
    Knows keys by their hashes only.

    Attributes:
        group: Id of the gateway group they are for.
        anonymous: Who calls without a key; None if a key is needed.
    """

    def __init__(self, admin: str | None, viewer: str | None, group: str, *, required: bool = True) -> None:
        """
        Args:
            admin, viewer: The keys; None for none of that role.
            required: Whether a key is needed at all.
        """
        self.group = group
        self.anonymous = None if required else Principal("anonymous", frozenset({SUPER_ADMIN}), group=group)
        given: Mapping[Role, str | None] = {"admin": admin, "viewer": viewer}
        self._roles = {_digest(key.encode()): role for role, key in given.items() if key}

    def role(self, key: bytes) -> Role | None:
        """What the holder of *key* may do: ``admin`` everything, ``viewer`` read; None if it is unknown."""
        digest = _digest(key)
        found: Role | None = None
        for known, role in self._roles.items():
            # Every key is looked at, and each comparison takes as long as any other.
            if hmac.compare_digest(known, digest):
                found = role
        return found

    def principal(self, key: bytes) -> Principal | None:
        """Who the holder of *key* is; None if it is unknown."""
        role = self.role(key)
        if role is None:
            return None
        return Principal(f"apisix-{role}", frozenset({_ROLES[role]}), group=self.group)
