"""How configuration is kept: records, the changes that make them, and the revisions that order those."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import field, frozen

Key = tuple[str, str, str]
"""(gateway group id, kind, id). Kinds that belong to no group use the group ``""``."""


@frozen
class Record:
    """
    One stored resource.

    Attributes:
        group: The gateway group's id; ``""`` for what belongs to none (groups, tokens).
        kind: ``service``, ``route``, ``consumer``, ``credential``, ``gateway_group``, ``token`` …
        id: Unique within group and kind.
        value: The document as the writer sent it, with the dialect's defaults; without times.
        dialect: The dialect that wrote it: ``enterprise`` or ``apisix``.
        created_at: Unix seconds. updated_at: likewise.
        created_revision: The revision that made it. modified_revision: the last that changed it.
    """

    group: str
    kind: str
    id: str
    value: Mapping[str, Any] = field(repr=False)
    dialect: str
    created_at: int
    updated_at: int
    created_revision: int
    modified_revision: int

    @property
    def key(self) -> Key:
        return (self.group, self.kind, self.id)


@frozen
class Change:
    """
    One resource set or removed. A commit is a sequence of them.

    Attributes:
        value: The new document; None removes the resource.
    """

    group: str
    kind: str
    id: str
    value: Mapping[str, Any] | None = field(repr=False)
    dialect: str = "enterprise"

    @property
    def key(self) -> Key:
        return (self.group, self.kind, self.id)


@frozen
class Revision:
    """
    One commit, as history tells it.

    Attributes:
        number: 1 for the first, then without gaps.
        at: Unix time of the commit, in seconds.
        author: The name of the token that made it; ``gateway`` for the gateway's own.
        reason: What the author said about it, or None.
        changes: The changes, in order.
        before: For each change the record it replaced or removed; None where there was none.
    """

    number: int
    at: float
    author: str
    reason: str | None
    changes: tuple[Change, ...]
    before: tuple[Record | None, ...]

    def record(self, change: Change, before: Record | None) -> Record:
        """
        The record that one of *changes* makes.

        Args:
            change: One that sets a value.
            before: The record it replaces: creation is that one's, not this revision's.
        """
        assert change.value is not None
        now = int(self.at)
        return Record(
            group=change.group,
            kind=change.kind,
            id=change.id,
            value=change.value,
            dialect=change.dialect,
            created_at=now if before is None else before.created_at,
            updated_at=now,
            created_revision=self.number if before is None else before.created_revision,
            modified_revision=self.number,
        )


@frozen
class StoreView:
    """Everything that is stored at one revision (0 when nothing ever was)."""

    revision: int
    records: Sequence[Record]
