"""Picking the faster of two nodes, by a moving average of how long they took."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import exp

from gateway.core.exchange import Exchange
from gateway.core.picking import Levelled, levels
from gateway.model.upstream import Node

DECAY_S = 10.0
"""After this long an old measurement counts 1/e of what it did."""
KEPT_S = 60.0
"""After this long without a measurement a node is as good as new."""
FAILED_S = 1.0
"""What a failed try counts at least: a node that refuses at once must not look fast."""


class Latency:
    """
    How long a node takes. One object a node, for all versions of its upstream.

    Attributes:
        seconds: The average when it was last touched. touched_s: When that was; None if never.
    """

    __slots__ = ("seconds", "touched_s")

    def __init__(self) -> None:
        self.seconds = 0.0
        self.touched_s: float | None = None

    def at(self, now_s: float) -> float:
        """
        The average as it is worth now: it fades while nothing is measured, so that a slow node is
        tried again.
        """
        if self.touched_s is None:
            return 0.0
        age = now_s - self.touched_s
        if age >= KEPT_S:
            return 0.0
        return self.seconds * exp(-age / DECAY_S) if age > 0 else self.seconds

    def add(self, seconds: float, now_s: float) -> None:
        """Take a measurement into the average; it counts the more, the longer ago the last one was."""
        touched = self.touched_s
        age = KEPT_S if touched is None else max(0.0, now_s - touched)
        kept = exp(-age / DECAY_S) if age < KEPT_S else 0.0
        self.seconds = self.seconds * kept + seconds * (1.0 - kept)
        self.touched_s = now_s


_Entry = tuple[Node, Latency]


class FastestOfTwo(Levelled):
    """
    Of two nodes taken at random, the one with the lower average of seconds to the answer's head,
    connecting included. Weights are ignored, but for 0.

    Attributes:
        latencies: Node key → how long it takes.
    Source:
        Data-plane contract §7.3.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        previous: object = None,
        *,
        now: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        """
        Args:
            previous: The upstream's last picker; if it is of this kind, measurements go on.
            now: Seconds since some fixed moment. random: A number from 0 to below 1.
        """
        known: Mapping[str, Latency] = previous.latencies if isinstance(previous, FastestOfTwo) else {}
        self.latencies: dict[str, Latency] = {node.key: known.get(node.key) or Latency() for node in nodes}
        self._now = now
        self._random = random
        super().__init__(nodes)
        # The node objects live as long as this does: their ids are theirs alone.
        self._latency_of = {id(node): self.latencies[node.key] for node in self._nodes}

    def _arrange(self) -> None:
        self._levels: list[list[_Entry]] = [
            [(node, self.latencies[node.key]) for node in level] for level in levels(self._usable())
        ]
        self._first = self._levels[0] if self._levels else []

    def pick(self, tried: Sequence[Node], exchange: Exchange) -> Node | None:
        """See ``Picker.pick``."""
        entries = self._first
        if tried:
            for level in self._levels:
                entries = [entry for entry in level if entry[0] not in tried]
                if entries:
                    break
        count = len(entries)
        if count < 2:
            return entries[0][0] if count else None
        one = int(self._random() * count)
        other = int(self._random() * (count - 1))
        if other >= one:
            other += 1
        first, second = entries[one], entries[other]
        now_s = self._now()
        return first[0] if first[1].at(now_s) <= second[1].at(now_s) else second[0]

    def done(self, node: Node, exchange: Exchange, seconds: float, ok: bool | None) -> None:
        """See ``Picker.done``."""
        latency = self._latency_of[id(node)]
        now_s = self._now()
        if ok is None and seconds <= latency.at(now_s):
            # Somebody left sooner than an answer was to be expected: that says nothing.
            return
        latency.add(max(seconds, FAILED_S) if ok is False else seconds, now_s)
