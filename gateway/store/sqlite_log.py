"""The blocking half of the SQLite store: one connection, used by one thread."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from attrs import frozen

from gateway.errors import RevisionConflict, StoreUnavailable
from gateway.model.record import Change, Key, Record, Revision, StoreView
from gateway.store import sqlite_schema
from gateway.store.documents import Draft, decode, encode, name
from gateway.store.lock import FileLock
from gateway.store.sealing import PREFIX, Sealer
from gateway.store.sqlite_errors import explain

_MAX_INTEGER = 2**63 - 1
_MAX_WAL_BYTES = 64 * 1024 * 1024


def _record_of(change: str) -> str:
    # The record that a row of "changes" made: the fields of Record in their order.
    names = ('"group"', "kind", "id", "value", "dialect", "created_at", "updated_at", "created_revision")
    return ", ".join(f"{change}.{name}" for name in (*names, "revision"))


_LAST = "SELECT coalesce(max(number), 0) FROM revisions"
_LAST_SEQ = "SELECT coalesce(max(seq), 0) FROM changes"
_CURRENT = "FROM current JOIN changes c ON c.seq = current.seq"
_LOAD = f"SELECT {_record_of('c')} {_CURRENT} ORDER BY c.created_seq"
_OLD = (
    f"SELECT c.seq, c.created_seq, {_record_of('c')} {_CURRENT} "
    'WHERE current."group" = ? AND current.kind = ? AND current.id = ?'
)
_BEGIN = "INSERT INTO revisions (number, at, author, reason) VALUES (?, ?, ?, ?)"
_ADD = (
    'INSERT INTO changes (seq, revision, "group", kind, id, dialect, replaced, '
    "created_seq, created_revision, created_at, updated_at, value) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_WRITTEN = 'SELECT "group", kind, id, value FROM changes WHERE seq = ? AND value IS NOT NULL'
_POINT = 'INSERT OR REPLACE INTO current ("group", kind, id, seq) VALUES (?, ?, ?, ?)'
_DROP = 'DELETE FROM current WHERE "group" = ? AND kind = ? AND id = ?'
_CHANGES = (
    f'SELECT c.dialect, c."group", c.kind, c.id, c.value, {_record_of("b")} '  # noqa: S608
    "FROM changes c LEFT JOIN changes b ON b.seq = c.replaced WHERE c.revision = ? ORDER BY c.seq"
)
# The last change of each key up to a revision, found in the index alone; documents are read after.
_AS_OF = (
    f"SELECT {_record_of('c')} FROM changes c JOIN ("  # noqa: S608
    'SELECT "group" AS g, kind AS k, id AS i, max(revision) AS r FROM changes INDEXED BY changes_by_key '
    'WHERE revision <= ? GROUP BY "group", kind, id'
    ') last ON c."group" = last.g AND c.kind = last.k AND c.id = last.i AND c.revision = last.r '
    "WHERE c.value IS NOT NULL ORDER BY c.created_seq"
)


@frozen
class Resealed:
    """
    Attributes:
        rewritten: How many documents, current and past, were encrypted anew.
        unreadable: How many hold sealed text that no key opens; that text was left as it is.
    """

    rewritten: int
    unreadable: int


class Database:
    """
    The log and the current view in one SQLite file. Every method blocks.

    Attributes:
        path: The file, absolute.
    """

    def __init__(self, path: str, sealer: Sealer, *, busy_timeout_s: float) -> None:
        self.path = os.path.realpath(path)  # one lock a file, by whatever name it is reached
        self._sealer = sealer
        self._busy_timeout_s = busy_timeout_s
        self._lock = FileLock(f"{self.path}.lock")
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None

    def open(self) -> None:
        """Lock, create what is missing, bring the tables up to date. Raises StoreUnavailable."""
        try:
            os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
            self._lock.acquire()
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            status = os.stat(self.path)
            self._file = (status.st_dev, status.st_ino)
            self._connection = self._prepared()
        except OSError as error:
            self.close()
            raise StoreUnavailable(
                f"{self.path} cannot be opened or made: {error.strerror}; "
                "check that its directory exists and may be written by this user"
            ) from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of file and lock. Closing twice is harmless."""
        try:
            self._drop_connection()
        finally:
            self._file = None
            self._lock.release()

    def connect(self) -> sqlite3.Connection:
        """Open the file; nothing is read or written yet."""
        return sqlite3.connect(self.path, timeout=self._busy_timeout_s, isolation_level=None)

    def _prepared(self) -> sqlite3.Connection:
        connection = self.connect()
        try:
            version = sqlite_schema.version_of(connection, self.path)
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            if mode != "wal":
                raise StoreUnavailable(
                    f"{self.path}: no write-ahead log here; keep the store on a local disk"
                )
            # FULL: each commit waits until its part of the log is on the disk.
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA journal_size_limit = {_MAX_WAL_BYTES}")
            connection.execute("PRAGMA temp_store = MEMORY")
            connection.execute("PRAGMA trusted_schema = OFF")
            if version < sqlite_schema.VERSION:
                connection.execute("BEGIN IMMEDIATE")
                sqlite_schema.migrate(connection, version)
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            connection.close()
            raise StoreUnavailable(explain(self.path, error)) from error
        except BaseException:
            connection.close()
            raise
        return connection

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except sqlite3.Error:
                pass  # its file is closed all the same

    @contextmanager
    def _transaction(self, mode: str) -> Iterator[sqlite3.Connection]:
        if self._connection is None:
            self._check_file()
            self._connection = self._prepared()
        connection = self._connection
        try:
            connection.execute(f"BEGIN {mode}")
            yield connection
            connection.execute("COMMIT")
        except BaseException as error:
            try:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            except sqlite3.Error:
                self._drop_connection()  # the next call starts with a fresh one
            if isinstance(error, sqlite3.Error):
                raise StoreUnavailable(explain(self.path, error)) from error
            raise

    def _check_file(self) -> None:
        if self._file is None:
            raise StoreUnavailable(f"{self.path} is not open")
        # SQLite would go on writing to a file that nobody will ever find again.
        try:
            status = os.stat(self.path)
        except OSError:
            status = None
        if status is None or (status.st_dev, status.st_ino) != self._file:
            raise StoreUnavailable(
                f"{self.path} was removed or replaced under the running gateway; put it back or restart"
            )

    def _clear(self, key: Key, text: str) -> tuple[dict[str, Any], bool]:
        # A document, and whether it is sound.
        try:
            value = decode(text)
        except ValueError:
            return {}, False
        if PREFIX not in text:
            return value, True
        opened = self._sealer.unseal(key, value)
        return dict(opened.value), not opened.damaged

    def _record(self, row: Sequence[Any]) -> tuple[Record, bool]:
        group, kind, id, text, *rest = row
        value, sound = self._clear((group, kind, id), text)
        return Record(group, kind, id, value, *rest), sound

    def _view(self, revision: int, rows: Iterator[Sequence[Any]]) -> tuple[StoreView, tuple[Key, ...]]:
        records: list[Record] = []
        damaged: list[Key] = []
        for row in rows:
            record, sound = self._record(row)
            records.append(record)
            if not sound:
                damaged.append(record.key)
        return StoreView(revision, tuple(records)), tuple(damaged)

    def load(self) -> tuple[StoreView, tuple[Key, ...]]:
        """The current view, and which of its records could not be read in full."""
        with self._transaction("DEFERRED") as connection:
            (last,) = connection.execute(_LAST).fetchone()
            return self._view(last, connection.execute(_LOAD))

    def commit(
        self, drafts: Sequence[Draft], *, author: str, reason: str | None, at: float, expected: int | None
    ) -> tuple[Revision, tuple[Key, ...]]:
        """
        As ``IConfigStore.commit``, for changes that ``documents.draft`` let through.

        Returns:
            The revision, and which of its new records hold sealed text that does not open.
        """
        self._check_file()
        with self._transaction("IMMEDIATE") as connection:
            (last,) = connection.execute(_LAST).fetchone()
            if expected is not None and expected != last:
                raise RevisionConflict(expected, last)
            number = last + 1
            connection.execute(_BEGIN, (number, at, author, reason))
            (seq,) = connection.execute(_LAST_SEQ).fetchone()
            before: list[Record | None] = []
            changes: list[Change] = []
            damaged: list[Key] = []
            for draft in drafts:
                seq += 1
                before.append(self._write(connection, draft, seq, number, int(at)))
                change = draft.change()
                changes.append(change)
                if draft.text is not None and PREFIX in draft.text and self._is_damaged(draft):
                    damaged.append(draft.key)
            revision = Revision(number, float(at), author, reason, tuple(changes), tuple(before))
        return revision, tuple(damaged)

    def _write(
        self, connection: sqlite3.Connection, draft: Draft, seq: int, number: int, now: int
    ) -> Record | None:
        old = connection.execute(_OLD, draft.key).fetchone()
        if old is None:
            if draft.text is None:
                raise ValueError(f"{name(draft.key)} does not exist and cannot be removed")
            before, replaced, created = None, None, (seq, number, now)
        else:
            replaced, created_seq, *row = old
            before, _ = self._record(row)
            created = (created_seq, before.created_revision, before.created_at)
        text = self._sealed(draft)
        connection.execute(_ADD, (seq, number, *draft.key, draft.dialect, replaced, *created, now, text))
        if text is None:
            connection.execute(_DROP, draft.key)
        else:
            connection.execute(_POINT, (*draft.key, seq))
        return before

    def _sealed(self, draft: Draft) -> str | None:
        if draft.text is None:
            return None
        value = decode(draft.text)
        sealed = self._sealer.seal(draft.key, value)
        return draft.text if sealed is value else encode(sealed)

    def _is_damaged(self, draft: Draft) -> bool:
        text = self._sealed(draft)
        return text is not None and not self._clear(draft.key, text)[1]

    def history(
        self, group: str | None, kind: str | None, id: str | None, before: int | None, limit: int
    ) -> list[Revision]:
        """As ``IConfigStore.history``."""
        below = _MAX_INTEGER if before is None else max(0, min(before, _MAX_INTEGER))
        wanted = {'"group"': group, "kind": kind, "id": id}
        given = {column: value for column, value in wanted.items() if value is not None}
        condition = "".join(f" AND {column} = ?" for column in given)
        # Only names of columns become part of the statement; every value is bound.
        if len(given) == len(wanted):
            numbers = (
                f"SELECT revision FROM changes WHERE revision < ?{condition} "  # noqa: S608
                "ORDER BY revision DESC LIMIT ?"
            )
        elif given:
            numbers = (
                "SELECT number FROM revisions WHERE number < ? AND EXISTS ("  # noqa: S608
                f"SELECT 1 FROM changes WHERE revision = number{condition}) ORDER BY number DESC LIMIT ?"
            )
        else:
            numbers = "SELECT number FROM revisions WHERE number < ? ORDER BY number DESC LIMIT ?"
        with self._transaction("DEFERRED") as connection:
            rows = connection.execute(numbers, (below, *given.values(), min(limit, _MAX_INTEGER))).fetchall()
            return [self._revision(connection, number) for (number,) in rows]

    def _revision(self, connection: sqlite3.Connection, number: int) -> Revision:
        head = connection.execute("SELECT at, author, reason FROM revisions WHERE number = ?", (number,))
        changes: list[Change] = []
        before: list[Record | None] = []
        for dialect, group, kind, id, text, *old in connection.execute(_CHANGES, (number,)):
            value = None if text is None else self._clear((group, kind, id), text)[0]
            changes.append(Change(group, kind, id, value, dialect))
            before.append(None if old[0] is None else self._record(old)[0])
        at, author, reason = head.fetchone()
        return Revision(number, at, author, reason, tuple(changes), tuple(before))

    def as_of(self, revision: int) -> StoreView:
        """As ``IConfigStore.as_of``."""
        with self._transaction("DEFERRED") as connection:
            (last,) = connection.execute(_LAST).fetchone()
            if not 0 <= revision <= last:
                raise LookupError(f"there is no revision {revision}; the last is {last}")
            return self._view(revision, connection.execute(_AS_OF, (revision,)))[0]

    def reseal(self) -> Resealed:
        """
        Encrypt every secret in the file, past ones included, with the current key.

        Afterwards the file is written anew, so that nothing old is left in its free pages.
        """
        self._check_file()
        rewritten = unreadable = 0
        with self._transaction("IMMEDIATE") as connection:
            (last,) = connection.execute(_LAST_SEQ).fetchone()
            for seq in range(1, last + 1):
                row = connection.execute(_WRITTEN, (seq,)).fetchone()
                if row is None:
                    continue
                text, sound = self._resealed(*row)
                unreadable += not sound
                if text is not None:
                    connection.execute("UPDATE changes SET value = ? WHERE seq = ?", (text, seq))
                    rewritten += 1
        self._run("VACUUM")
        self._run("PRAGMA wal_checkpoint(TRUNCATE)")
        return Resealed(rewritten, unreadable)

    def _resealed(self, group: str, kind: str, id: str, text: str) -> tuple[str | None, bool]:
        # The document as it must be written anew, None if it may stay; and whether it is sound.
        key = (group, kind, id)
        try:
            written = decode(text)
        except ValueError:
            return None, False
        if self._sealer.is_current(key, written):
            return None, self._clear(key, text)[1]
        opened = self._sealer.unseal(key, written)
        sealed = self._sealer.seal(key, opened.value)
        return (None if sealed is written else encode(sealed)), not opened.damaged

    def _run(self, statement: str) -> None:
        assert self._connection is not None
        try:
            self._connection.execute(statement).fetchall()
        except sqlite3.Error as error:
            raise StoreUnavailable(explain(self.path, error)) from error
