"""Lists as they are sent: rendered a few items at a time, so that ten thousand do not keep others waiting."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from attrs import field, frozen

from gateway.admin.json_text import write_json

AT_ONCE = 200
"""Items that are rendered in one go."""


@frozen
class Listed:
    """
    The content of an answer that is a list.

    Attributes:
        items: What is listed. Nobody changes them while they are rendered. show: An item as clients see it.
        total: How many there are on all pages. total_first: Whether that stands before the items.
    """

    items: Sequence[Any] = field(repr=False)
    show: Callable[[Any], Any] = field(repr=False)
    total: int
    total_first: bool = False

    @property
    def is_long(self) -> bool:
        """Whether it is worth to let others have a turn meanwhile."""
        return len(self.items) > AT_ONCE

    def parts(self) -> Iterator[bytes]:
        """Its JSON text, in parts of ``AT_ONCE`` items; together they end with a line end."""
        total = b'"total":%d' % self.total
        yield (b"{" + total + b"," if self.total_first else b"{") + b'"list":['
        for start in range(0, len(self.items), AT_ONCE):
            shown = [self.show(item) for item in self.items[start : start + AT_ONCE]]
            text = write_json(shown).rstrip()[1:-1]
            yield b"," + text if start else text
        yield b"]}\n" if self.total_first else b"]," + total + b"}\n"
