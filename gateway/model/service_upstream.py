"""An additional upstream of a service, beside the default one that stands inline in it."""

from __future__ import annotations

from typing import Any

from gateway.model import upstream
from gateway.model.fields import object_of

_MEMBERS: dict[str, Any] = dict(upstream.SCHEMA["properties"])
# One schema for the upstreams of both types of service: clients know one table of defaults (contract §6.4).
_MEMBERS["scheme"] = {**_MEMBERS["scheme"], "enum": [*upstream.HTTP_SCHEMES, *upstream.STREAM_SCHEMES]}

SCHEMA = object_of(_MEMBERS)
"""Source: Admin API contract §3.1, §3.3. Announced as ``upstream``."""
