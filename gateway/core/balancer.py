"""Picking the node for a try. One picker a compiled upstream; what it has learnt outlives other changes."""

from __future__ import annotations

import random as _random
import time
from collections.abc import Callable, Sequence

from gateway.core.chash import ConsistentHash
from gateway.core.ewma import FastestOfTwo
from gateway.core.exchange import Exchange
from gateway.core.least_conn import LeastConnections
from gateway.core.picking import Levelled, levels
from gateway.core.picking import Picker as Picker
from gateway.core.round_robin import RoundRobin
from gateway.model.upstream import Node, Upstream

_REMEMBERED_REMAINDERS = 256


class WeightedRoundRobin(Levelled):
    """Weighted round-robin; see ``gateway.core.round_robin`` for the order."""

    done: None = None

    def _arrange(self) -> None:
        # The turn starts anew.
        self._levels = levels(self._usable())
        self._first = RoundRobin(self._levels[0] if self._levels else ())
        self._remainders: dict[frozenset[Node], RoundRobin] = {}

    def pick(self, tried: Sequence[Node], exchange: Exchange) -> Node | None:
        """See ``Picker.pick``."""
        if not tried:
            return self._first.next()
        # A retry takes its turn among the nodes that are left, without moving the main sequence.
        gone = frozenset(tried)
        remainder = self._remainders.get(gone)
        if remainder is None:
            left: list[Node] = []
            for level in self._levels:
                left = [node for node in level if node not in gone]
                if left:
                    break
            if len(self._remainders) >= _REMEMBERED_REMAINDERS:
                self._remainders.clear()
            remainder = self._remainders[gone] = RoundRobin(left)
        return remainder.next()


def make_picker(
    upstream: Upstream,
    previous: Picker | None = None,
    *,
    now: Callable[[], float] = time.monotonic,
    random: Callable[[], float] = _random.random,
) -> Picker:
    """
    The picker for an upstream's ``type``.

    Args:
        previous: The picker of the same upstream's last definition. Its connection counts and
            latencies go on, by node; so does what is known to be unhealthy.
        now: Seconds since some fixed moment. random: A number from 0 to below 1.
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
