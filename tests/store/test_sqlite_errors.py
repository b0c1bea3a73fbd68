"""SQLite's errors in words that say what to do."""

from __future__ import annotations

import sqlite3

from twisted.trial.unittest import SynchronousTestCase

from gateway.store.sqlite_errors import explain


def error(code: int | None, name: str = "SQLITE_X") -> sqlite3.Error:
    made = sqlite3.OperationalError("raw words")
    if code is not None:
        made.sqlite_errorcode = code  # type: ignore[attr-defined]
        made.sqlite_errorname = name  # type: ignore[attr-defined]
    return made


class ExplainTests(SynchronousTestCase):
    def test_known(self) -> None:
        """The troubles an operator meets come with advice and with SQLite's own name for them."""
        for code, word in (
            (sqlite3.SQLITE_FULL, "free some space"),
            (sqlite3.SQLITE_BUSY, "another program"),
            (sqlite3.SQLITE_READONLY, "owner and mode"),
            (sqlite3.SQLITE_CANTOPEN, "directory exists"),
            (sqlite3.SQLITE_CORRUPT, "restore a backup"),
            (sqlite3.SQLITE_NOTADB, "not a SQLite database"),
            (sqlite3.SQLITE_IOERR, "check the disk"),
        ):
            text = explain("/a/gw.db", error(code, "SQLITE_NAME"))
            self.assertIn(word, text)
            self.assertTrue(text.startswith("/a/gw.db: "))
            self.assertIn("SQLITE_NAME", text)

    def test_extended_codes(self) -> None:
        """A code that tells more still gets the advice of its family."""
        self.assertIn("check the disk", explain("x", error(sqlite3.SQLITE_IOERR_FSYNC)))

    def test_unknown(self) -> None:
        """Anything else is told in SQLite's words."""
        self.assertEqual(explain("x", error(None)), "x: raw words (OperationalError)")
        self.assertIn("raw words", explain("x", error(sqlite3.SQLITE_MISMATCH)))
