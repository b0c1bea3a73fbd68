"""Picking a node by a key of the request: the same key meets the same node, whoever else comes or goes.

Each node owns points on a ring of 2**32 places; a key belongs to the owner of the next point
clockwise. Points depend on the node alone, so taking one node away moves its own keys only.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Container, Sequence
from functools import reduce
from hashlib import blake2b
from math import gcd
from struct import Struct
from typing import Any
from zlib import crc32

from gateway.core.exchange import Exchange
from gateway.core.picking import Levelled, levels
from gateway.core.variables import compile_template, getter, spell
from gateway.model.upstream import Node

POINTS_PER_UNIT = 160
MAX_POINTS = 1 << 16
"""Most points of a ring. With greater weights every node gets fewer, in proportion and at least one."""

_BLOCK = Struct("<16I")


class Ring:
    """
    The nodes of one priority level on a ring.

    Attributes:
        nodes: Each once, in the order given.
    """

    __slots__ = ("_owners", "_points", "nodes")

    def __init__(self, nodes: Sequence[Node]) -> None:
        """
        Args:
            nodes: At least one; all with a weight.
        """
        self.nodes = tuple(nodes)
        step = reduce(gcd, (node.weight for node in nodes))
        units = sum(node.weight // step for node in nodes)
        points: dict[int, Node] = {}
        # In the order of their names: where two points meet, the order of configuration has no say.
        for node in sorted(nodes, key=lambda node: node.key):
            share = node.weight // step
            wanted = POINTS_PER_UNIT * share
            if units * POINTS_PER_UNIT > MAX_POINTS:
                wanted = max(1, share * MAX_POINTS // units)
            for point in _points(node.key, wanted):
                points.setdefault(point, node)
        self._points = sorted(points)
        self._owners = [points[point] for point in self._points]
        # Past the last point the ring starts anew.
        self._owners.append(self._owners[0])

    def skipping(self, skipped: Container[Node]) -> Ring:
        """
        The same ring with what *skipped* own given to the next node clockwise.

        Args:
            skipped: Not all of the ring's nodes.
        """
        ring: Ring = object.__new__(Ring)
        ring.nodes = tuple(node for node in self.nodes if node not in skipped)
        ring._points = self._points
        heir = next(node for node in self._owners if node not in skipped)
        owners = []
        verdicts = {id(node): node in skipped for node in self.nodes}
        for node in reversed(self._owners):
            if not verdicts[id(node)]:
                heir = node
            owners.append(heir)
        owners.reverse()
        ring._owners = owners
        return ring

    def __len__(self) -> int:
        return len(self._points)

    def owner(self, place: int) -> Node:
        """Whose *place* is: 0 to 2**32 - 1."""
        return self._owners[bisect_right(self._points, place)]

    def owner_but(self, place: int, skipped: Container[Node]) -> Node | None:
        """The next owner clockwise that is not one of *skipped*; None if that is all of them."""
        owners = self._owners
        if all(node in skipped for node in self.nodes):
            return None
        index = bisect_right(self._points, place)
        while (node := owners[index]) in skipped:
            index += 1
            if index == len(owners):
                index = 0
        return node


def _points(key: str, wanted: int) -> list[int]:
    found: list[int] = []
    for block in range(-(-wanted // 16)):
        found.extend(_BLOCK.unpack(blake2b(f"{key}#{block}".encode(), digest_size=64).digest()))
    return found[:wanted]


def key_of(hash_on: str, key: str | None) -> Callable[[Exchange], bytes]:
    """
    What reads the key of a request.

    Where the request has no such value, or an empty one, its key is the client's address.

    Args:
        hash_on: ``vars`` (*key* names a variable), ``header``, ``cookie``, ``consumer``, or
            ``vars_combinations`` (*key* is text with variables, of which one must have a value).
    Source:
        Data-plane contract §7 and §7.3.
    """
    named = key or ""
    if hash_on == "vars_combinations":
        template = compile_template(named)

        def read_template(exchange: Exchange) -> bytes:
            text, found = template.resolve(exchange)
            return (text if found else exchange.client_ip).encode("utf-8", "surrogateescape")

        return read_template
    match hash_on:
        case "header":
            read = getter(f"http_{named.lower()}")
        case "cookie":
            read = getter(f"cookie_{named}")
        case "consumer":
            read = getter("consumer_name")
        case _:
            read = getter(named.removeprefix("$"))

    def read_value(exchange: Exchange) -> bytes:
        value = read(exchange)
        text = value if type(value) is str else spell(value)
        return (text or exchange.client_ip).encode("utf-8", "surrogateescape")

    return read_value


class ConsistentHash(Levelled):
    """
    The owner of the request's key on the ring. Unhealthy nodes keep their points and are skipped, so
    that nobody else's keys move; a retry goes on clockwise to the next node.

    The choice is the same in every process and after every restart.
    """

    done: None = None

    def __init__(self, nodes: Sequence[Node], hash_on: str, key: str | None) -> None:
        """
        Args:
            hash_on, key: As ``key_of``.
        """
        self._key = key_of(hash_on, key)
        self._rings: list[Ring] | None = None
        super().__init__(nodes)

    def __deepcopy__(self, memo: dict[int, Any]) -> ConsistentHash:
        # Picking changes nothing here, and rings are large.
        return self

    def _arrange(self) -> None:
        if self._rings is None:
            self._rings = [Ring(level) for level in levels(self._nodes)]
        usable = frozenset(self._usable())
        skipped = frozenset(self._nodes) - usable
        # Skipping is worked out once for each change of health, not for each request.
        self._levels = [
            ring.skipping(skipped) if skipped.intersection(ring.nodes) else ring
            for ring in self._rings
            if usable.intersection(ring.nodes)
        ]

    def pick(self, tried: Sequence[Node], exchange: Exchange) -> Node | None:
        """See ``Picker.pick``."""
        place = crc32(self._key(exchange))
        for ring in self._levels:
            if not tried:
                return ring.owner(place)
            node = ring.owner_but(place, tried)
            if node is not None:
                return node
        return None
