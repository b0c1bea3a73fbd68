"""Whom a request is from when a proxy stands in between: addresses that such a proxy tells.

The listeners' own rule (``RealIp``) is applied before a route is looked for; the plugin real-ip comes later
and has its own source. Both trust a peer, never a client.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address

from attrs import frozen

from gateway.core.addresses import AddressSet
from gateway.core.fields import Pair

FORWARDED_FOR = b"x-forwarded-for"
_MAX_TEXT = 64
"""An address with a port is never longer than this: 45 characters, brackets, a colon and five digits."""


def parse_address(text: str) -> tuple[str, int] | None:
    """
    Read an address that a proxy tells.

    Args:
        text: ``192.0.2.7``, ``192.0.2.7:4711``, ``2001:db8::1``, ``[2001:db8::1]`` or ``[2001:db8::1]:4711``.
    Returns:
        The address without brackets, in its one usual spelling (RFC 5952), and the port, 0 if there is none;
        None if it is none of these.
    """
    text = text.strip()
    if not text or len(text) > _MAX_TEXT:
        return None
    port = ""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or ":" not in host:
            return None
        if rest:
            if not rest.startswith(":") or not rest[1:]:
                return None
            port = rest[1:]
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
        if not port:
            return None
    else:
        host = text
    if "%" in host:
        return None  # A zone means something on the proxy's machine alone.
    try:
        address = ip_address(host)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        # Who counts clients by their addresses must not count one as many.
        mapped = address.ipv4_mapped
        host = str(address) if mapped is None else f"::ffff:{mapped}"
    if not port:
        return host, 0
    if not (port.isascii() and port.isdigit()) or not 1 <= int(port[:6]) <= 65535:
        return None
    return host, int(port)


def told_in_list(lines: Sequence[bytes], trusted: AddressSet | None) -> str:
    """
    Which entry of an ``X-Forwarded-For`` counts.

    Args:
        lines: The field's lines, in order; they are one list (RFC 9110 section 5.3).
        trusted: The addresses of proxies, to be passed over from the right; None takes the last entry.
    Returns:
        The last entry that is no proxy's; the first if all are. ``""`` for an empty list.
    """
    entries = b",".join(lines).decode("latin-1").split(",")
    if trusted is None:
        return entries[-1].strip()
    for entry in reversed(entries[1:]):
        found = parse_address(entry)
        if found is None or found[0] not in trusted:
            return entry.strip()
    return entries[0].strip()


@frozen
class RealIp:
    """
    The listeners' rule: whose word about the client's address is taken, and where it stands.

    Attributes:
        field: The request field that holds it, in lower case.
        trusted: Peers that are believed.
        recursive: Whether trusted addresses in a list are passed over.
    Source:
        Data-plane contract §1.
    """

    field: bytes
    trusted: AddressSet
    recursive: bool = False

    def client(self, peer: str, fields: Sequence[Pair]) -> tuple[str, int] | None:
        """The client's address and port (0: not told) if *peer* is trusted and tells one, else None."""
        lines = [value for name, value in fields if name == self.field]
        if not lines or peer not in self.trusted:
            return None
        if self.field == FORWARDED_FOR:
            return parse_address(told_in_list(lines, self.trusted if self.recursive else None))
        return parse_address(lines[-1].decode("latin-1"))
