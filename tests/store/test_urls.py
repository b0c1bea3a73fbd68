"""Which store a setting names."""

from __future__ import annotations

import os

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from gateway.store.memory import MemoryStore
from gateway.store.sealing import Sealer
from gateway.store.sqlite import SQLiteStore
from gateway.store.urls import open_store


class URLTests(SynchronousTestCase):
    def open(self, url: str) -> object:
        return open_store(url, MemoryReactorClock(), Sealer((b"k" * 32,), lambda name: ()))

    def test_memory(self) -> None:
        """memory: is the store that forgets."""
        for url in ("memory:", "MEMORY:", " memory: ", "memory://"):
            self.assertIsInstance(self.open(url), MemoryStore)

    def test_sqlite(self) -> None:
        """sqlite: takes a path relative to the working directory, or an absolute one."""
        here = os.path.realpath(".")
        for url, path in (
            ("sqlite:var/gateway.db", f"{here}/var/gateway.db"),
            ("sqlite:gateway.db", f"{here}/gateway.db"),
            ("sqlite:///no/such/gw.db", "/no/such/gw.db"),
            ("SQLite:/no/such/gw.db", "/no/such/gw.db"),
            ("sqlite:/no/a%20b c.db", "/no/a%20b c.db"),
            ("sqlite:C:gw.db", f"{here}/C:gw.db"),
        ):
            store = self.open(url)
            self.assertIsInstance(store, SQLiteStore)
            self.assertEqual(store.describe(), f"SQLite file {path}")  # type: ignore[attr-defined]

    def test_refused(self) -> None:
        """Anything else is refused in words, without repeating what may be a password."""
        for url, word in (
            ("", "named by a URL"),
            ("var/gateway.db", "named by a URL"),
            ("sqlite:", "names no file"),
            ("sqlite:///", "names no file"),
            ("sqlite:var/", "names no file"),
            ("sqlite://var/gateway.db", "three slashes"),
            ("sqlite:a.db?mode=ro", "no options"),
            ("sqlite:a.db#x", "no options"),
            ("sqlite:a\0.db", "no options"),
            ("sqlite::memory:", "use memory:"),
            ("memory:x", "takes no path"),
            ("postgresql://ann:hunter2@db/gw", "'postgresql'"),
            ("etcd://127.0.0.1:2379", "'etcd'"),
        ):
            error = self.assertRaises(ValueError, self.open, url)
            self.assertIn(word, str(error))
            self.assertNotIn("hunter2", str(error))
