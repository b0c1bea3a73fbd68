"""Bytes on the wire, cut in every way a network may cut them."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen


@frozen
class wire:
    """What one side sends."""

    data: bytes

    def split_every(self, size: int) -> list[bytes]:
        """Pieces of *size* bytes."""
        return [self.data[at : at + size] for at in range(0, len(self.data), size)]

    def cuts(self) -> Iterator[list[bytes]]:
        """Whole, byte by byte, and cut in two at every position."""
        yield [self.data]
        yield self.split_every(1)
        for at in range(1, len(self.data)):
            yield [self.data[:at], self.data[at:]]
