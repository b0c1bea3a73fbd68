"""A credential: one way in which one consumer proves who it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from gateway.model import fields
from gateway.model.fields import object_of

SCHEMA = object_of(
    {
        "id": fields.identifier,
        "name": fields.name,
        "desc": fields.description,
        "labels": fields.labels,
        "plugins": {**fields.plugins, "minProperties": 1, "maxProperties": 1},
    },
    required=("name", "plugins"),
)


def split_id(id: str) -> tuple[str, str]:
    """
    Take a stored credential id apart.

    Args:
        id: ``<username>/<credential id>``: credential ids are unique per consumer only.
    Returns:
        The username and the credential id.
    """
    username, _, own = id.partition("/")
    return username, own


def join_id(username: str, credential_id: str) -> str:
    """The id under which a consumer's credential is stored."""
    return f"{username}/{credential_id}"


@frozen
class Credential:
    """
    Attributes:
        consumer: The owner's username.
        plugin: The auth plugin it is for; empty if it is for none yet, which the apisix dialect allows.
        config: That plugin's credential settings, as given.
    Source:
        Admin API contract §3.5; jwt-auth contract §2.
    """

    id: str
    consumer: str
    plugin: str
    config: Mapping[str, Any] = field(repr=False)

    @classmethod
    def parse(cls, id: str, document: Mapping[str, Any]) -> Credential:
        """Read a document of either dialect that was accepted; *id* is as ``split_id`` says."""
        username, own = split_id(id)
        ((plugin, config),) = (document.get("plugins") or {"": {}}).items()
        return cls(own, username, plugin, config)
