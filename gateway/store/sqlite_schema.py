"""The tables of the SQLite store, and how a file comes to have them.

``revisions`` and ``changes`` are the log; rows are added and never removed. Each document is
kept once: ``changes.value`` is what a change wrote, ``changes.replaced`` names the change whose
record it replaced. ``current`` points at the change that made each living record.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from gateway.errors import StoreUnavailable

APPLICATION_ID = 0x47575231
"""Marks the file as ours (``PRAGMA application_id``)."""

_TABLES = (
    """
    CREATE TABLE revisions (
        number INTEGER PRIMARY KEY,
        at REAL NOT NULL,
        author TEXT NOT NULL,
        reason TEXT
    )
    """,
    # value stands last: whoever reads the columns before it never touches the pages of a large document.
    """
    CREATE TABLE changes (
        seq INTEGER PRIMARY KEY,
        revision INTEGER NOT NULL REFERENCES revisions (number),
        "group" TEXT NOT NULL,
        kind TEXT NOT NULL,
        id TEXT NOT NULL,
        dialect TEXT NOT NULL,
        replaced INTEGER REFERENCES changes (seq),
        created_seq INTEGER NOT NULL,
        created_revision INTEGER NOT NULL,
        created_at INTEGER NOT NULL,
        updated_at INTEGER NOT NULL,
        value TEXT
    )
    """,
    """
    CREATE TABLE current (
        "group" TEXT NOT NULL,
        kind TEXT NOT NULL,
        id TEXT NOT NULL,
        seq INTEGER NOT NULL REFERENCES changes (seq),
        PRIMARY KEY ("group", kind, id)
    ) WITHOUT ROWID
    """,
    'CREATE INDEX changes_by_revision ON changes (revision, kind, "group", id)',
    'CREATE UNIQUE INDEX changes_by_key ON changes ("group", kind, id, revision)',
)


def _create(connection: sqlite3.Connection) -> None:
    for statement in _TABLES:
        connection.execute(statement)


MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (_create,)
"""Each entry takes a file from the version of its index to the next one."""

VERSION = len(MIGRATIONS)
"""The version this program reads and writes (``PRAGMA user_version``)."""


def version_of(connection: sqlite3.Connection, path: str) -> int:
    """
    Look at a file before anything is written to it.

    Returns:
        Its version; 0 for a file without anything in it.
    Raises:
        StoreUnavailable: it is not a gateway's database, or a newer gateway's.
    """
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application_id == version == tables == 0:
        return 0
    if application_id != APPLICATION_ID or version <= 0:
        raise StoreUnavailable(
            f"{path} is the database of another program; name a file of its own for the gateway"
        )
    if version > VERSION:
        raise StoreUnavailable(
            f"{path} was written by a newer gateway (schema {version}, this one knows {VERSION}); "
            "start that release, or restore a backup from before the upgrade"
        )
    return int(version)


def migrate(connection: sqlite3.Connection, version: int) -> None:
    """
    Bring a file from *version* to ``VERSION``.

    Call it within a transaction: SQLite's table changes and pragmas used here roll back.
    """
    for step in MIGRATIONS[version:]:
        step(connection)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
