"""SQLite's errors in words that say what to do."""

from __future__ import annotations

import sqlite3

_LOCKED = "another program keeps it locked (a backup, a sqlite3 shell?); end that and try again"
_READ_ONLY = "it cannot be written; check owner and mode of the file and of its directory"
_ADVICE = {
    sqlite3.SQLITE_FULL: "the disk is full; free some space and try again",
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_PERM: _READ_ONLY,
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; check that its directory exists and may be written to",
    sqlite3.SQLITE_NOTADB: "it is not a SQLite database; name another file, or restore a backup",
    sqlite3.SQLITE_CORRUPT: (
        "it is damaged; stop the gateway and restore a backup, or salvage it with sqlite3's .recover"
    ),
    sqlite3.SQLITE_IOERR: "the disk reports an error; check the disk and the system's log",
    sqlite3.SQLITE_TOOBIG: "a document is too large for one row; make it smaller",
    sqlite3.SQLITE_NOMEM: "there is no memory left",
}


def explain(path: str, error: sqlite3.Error) -> str:
    """
    Say what went wrong and what to do about it.

    Args:
        path: The database file. error: What ``sqlite3`` raised.
    Returns:
        One line; it holds no stored data.
    """
    code = getattr(error, "sqlite_errorcode", None)
    advice = None if code is None else _ADVICE.get(code & 0xFF)
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return f"{path}: {advice or error} ({name})"
