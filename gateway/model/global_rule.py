"""A global rule: plugins that run for every request, before the route's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from gateway.model import fields
from gateway.model.fields import object_of

SCHEMA = object_of({"id": fields.identifier, "plugins": fields.plugins}, required=("plugins",))


@frozen
class GlobalRule:
    """Source: Admin API contract §3.5, data-plane contract §5."""

    id: str
    plugins: Mapping[str, Mapping[str, Any]] = field(repr=False)

    @classmethod
    def parse(cls, id: str, document: Mapping[str, Any]) -> GlobalRule:
        """Read a document that fits ``SCHEMA``."""
        return cls(id, document["plugins"])
