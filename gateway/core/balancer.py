"""Picking the node for a try. One picker a compiled upstream; what it has learnt outlives other changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from gateway.core.chash import ConsistentHash
from gateway.core.ewma import FastestOfTwo
from gateway.core.exchange import Exchange
from gateway.core.least_conn import LeastConnections
from gateway.core.picking import Picker as Picker
from gateway.core.round_robin import RoundRobin
from gateway.model.upstream import Node, Upstream

REMEMBERED_REMAINDERS = 256
"""For how many sets of tried nodes a picker remembers whose turn is next among the others."""

_Address = tuple[str, int]


class WeightedRoundRobin:
    """
    Weighted round-robin with priority levels (see ``Picker``).

    A lower level is used only when every node of the higher ones was tried for this request, or is
    known to be unhealthy. A retry takes its turn among the nodes that are left: it does not move
    the sequence of first tries.

    A single node is served even if it weighs 0. Where several nodes all weigh 0 the upstream is
    switched off: nothing is picked.

    Source:
        Data-plane contract §7.2.
    """

    done: None = None

    def __init__(self, nodes: Sequence[Node]) -> None:
        """
        Args:
            nodes: In the order to walk; the first pick is the first of the greatest weight.
        """
        single = len(nodes) == 1
        self._turns = [(node, 1 if single else node.weight) for node in nodes if single or node.weight > 0]
        self._unhealthy: frozenset[str] = frozenset()
        self._arrange()

    @property
    def unhealthy(self) -> frozenset[str]:
        return self._unhealthy

    def set_unhealthy(self, keys: Iterable[str]) -> None:
        """Take nodes out, or back in; where that changes anything the turn starts anew."""
        known = frozenset(keys).intersection(node.key for node, _ in self._turns)
        if known != self._unhealthy:
            self._unhealthy = known
            self._arrange()

    def _arrange(self) -> None:
        usable = [turn for turn in self._turns if turn[0].key not in self._unhealthy] or self._turns
        self._levels = [
            [turn for turn in usable if turn[0].priority == priority]
            for priority in sorted({node.priority for node, _ in usable}, reverse=True)
        ]
        first = self._levels[0] if self._levels else []
        self._only = first[0][0] if len(first) == 1 else None
        self._next = RoundRobin(first).next
        self._remainders: dict[frozenset[_Address], RoundRobin[Node]] = {}
        self._forgotten = 0

    def pick(self, tried: Sequence[Node], exchange: Exchange) -> Node | None:
        """See ``Picker.pick``."""
        if tried:
            return self._pick_other(tried)
        return self._only or self._next()

    def _pick_other(self, tried: Sequence[Node]) -> Node | None:
        gone = frozenset([(node.host, node.port) for node in tried])
        remainders = self._remainders
        remainder = remainders.pop(gone, None)
        if remainder is None:
            left: list[tuple[Node, int]] = []
            for level in self._levels:
                left = [turn for turn in level if (turn[0].host, turn[0].port) not in gone]
                if left:
                    break
            if len(remainders) >= REMEMBERED_REMAINDERS:
                del remainders[next(iter(remainders))]
                self._forgotten += 1
            # What is forgotten and made again all the time must not begin with the same node each time:
            # that one would get every retry.
            remainder = RoundRobin(left, skip=self._forgotten)
        # Taken out and put back: the dict keeps the order of use, and its first entry is the oldest.
        remainders[gone] = remainder
        return remainder.next()


def _never() -> float:
    return 0.0


def make_picker(
    upstream: Upstream,
    previous: Picker | None = None,
    *,
    now: Callable[[], float] = _never,
    random: Callable[[], float] = _never,
) -> Picker:
    """
    The picker for an upstream's ``type``.

    Args:
        previous: The picker of the same upstream's last definition. Its connection counts and
            latencies go on, by node; so does what is known to be unhealthy.
        now: Seconds since some fixed moment. random: A number from 0 to below 1. By default time
            stands still and chance is always 0.
    Source:
        Data-plane contract §7.2 and §7.3.
    """
    picker: Picker
    match upstream.type:
        case "chash":
            picker = ConsistentHash(upstream.nodes, upstream.hash_on, upstream.key)
        case "least_conn":
            picker = LeastConnections(upstream.nodes, previous)
        case "ewma":
            picker = FastestOfTwo(upstream.nodes, previous, now=now, random=random)
        case _:
            picker = WeightedRoundRobin(upstream.nodes)
    if previous is not None and upstream.checks is not None:
        picker.set_unhealthy(previous.unhealthy)
    return picker
