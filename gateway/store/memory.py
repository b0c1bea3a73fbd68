"""A store that forgets: for tests, and for trying things out."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from attrs import evolve
from twisted.internet.defer import Deferred, execute, succeed
from zope.interface import implementer

from gateway.errors import RevisionConflict, StoreUnavailable
from gateway.interfaces import IConfigStore
from gateway.model.record import Change, Key, Record, Revision, StoreView
from gateway.store.documents import Draft, check_page, draft, name


def _apply(records: dict[Key, Record], revision: Revision) -> None:
    for change, before in zip(revision.changes, revision.before, strict=True):
        if change.value is None:
            del records[change.key]
            continue
        records[change.key] = revision.record(change, before)


@implementer(IConfigStore)
class MemoryStore:
    """
    Keeps everything in this object, also while it is closed. Its Deferreds have already fired.

    Attributes:
        damaged: Always empty; here for those who ask every store.
    """

    def __init__(self) -> None:
        self.damaged: tuple[Key, ...] = ()
        self._open = False
        self._log: list[Revision] = []
        self._records: dict[Key, Record] = {}

    def describe(self) -> str:
        return "memory (nothing outlives the process)"

    def open(self) -> Deferred[None]:
        self._open = True
        return succeed(None)

    def close(self) -> Deferred[None]:
        self._open = False
        return succeed(None)

    def load(self) -> Deferred[StoreView]:
        return execute(self._load)

    def commit(
        self,
        changes: Sequence[Change],
        *,
        author: str,
        reason: str | None,
        at: float,
        expected: int | None = None,
    ) -> Deferred[Revision]:
        return execute(self._commit, changes, author, reason, at, expected)

    def history(
        self,
        *,
        group: str | None = None,
        kind: str | None = None,
        id: str | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> Deferred[list[Revision]]:
        return execute(self._history, (group, kind, id), before, limit)

    def as_of(self, revision: int) -> Deferred[StoreView]:
        return execute(self._as_of, revision)

    def _check_open(self) -> None:
        if not self._open:
            raise StoreUnavailable("the store is not open")

    def _load(self) -> StoreView:
        self._check_open()
        return StoreView(len(self._log), copy.deepcopy(tuple(self._records.values())))

    def _before(self, draft: Draft) -> Record | None:
        record = self._records.get(draft.key)
        if record is None and draft.text is None:
            raise ValueError(f"{name(draft.key)} does not exist and cannot be removed")
        return record

    def _commit(
        self, changes: Sequence[Change], author: str, reason: str | None, at: float, expected: int | None
    ) -> Revision:
        self._check_open()
        drafts = draft(changes, author, reason, at)
        last = len(self._log)
        if expected is not None and expected != last:
            raise RevisionConflict(expected, last)
        revision = Revision(
            number=last + 1,
            at=float(at),
            author=author,
            reason=reason,
            changes=tuple(each.change() for each in drafts),
            before=tuple(self._before(each) for each in drafts),
        )
        self._log.append(revision)
        _apply(self._records, revision)
        return copy.deepcopy(revision)

    def _history(
        self, wanted: tuple[str | None, str | None, str | None], before: int | None, limit: int
    ) -> list[Revision]:
        self._check_open()
        check_page(limit)
        found: list[Revision] = []
        for revision in reversed(self._log):
            if before is not None and revision.number >= before:
                continue
            for change in revision.changes:
                if all(want in (None, part) for want, part in zip(wanted, change.key, strict=True)):
                    found.append(copy.deepcopy(revision))
                    break
            if len(found) == limit:
                break
        return found

    def _as_of(self, revision: int) -> StoreView:
        self._check_open()
        if not 0 <= revision <= len(self._log):
            raise LookupError(f"there is no revision {revision}")
        records: dict[Key, Record] = {}
        for each in self._log[:revision]:
            _apply(records, each)
        return StoreView(revision, tuple(evolve(r, value=copy.deepcopy(r.value)) for r in records.values()))
