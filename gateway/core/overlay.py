"""A table of which every version is kept cheaply: a large part that versions share, and what differs.

Copying a dict of ten thousand entries for each change costs more than the change itself. A copy of an
``Overlay`` costs what was changed lately; now and then the changes become part of a new shared table.
A look-up costs a little more than a dict's: not for what every request asks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, TypeVar, cast

K = TypeVar("K")
V = TypeVar("V")
D = TypeVar("D")

MIN_CHANGES = 128
"""So many changes are kept apart at least; beyond that, a share of what is shared."""
_SHARE = 32

_ABSENT: Any = object()
_GONE: Any = object()


class Overlay(MutableMapping[K, V]):
    """
    A mapping that is copied cheaply. A copy and its original do not see each other's later changes.

    It is iterated in the order of entry, except that a key that is removed and set again may keep its place.
    """

    __slots__ = ("_changes", "_size", "_table")

    def __init__(self, table: Mapping[K, V] | None = None) -> None:
        """
        Args:
            table: What it holds at first; copied, unless it is an ``Overlay`` itself.
        """
        if isinstance(table, Overlay):
            shared, changes = cast("dict[K, V]", table._table), cast("dict[K, Any]", table._changes)
            if len(changes) > max(MIN_CHANGES, len(shared) // _SHARE):
                shared, changes = dict(table.items()), {}
            self._table: dict[K, V] = shared
            self._changes: dict[K, Any] = dict(changes)
            self._size: int = table._size
        else:
            self._table = {} if table is None else dict(table)
            self._changes = {}
            self._size = len(self._table)

    def __getitem__(self, key: K) -> V:
        value = self._changes.get(key, _ABSENT)
        if value is _ABSENT:
            return self._table[key]
        if value is _GONE:
            raise KeyError(key)
        return cast(V, value)

    def __contains__(self, key: object) -> bool:
        value = self._changes.get(cast(K, key), _ABSENT)
        return key in self._table if value is _ABSENT else value is not _GONE

    def __setitem__(self, key: K, value: V) -> None:
        if key not in self:
            self._size += 1
        self._changes[key] = value

    def __delitem__(self, key: K) -> None:
        if key not in self:
            raise KeyError(key)
        self._size -= 1
        if key in self._table:
            self._changes[key] = _GONE
        else:
            del self._changes[key]

    def __iter__(self) -> Iterator[K]:
        changes, table = self._changes, self._table
        if not changes:
            yield from table
            return
        for key in table:
            if changes.get(key, _ABSENT) is not _GONE:
                yield key
        for key in changes:
            if key not in table:
                yield key

    def __len__(self) -> int:
        return self._size

    def __repr__(self) -> str:
        return f"Overlay({dict(self.items())!r})"
