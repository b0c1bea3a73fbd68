"""What is accepted and stored, and not used when requests are served: so that nobody has to find out.

Whoever makes the data plane use one of these takes it off the list.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_UPSTREAMS = ("upstream", "service_upstream")


def _of_upstream(upstream: Mapping[str, Any], where: str) -> Iterator[str]:
    if "discovery_type" in upstream or "service_name" in upstream:
        yield f"{where}service_name: services are not discovered yet, so the upstream has no nodes"
    if upstream.get("scheme") in ("grpc", "grpcs"):
        yield f"{where}scheme: gRPC is not proxied yet, the upstream is spoken to in HTTP/1.1"


def unused(kind: str, document: Mapping[str, Any]) -> list[str]:
    """
    Which members of a document are not used yet, and what that means.

    Args:
        kind: The kind of its record. document: It need not fit its schema.
    Returns:
        One sentence a member; empty if all of it is used.
    """
    found: list[str] = []
    if kind == "service" and document.get("type") == "stream":
        return ["type: TCP and UDP are not proxied yet"]
    if kind in _UPSTREAMS:
        found += _of_upstream(document, "")
    inline = document.get("upstream")
    if isinstance(inline, Mapping):
        found += _of_upstream(inline, "upstream.")
    return found
