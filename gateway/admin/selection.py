"""Which dialect answers a request under ``/apisix/admin`` (Admin API contract §7.1)."""

from __future__ import annotations

from gateway.admin.calls import Query

ENTERPRISE = "enterprise"
APISIX = "apisix"

GROUP_PARAMETER = "gateway_group_id"
ROOT = "/apisix/admin"


def is_under_root(path: str) -> bool:
    """Whether both dialects have something to say about a path."""
    return path == ROOT or path.startswith(ROOT + "/")


def dialect_of(path: str, query: Query, enterprise_credential: bool) -> str:
    """
    Choose the dialect of a request; the listener does not matter.

    Args:
        path: Of the request target.
        enterprise_credential: Whether the request carries a credential that only the enterprise
            dialect knows, or something that looks like one.
    Returns:
        ``enterprise`` or ``apisix``.
    """
    if not is_under_root(path):
        return ENTERPRISE
    # An empty parameter counts: it is told to be missing, and never changes the dialect silently.
    if any(name == GROUP_PARAMETER for name, _ in query.pairs):
        return ENTERPRISE
    return ENTERPRISE if enterprise_credential else APISIX
