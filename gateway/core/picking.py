"""What every way of picking nodes has in common: the protocol, who may serve, and priority levels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from attrs import evolve

from gateway.core.exchange import Exchange
from gateway.model.upstream import Node

Done = Callable[[Node, Exchange, float, "bool | None"], None]
"""
Told once that a picked node's try is over, whatever way it ended.

Its arguments: the node as it was picked; the exchange; seconds from sending the request to the
answer's head, to the failure, or to the moment nobody waited any longer (0 if nothing was sent); True
if the head of an answer came, False if the try failed, None if it was given up (the client left).
"""


class Picker(Protocol):
    """
    Chooses nodes.

    Attributes:
        unhealthy: Keys of nodes not to be used. If that is all of them, all are used.
        done: To be called once for each node picked; None if this picker does not want to know.
    """

    @property
    def unhealthy(self) -> frozenset[str]: ...

    @property
    def done(self) -> Done | None: ...

    def pick(self, tried: Sequence[Node], exchange: Exchange) -> Node | None:
        """
        Args:
            tried: Nodes already tried for this request; none is picked twice.
        Returns:
            The node for the next try, or None if there is none left.
        """

    def set_unhealthy(self, keys: Iterable[str]) -> None:
        """Take nodes out, or back in. Keys of nodes that are not here mean nothing."""


def serving(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """
    The nodes that may take traffic: those with a weight.

    Where several nodes all weigh 0 the upstream is switched off; a single one is served
    nevertheless, as its users expect (data-plane contract §7.2).
    """
    if len(nodes) == 1 and nodes[0].weight == 0:
        return (evolve(nodes[0], weight=1),)
    return tuple(node for node in nodes if node.weight > 0)


def levels(nodes: Iterable[Node]) -> list[list[Node]]:
    """The nodes by priority, highest first; within a level in the order given."""
    found: dict[int, list[Node]] = {}
    for node in nodes:
        found.setdefault(node.priority, []).append(node)
    return [found[priority] for priority in sorted(found, reverse=True)]


class Levelled(ABC):
    """
    The nodes of a picker with priority levels: a lower level is used only when every node of the
    higher ones was tried for this request, or is unhealthy.

    Attributes:
        unhealthy: As ``Picker.unhealthy``; never a key of another upstream's node.
    """

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._nodes = serving(nodes)
        self._keys = frozenset(node.key for node in nodes)
        self.unhealthy: frozenset[str] = frozenset()
        self._arrange()

    def set_unhealthy(self, keys: Iterable[str]) -> None:
        """As ``Picker.set_unhealthy``; nothing happens if nothing changes."""
        unhealthy = self._keys.intersection(keys)
        if unhealthy != self.unhealthy:
            self.unhealthy = unhealthy
            self._arrange()

    def _usable(self) -> Sequence[Node]:
        return [node for node in self._nodes if node.key not in self.unhealthy] or self._nodes

    @abstractmethod
    def _arrange(self) -> None:
        """Prepare for picking among ``_usable()``."""
