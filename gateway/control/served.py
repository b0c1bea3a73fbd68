"""What serves, as those who change and describe the configuration see it."""

from __future__ import annotations

from typing import Protocol

from attrs import define, field

from gateway.core.snapshot import Snapshot


class Served(Protocol):
    """
    A data plane: ``gateway.proxy.runner.Runner`` is one.

    Attributes:
        snapshot: The configuration new requests get; may be replaced.
    """

    snapshot: Snapshot

    @property
    def in_flight(self) -> int:
        """Requests being served."""

    @property
    def bugs(self) -> int:
        """How often a request ended in an unexpected exception."""


@define
class Mirror:
    """
    The data plane as the first process knows it when others serve: every change is compiled here
    too, so that a bad one is refused before it is stored and ``explain`` has something to look at.

    Attributes:
        in_flight, bugs: Always 0: nothing is served here.
    """

    snapshot: Snapshot = field(repr=False)
    in_flight: int = 0
    bugs: int = 0
