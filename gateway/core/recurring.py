"""A bounded memory of texts that come again, and of what was made of them.

Clients ask for the same things again: a poll, a health check, the same call with the same token. Upstreams
answer with the same heads. What such a text means depends on its bytes alone, so it need not be read
anew. As long as there is plenty of room it is remembered at once; then, when it comes for the second time, so
that a stream of texts that are all different costs next to nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Generic, TypeVar

T = TypeVar("T")

MAX_BYTES = 1024
"""Longer texts are not remembered: with the number of texts this bounds the memory."""


class Recurring(Generic[T]):
    """
    Attributes:
        get: What was made of a text; None if it is not known.
    """

    __slots__ = ("_limit", "_once", "_once_limit", "_plenty", "_texts", "get")

    def __init__(self, limit: int) -> None:
        """
        Args:
            limit: How many texts to remember; for one more the oldest is forgotten. 0 remembers none.
        """
        self._limit = limit
        self._plenty = limit // 2
        self._once_limit = max(4096, 2 * limit)
        # One that can lose its oldest entry at no cost.
        self._texts: OrderedDict[bytes, T] = OrderedDict()
        self._once: set[int] = set()
        self.get = self._texts.get

    def __len__(self) -> int:
        return len(self._texts)

    def __repr__(self) -> str:
        # They may hold credentials.
        return f"<Recurring {len(self._texts)}>"

    def learn(self, text: bytes, made: T) -> bool:
        """
        Take note of a text that was read.

        Returns:
            Whether *made* is remembered now. It is shared from here on: nobody may change it.
        """
        if not self.recurs(text):
            return False
        self.keep(text, made)
        return True

    def recurs(self, text: bytes) -> bool:
        """Take note of a text. Returns whether it is to be remembered: ``keep``."""
        if not self._limit or len(text) > MAX_BYTES:
            return False
        if len(self._texts) < self._plenty:
            return True
        # Not the bytes: if two texts have one hash, one of them is remembered early, and that is all.
        key = hash(text)
        if key in self._once:
            return True
        if len(self._once) >= self._once_limit:
            self._once.clear()
        self._once.add(key)
        return False

    def keep(self, text: bytes, made: T) -> None:
        """Remember a text that ``recurs``."""
        if len(self._texts) >= self._limit:
            self._texts.popitem(last=False)
        self._texts[text] = made


class HeadMemory:
    """
    What was made of a request head that came before, besides reading it; for the next time it comes.

    Whoever keeps something here looks each time whether it still holds.

    Attributes:
        again: Whether it came again since.
        without: The setting for which nothing had to be taken out of its fields: ``gateway.core.opening``.
        sent: What was sent to an upstream for it; misses: how often that did not hold:
            ``gateway.proxy.dispatch``.
    """

    __slots__ = ("again", "misses", "sent", "without")

    def __init__(self) -> None:
        self.without: Any = self
        self.sent: Any = None
        self.again = False
        self.misses = 0
