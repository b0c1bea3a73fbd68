"""Templates: what a service and its routes look like before they are published to a gateway group.

A template takes no traffic and holds nothing of a group's run time: no hosts, no path prefix, no
upstream (Admin API contract §3.7).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.model import route, service, stream_route
from gateway.model.fields import object_of
from gateway.model.schema import Schema

RUNTIME = ("hosts", "path_prefix", "strip_path_prefix", "upstream")
"""Members of a service that belong to a group, and stay when another version is published there."""


def _without(schema: Schema, *names: str) -> dict[str, Any]:
    members: Mapping[str, Any] = schema["properties"]
    return {name: member for name, member in members.items() if name not in names}


# Some clients write the whole service; what belongs to a group is taken along at the first publication.
SERVICE = object_of(_without(service.SCHEMA, "status"), required=("name",))
ROUTE = object_of(_without(route.SCHEMA), required=("name", "service_id", "paths"))
STREAM_ROUTE = object_of(_without(stream_route.SCHEMA), required=("service_id",))
