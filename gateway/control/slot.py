"""A worker's place: its number, and a socket for each listening address."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall

if TYPE_CHECKING:
    from gateway.control.worker import Worker


@define(eq=False)
class Slot:
    """
    One worker's place.

    Attributes:
        number: From 1. restarts: How often it was filled anew.
        failures: How many of its workers ended young, without a stable one between them.
    """

    number: int
    worker: Worker | None = None
    sockets: list[tuple[str, socket.socket]] = field(factory=list)
    restarts: int = 0
    failures: int = 0
    timer: IDelayedCall | None = None

    def close_sockets(self) -> None:
        """Connections go to others from now on; those that wait here are reset."""
        for _, one in self.sockets:
            one.close()
        self.sockets.clear()
