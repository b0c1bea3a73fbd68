"""How a file comes to have its tables, and stays readable across releases."""

from __future__ import annotations

import sqlite3

from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import StoreUnavailable
from gateway.store import sqlite_schema
from gateway.store.sqlite_schema import APPLICATION_ID, VERSION, migrate, version_of


class SchemaTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.addCleanup(self.connection.close)

    def shape(self) -> list[tuple[str, str]]:
        return self.connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()

    def test_new_file(self) -> None:
        """An empty file is version 0 and becomes the newest."""
        self.assertEqual(version_of(self.connection, "x"), 0)
        migrate(self.connection, 0)
        self.assertEqual(version_of(self.connection, "x"), VERSION)

    def test_step_by_step(self) -> None:
        """A file of any older version ends up as a new one does."""
        migrate(self.connection, 0)
        new = self.shape()
        for old in range(1, VERSION + 1):
            connection = sqlite3.connect(":memory:", isolation_level=None)
            self.addCleanup(connection.close)
            for step in sqlite_schema.MIGRATIONS[:old]:
                step(connection)
            migrate(connection, old)
            self.connection = connection
            self.assertEqual(self.shape(), new)

    def test_later_migrations(self) -> None:
        """A release that adds a step runs it, and only it, on files from before."""
        migrate(self.connection, 0)
        ran: list[str] = []
        steps = (*sqlite_schema.MIGRATIONS, lambda connection: ran.append("next"))
        self.patch(sqlite_schema, "MIGRATIONS", steps)
        self.patch(sqlite_schema, "VERSION", VERSION + 1)
        migrate(self.connection, version_of(self.connection, "x"))
        self.assertEqual(ran, ["next"])
        self.assertEqual(version_of(self.connection, "x"), VERSION + 1)

    def test_rolls_back(self) -> None:
        """A migration that is cut short leaves the file as it was."""
        self.connection.execute("BEGIN")
        migrate(self.connection, 0)
        self.connection.execute("ROLLBACK")
        self.assertEqual((self.shape(), version_of(self.connection, "x")), ([], 0))

    def test_refused(self) -> None:
        """Files of other programs and of newer gateways are refused, with what to do."""
        for statements, word in (
            (["CREATE TABLE x (y)"], "another program"),
            (["PRAGMA user_version = 1"], "another program"),
            (["PRAGMA application_id = 7"], "another program"),
            ([f"PRAGMA application_id = {APPLICATION_ID}"], "another program"),
            ([f"PRAGMA application_id = {APPLICATION_ID}", "PRAGMA user_version = -1"], "another program"),
            ([f"PRAGMA application_id = {APPLICATION_ID}", "PRAGMA user_version = 77"], "schema 77"),
        ):
            connection = sqlite3.connect(":memory:", isolation_level=None)
            self.addCleanup(connection.close)
            for statement in statements:
                connection.execute(statement)
            error = self.assertRaises(StoreUnavailable, version_of, connection, "/a/gw.db")
            self.assertIn(word, str(error))
            self.assertIn("/a/gw.db", str(error))

    def test_indexes_are_used(self) -> None:
        """Looking up a record's past reads an index, not the whole log."""
        migrate(self.connection, 0)
        for sql in (
            'SELECT revision FROM changes WHERE "group" = 1 AND kind = 2 AND id = 3 AND revision < 9',
            "SELECT 1 FROM changes WHERE revision = 1 AND kind = 2 AND id = 3",
            'SELECT "group", kind, id, max(revision) FROM changes WHERE revision <= 5 '
            'GROUP BY "group", kind, id',
        ):
            plan = str(self.connection.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall())
            self.assertIn("COVERING INDEX changes_by_", plan)
            self.assertNotIn("TEMP B-TREE", plan)
