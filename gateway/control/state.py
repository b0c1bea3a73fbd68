"""The current configuration in memory: every stored record, at one revision."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gateway.model.record import Record, Revision, StoreView

_NOTHING: Mapping[str, Record] = MappingProxyType({})


class State:
    """
    An immutable view of all records. A commit makes a new one that shares what did not change.

    Attributes:
        revision: The revision it shows; 0 if nothing was ever stored.
        made_by: The commit that led here from the state before, so that an index can follow
            along; None for a state that was loaded.
    """

    __slots__ = ("_records", "made_by", "revision")

    def __init__(
        self,
        revision: int,
        records: Mapping[tuple[str, str], Mapping[str, Record]],
        made_by: Revision | None = None,
    ) -> None:
        """
        Args:
            records: (group, kind) → id → record, in the order of creation.
        """
        self.revision = revision
        self.made_by = made_by
        self._records = records

    @classmethod
    def of(cls, view: StoreView) -> State:
        """The state a store's view shows."""
        records: dict[tuple[str, str], dict[str, Record]] = {}
        for record in sorted(view.records, key=lambda r: r.created_revision):
            records.setdefault((record.group, record.kind), {})[record.id] = record
        return cls(view.revision, records)

    def get(self, group: str, kind: str, id: str) -> Record | None:
        """One record, or None."""
        return self._records.get((group, kind), _NOTHING).get(id)

    def all(self, group: str, kind: str) -> Mapping[str, Record]:
        """Every record of a kind in a group, by id, in the order of creation. Not to be changed."""
        return self._records.get((group, kind), _NOTHING)

    def counts(self) -> Mapping[tuple[str, str], int]:
        """(group, kind) → how many records there are."""
        return {table: len(records) for table, records in self._records.items()}

    def after(self, revision: Revision) -> State:
        """The state once *revision* is committed."""
        records: dict[tuple[str, str], Mapping[str, Record]] = dict(self._records)
        copied: dict[tuple[str, str], dict[str, Record]] = {}
        for change, before in zip(revision.changes, revision.before, strict=True):
            table = (change.group, change.kind)
            if table not in copied:
                records[table] = copied[table] = dict(records.get(table, _NOTHING))
            if change.value is None:
                copied[table].pop(change.id, None)
                continue
            copied[table][change.id] = revision.record(change, before)
        return State(revision.number, records, revision)
