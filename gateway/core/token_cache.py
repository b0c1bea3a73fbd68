"""A bounded memory of what was verified, so that the same token is not verified twice."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class TokenCache(Generic[Key, Value]):
    """
    The entries used last, up to a limit.

    It knows nothing of validity: whoever gets an entry checks that it still counts.
    """

    __slots__ = ("_entries", "_limit")

    def __init__(self, limit: int) -> None:
        """
        Args:
            limit: How many entries to keep; 0 keeps none.
        """
        self._limit = limit
        self._entries: OrderedDict[Key, Value] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        # Keys are tokens.
        return f"<TokenCache {len(self._entries)} of {self._limit}>"

    def resize(self, limit: int) -> None:
        """Change the limit, dropping what is too much, least recently used first."""
        self._limit = limit
        while len(self._entries) > limit:
            self._entries.popitem(last=False)

    def get(self, key: Key) -> Value | None:
        """The entry, now the one used last; None if there is none."""
        entries = self._entries
        value = entries.get(key)
        if value is not None:
            entries.move_to_end(key)
        return value

    def put(self, key: Key, value: Value) -> None:
        """Keep *value*, as the one used last; the one unused longest may have to go."""
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self._limit:
            self._entries.popitem(last=False)

    def discard(self, key: Key) -> None:
        """Forget an entry, if it is there."""
        self._entries.pop(key, None)
