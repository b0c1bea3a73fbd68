"""Sets of IP addresses and networks, compiled so that a look-up does not depend on their number."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

PARSED_LIMIT = 8192
"""How many texts of client addresses are remembered together with what they parsed to."""

_MAPPED = 0xFFFF << 32
_MAPPED_BITS = 96


@lru_cache(maxsize=PARSED_LIMIT)
def _parse(text: str) -> tuple[bool, int] | None:
    """Whether *text* is an IPv6 address, and its number; None if it is no address at all."""
    try:
        address: IPv4Address | IPv6Address = ip_address(text)
    except ValueError:
        return None
    number = int(address)
    if isinstance(address, IPv4Address):
        return False, number
    # An IPv4-mapped address is the IPv4 address (RFC 4291 section 2.5.5.2): dual-stack sockets report those.
    if number >> 32 == 0xFFFF:
        return False, number - _MAPPED
    return True, number


def _network(text: object) -> tuple[bool, int, int]:
    """Whether it is IPv6, its number, and how many of its low bits do not count."""
    if not isinstance(text, str):
        raise ValueError(f"invalid ip address: {text}")
    address, slash, length = text.partition("/")
    try:
        parsed = ip_address(address)
    except ValueError:
        raise ValueError(f"invalid ip address: {text}") from None
    bits: int = parsed.max_prefixlen
    prefix = bits
    if slash:
        if not (length.isascii() and length.isdigit() and len(length) <= 3 and int(length) <= bits):
            raise ValueError(f"invalid ip address: {text}")
        prefix = int(length)
    number, v6 = int(parsed), isinstance(parsed, IPv6Address)
    if v6 and prefix >= _MAPPED_BITS and number >> 32 == 0xFFFF:
        v6, number = False, number - _MAPPED
    return v6, number, bits - prefix


class AddressSet:
    """
    An immutable set of IP addresses and networks.

    IPv4 networks contain IPv4-mapped IPv6 addresses, and the other way round. ``::/0`` is every
    IPv6 address but no IPv4 address.
    """

    __slots__ = ("_v4", "_v6", "texts")

    def __init__(self, texts: Sequence[str] = ()) -> None:
        """As ``parse``."""
        tables: dict[bool, dict[int, set[int]]] = {False: {}, True: {}}
        for text in texts:
            v6, number, ignored = _network(text)
            tables[v6].setdefault(ignored, set()).add(number >> ignored)
        self.texts = tuple(texts)
        self._v4 = tuple((ignored, frozenset(found)) for ignored, found in sorted(tables[False].items()))
        self._v6 = tuple((ignored, frozenset(found)) for ignored, found in sorted(tables[True].items()))

    @classmethod
    def parse(cls, texts: Sequence[str]) -> AddressSet:
        """
        Compile addresses (``192.0.2.7``, ``2001:db8::1``) and networks (``192.0.2.0/24``).

        Args:
            texts: In any order; repeats and bits beyond the prefix length do no harm.
        Raises:
            ValueError: ``invalid ip address: <text>`` for the first that is neither.
        """
        return cls(texts)

    def __contains__(self, text: object) -> bool:
        """Whether the address *text* is in the set; False for what is no address."""
        parsed = _parse(text) if isinstance(text, str) else None
        if parsed is None:
            return False
        v6, number = parsed
        # A plain loop: any() costs more, and this runs for every request.
        for ignored, networks in self._v6 if v6 else self._v4:  # noqa: SIM110
            if number >> ignored in networks:
                return True
        return False

    def __len__(self) -> int:
        return len(self.texts)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, AddressSet):
            return self._v4 == other._v4 and self._v6 == other._v6
        return NotImplemented

    def __hash__(self) -> int:
        return hash((self._v4, self._v6))

    def __repr__(self) -> str:
        return f"AddressSet({list(self.texts)!r})"
