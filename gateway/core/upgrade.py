"""Changing the protocol of a connection (RFC 9110 section 7.8): what a request asks for, and may have."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.fields import Fields, Pair

_REFUSED = frozenset({b"h2c", b"http", b"tls"})
"""
Not passed on. ``h2c`` and TLS would open a way to the upstream on which requests pass that no route and
no plugin has seen; HTTP's own versions are each hop's own affair.
"""

_PASSED_OPTIONS = frozenset({b"upgrade", b"keep-alive", b"close"})
"""
Of a client's ``Connection``. Others name fields that the next hop is to drop, and those may be the
gateway's own: who the consumer is, say (RFC 9110 section 7.6.1).
"""


def requested(fields: Fields, version: tuple[int, int]) -> tuple[bytes, bytes] | None:
    """
    The protocol that a request wants to go on with.

    Args:
        fields: The request's, as plugins left them. version: The version it was sent in.
    Returns:
        The values of its ``Connection`` and ``Upgrade`` fields; None if it asks for nothing, or for
        what is not passed on. In HTTP/1.0 the field means nothing.
    """
    upgrade = b", ".join(fields.get_all(b"upgrade"))
    if not upgrade or version < (1, 1):
        return None
    named = b",".join(fields.get_all(b"connection")).split(b",")
    options = [option.strip(b" \t") for option in named]
    kept = [option for option in options if option.lower() in _PASSED_OPTIONS]
    if not any(option.lower() == b"upgrade" for option in kept):
        return None
    names = {item.strip().lower().partition(b"/")[0] for item in upgrade.split(b",")}
    return None if names & _REFUSED else (b", ".join(kept), upgrade)


def answered(pairs: Sequence[Pair]) -> bytes | None:
    """The protocol that a 101 answer goes on with: its ``Upgrade`` field; None if it names none."""
    return b", ".join(value for name, value in pairs if name == b"upgrade") or None
