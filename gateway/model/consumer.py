"""A consumer: somebody who sends requests, known by credentials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from gateway.model import fields
from gateway.model.fields import object_of, reference

SCHEMA = object_of(
    {
        "username": fields.username,
        "desc": fields.description,
        "labels": fields.labels,
        "plugins": fields.plugins,
    },
    required=("username",),
)


@frozen
class Consumer:
    """
    Attributes:
        plugins: Run for this consumer's requests, over the route's; auth plugins here are
            credentials kept on the consumer itself.
        group_id: The consumer group whose plugins run too, under its own.
    Source:
        Admin API contract §3.5.
    """

    username: str
    plugins: Mapping[str, Mapping[str, Any]] = field(repr=False)
    labels: Mapping[str, str]
    group_id: str | None = None

    @classmethod
    def parse(cls, id: str, document: Mapping[str, Any]) -> Consumer:
        """Read a document of either dialect that was accepted; *id* is the username."""
        group = reference(document, "group_id")
        return cls(id, document.get("plugins", {}), document.get("labels", {}), group)
