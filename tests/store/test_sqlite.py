"""The default store: the contract, in clear and sealed, and what a file brings with it."""

from __future__ import annotations

import os
import pathlib
import resource
import sqlite3
import stat
import threading
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import DeferredList
from twisted.internet.task import deferLater

from gateway.errors import StoreUnavailable
from gateway.model.record import Change
from gateway.store.sealing import Sealer
from gateway.store.sqlite import SQLiteStore
from gateway.store.sqlite_log import Database, Resealed
from tests.store import contract
from tests.store.contract import drop, put

OLD, NEW = b"o" * 32, b"n" * 32
SECRET = "correct-horse-battery-staple"


def sealer(*keys: bytes) -> Sealer:
    return Sealer(keys, lambda plugin: ("secret",) if plugin == "jwt-auth" else ())


def credential(secret: str = SECRET, **more: Any) -> Change:
    settings = {"key": "ann", "secret": secret}
    return Change("g", "credential", "ann/key", {"name": "key", "plugins": {"jwt-auth": settings}, **more})


class Kit(contract.StoreTestCase):
    """Stores in files."""

    keys: tuple[bytes, ...] = ()

    def path(self) -> str:
        return os.path.abspath(os.path.join(self.mktemp(), "gateway.db"))

    def store_at(self, path: str, *keys: bytes, **more: Any) -> SQLiteStore:
        return SQLiteStore(path, reactor, sealer(*(keys or self.keys)), **more)  # type: ignore[arg-type]

    def make(self) -> SQLiteStore:
        return self.store_at(self.path())

    def again(self, store: SQLiteStore) -> SQLiteStore:
        return self.store_at(store._database.path)

    async def opened_at(self, path: str, *keys: bytes, **more: Any) -> SQLiteStore:
        store = self.store_at(path, *keys, **more)
        await store.open()
        self.addCleanup(store.close)
        return store

    def files(self, path: str) -> dict[str, bytes]:
        """Every file beside the database, by name."""
        return {file.name: file.read_bytes() for file in pathlib.Path(path).parent.iterdir()}


class SQLiteStoreTests(contract.StoreContract, Kit):
    """Every promise of a store, without encryption."""


class SealedSQLiteStoreTests(contract.StoreContract, Kit):
    """Every promise of a store, with encryption."""

    keys = (OLD,)


class SecretTests(Kit):
    """Secrets are never on the disk, and always in what is read."""

    keys = (OLD,)

    async def test_no_file_holds_the_secret(self) -> None:
        """Neither the database nor its log holds a secret, while open, once closed, or once replaced."""
        path = self.path()
        store = await self.opened_at(path)
        await self.commit(store, credential())
        await self.commit(store, credential(desc="changed"))
        await self.commit(store, put("u", {"tls": {"client_key": SECRET}}, kind="upstream"))
        await self.commit(store, put("c", {"cert": "pem", "key": SECRET, "keys": [SECRET]}, kind="ssl"))
        names = set(self.files(path))
        self.assertEqual(names, {"gateway.db", "gateway.db-wal", "gateway.db-shm", "gateway.db.lock"})
        self.assertIn(b"changed", b"".join(self.files(path).values()), "the search looks in the wrong place")
        self.assertNotIn(SECRET.encode(), b"".join(self.files(path).values()))
        await self.commit(store, drop("ann/key", kind="credential"))
        await store.close()
        files = self.files(path)
        self.assertIn(b"changed", files["gateway.db"])
        self.assertNotIn(SECRET.encode(), b"".join(files.values()))

    async def test_without_keys_it_is_there(self) -> None:
        """The search for the secret finds one that is not encrypted."""
        path = self.path()
        store = SQLiteStore(path, reactor)  # type: ignore[arg-type]
        await store.open()
        self.addCleanup(store.close)
        await self.commit(store, credential())
        self.assertIn(SECRET.encode(), b"".join(self.files(path).values()))

    async def test_secrets_come_back_in_clear(self) -> None:
        """View, history, the record before and past views hold the secret as it was written."""
        store = await self.opened()
        await self.commit(store, credential())
        answer = await self.commit(store, credential())
        view = await store.load()
        await self.commit(store, drop("ann/key", kind="credential"))
        store = await self.restarted(store)
        past = await store.as_of(2)
        told = await store.history()
        for value in (
            answer.changes[0].value,
            answer.before[0].value,
            view.records[0].value,
            past.records[0].value,
            told[0].before[0].value,
            told[1].changes[0].value,
        ):
            self.assertEqual(value, credential().value)

    async def test_rotation(self) -> None:
        """With a new key on top old secrets still open, and new ones need the new key only."""
        path = self.path()
        store = await self.opened_at(path, OLD)
        await self.commit(store, credential("the first"))
        await store.close()
        store = await self.opened_at(path, NEW, OLD)
        self.assertEqual((await store.load()).records[0].value, credential("the first").value)
        await self.commit(store, credential("the second"))
        await store.close()
        store = await self.opened_at(path, NEW)
        self.assertEqual((await store.load()).records[0].value, credential("the second").value)
        self.assertEqual(store.damaged, ())

    async def test_reseal(self) -> None:
        """Resealing moves every secret, past ones too, to the current key; nothing old stays in the file."""
        path = self.path()
        store = await self.opened_at(path, OLD)
        for n in range(3):
            await self.commit(store, credential(f"secret {n}"), put("r", {"n": n}))
        await self.commit(store, drop("ann/key", kind="credential"), put("u", {"tls": {"client_key": "k"}}))
        await store.close()
        old_id = b"$sealed$v1$" + next(iter(sealer(OLD)._ciphers)).encode()
        self.assertIn(old_id, self.files(path)["gateway.db"])
        store = await self.opened_at(path, NEW, OLD)
        told = await store.history()
        self.assertEqual(await store.reseal(), Resealed(rewritten=4, unreadable=0))
        self.assertEqual(await store.reseal(), Resealed(rewritten=0, unreadable=0))
        self.assertEqual(await store.history(), told)
        await store.close()
        self.assertNotIn(old_id, b"".join(self.files(path).values()))
        store = await self.opened_at(path, NEW)
        self.assertEqual(await store.history(), told)

    async def test_reseal_encrypts_what_was_in_clear(self) -> None:
        """Secrets written before there was a key are encrypted by resealing."""
        path = self.path()
        store = SQLiteStore(path, reactor)  # type: ignore[arg-type]
        await store.open()
        await self.commit(store, credential())
        await store.close()
        store = await self.opened_at(path, NEW)
        self.assertEqual((await store.load()).records[0].value, credential().value)
        self.assertEqual((await store.reseal()).rewritten, 1)
        await store.close()
        self.assertNotIn(SECRET.encode(), b"".join(self.files(path).values()))

    async def test_lost_key(self) -> None:
        """A record whose key is lost is named and leaves the others alone; the key's return heals it."""
        path = self.path()
        store = await self.opened_at(path, OLD)
        await self.commit(store, put("a"), credential(), put("z"))
        await store.close()
        store = await self.opened_at(path, NEW)
        view = await store.load()
        self.assertEqual(store.damaged, (("g", "credential", "ann/key"),))
        self.assertEqual([record.id for record in view.records], ["a", "ann/key", "z"])
        damaged = view.records[1].value
        self.assertEqual(damaged["plugins"]["jwt-auth"]["key"], "ann")
        self.assertTrue(damaged["plugins"]["jwt-auth"]["secret"].startswith("$sealed$v1$"))
        self.assertEqual((await store.reseal()).unreadable, 1)
        # Somebody changes another member of the record: it stays damaged, and can still be healed.
        await self.commit(store, Change("g", "credential", "ann/key", {**damaged, "desc": "new"}))
        self.assertEqual(store.damaged, (("g", "credential", "ann/key"),))
        await store.close()
        store = await self.opened_at(path, NEW, OLD)
        self.assertEqual((await store.load()).records[1].value, credential(desc="new").value)
        self.assertEqual(store.damaged, ())

    async def test_new_secret_heals(self) -> None:
        """Writing a damaged record anew with a secret of its own, or removing it, ends the damage."""
        path = self.path()
        store = await self.opened_at(path, OLD)
        await self.commit(store, credential(), put("u", {"tls": {"client_key": "k"}}))
        await store.close()
        store = await self.opened_at(path, NEW)
        await store.load()
        self.assertEqual(len(store.damaged), 2)
        await self.commit(store, credential("fresh"))
        self.assertEqual(store.damaged, (("g", "route", "u"),))
        await self.commit(store, drop("u"))
        self.assertEqual(store.damaged, ())

    async def test_moved_ciphertext(self) -> None:
        """Sealed text that somebody copies to another record in the file does not open there."""
        path = self.path()
        store = await self.opened_at(path, OLD)
        other = Change("g", "credential", "bob/key", credential("bob's").value)
        await self.commit(store, credential(), other)
        await store.close()
        with sqlite3.connect(path) as connection:
            connection.execute(
                "UPDATE changes SET value = (SELECT value FROM changes WHERE id = 'ann/key')"
                " WHERE id = 'bob/key'"
            )
        connection.close()
        store = await self.opened_at(path, OLD)
        view = await store.load()
        self.assertEqual(store.damaged, (("g", "credential", "bob/key"),))
        self.assertEqual(view.records[0].value, credential().value)
        self.assertNotIn(SECRET, repr(view.records[1].value))

    async def test_unreadable_document(self) -> None:
        """A record whose text is garbage is loaded empty and named; the others are whole."""
        path = self.path()
        store = await self.opened_at(path)
        await self.commit(store, put("a"), put("b"))
        await store.close()
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE changes SET value = '{\"name' WHERE id = 'a'")
        connection.close()
        store = await self.opened_at(path)
        self.assertEqual([dict(r.value) for r in (await store.load()).records], [{}, {"name": "b"}])
        self.assertEqual(store.damaged, (("g", "route", "a"),))


class FileTests(Kit):
    """Files, their modes, and who may use them."""

    async def test_modes(self) -> None:
        """The directory and every file in it are the owner's alone, whatever the umask allows."""
        self.addCleanup(os.umask, os.umask(0))
        path = os.path.join(self.mktemp(), "a", "b", "gateway.db")
        store = await self.opened_at(path)
        await self.commit(store, put("a"))
        folder = pathlib.Path(path).parent
        self.assertEqual(stat.S_IMODE(folder.stat().st_mode), 0o700)
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}
        self.assertEqual(len(modes), 4)
        self.assertEqual(set(modes.values()), {0o600}, modes)

    async def test_closed_store_is_one_file(self) -> None:
        """After close the database file alone holds everything, so copying it is a backup."""
        path = self.path()
        store = await self.opened_at(path)
        await self.commit(store, put("a"))
        await store.close()
        self.assertEqual(set(self.files(path)), {"gateway.db", "gateway.db.lock"})

    async def test_one_gateway_a_file(self) -> None:
        """A second gateway on the same file is told who has it, also by another name of the file."""
        path = self.path()
        store = await self.opened_at(path)
        link = self.mktemp()
        os.symlink(path, link)
        for name in (path, link, os.path.relpath(path)):
            error = await self.refused(StoreUnavailable, self.store_at(name).open())
            self.assertIn(f"process {os.getpid()} on ", str(error))
            self.assertIn("another gateway", str(error))
        self.assertEqual((await self.commit(store, put("a"))).number, 1)
        await store.close()
        store = await self.opened_at(path)
        self.assertEqual((await store.load()).revision, 1)

    async def test_foreign_file(self) -> None:
        """Another program's database is refused and left as it is."""
        path = self.path()
        os.makedirs(os.path.dirname(path))
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE mine (x)")
        connection.close()
        content = self.files(path)["gateway.db"]
        error = await self.refused(StoreUnavailable, self.store_at(path).open())
        self.assertIn("another program", str(error))
        self.assertEqual(self.files(path)["gateway.db"], content)

    async def test_newer_file(self) -> None:
        """A newer gateway's database is refused, with what to do, and left as it is."""
        path = self.path()
        store = await self.opened_at(path)
        await store.close()
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA user_version = 99")
        connection.close()
        content = self.files(path)["gateway.db"]
        error = await self.refused(StoreUnavailable, self.store_at(path).open())
        self.assertIn("newer gateway (schema 99", str(error))
        self.assertEqual(self.files(path)["gateway.db"], content)

    async def test_not_a_database(self) -> None:
        """A file that is no database is refused and left as it is."""
        for content in (b"hello\n", b"not a database " * 1000):
            path = self.path()
            os.makedirs(os.path.dirname(path))
            pathlib.Path(path).write_bytes(content)
            error = await self.refused(StoreUnavailable, self.store_at(path).open())
            self.assertIn("not a SQLite database", str(error))
            self.assertEqual(self.files(path)["gateway.db"], content)

    async def test_places_that_cannot_be(self) -> None:
        """A directory that cannot be made, or one in place of the file, is told with what to check."""
        file = self.mktemp()
        pathlib.Path(file).write_text("")
        folder = self.mktemp()
        os.mkdir(folder)
        for path in (os.path.join(file, "gateway.db"), "/proc/no/gateway.db", folder):
            error = await self.refused(StoreUnavailable, self.store_at(path).open())
            self.assertIn(path, str(error))
            self.assertIn("check", str(error))

    async def test_open_can_be_tried_again(self) -> None:
        """A store that could not be opened can be, once the reason is gone."""
        path = self.path()
        first = await self.opened_at(path)
        second = self.store_at(path)
        await self.refused(StoreUnavailable, second.open())
        await first.close()
        await second.open()
        self.addCleanup(second.close)
        self.assertEqual((await self.commit(second, put("a"))).number, 1)

    async def test_file_taken_away(self) -> None:
        """A commit to a file that was removed or replaced is refused instead of being lost."""
        path = self.path()
        store = await self.opened_at(path)
        await self.commit(store, put("a"))
        os.rename(path, path + ".away")
        error = await self.refused(StoreUnavailable, self.commit(store, put("b")))
        self.assertIn("removed or replaced", str(error))
        pathlib.Path(path).write_bytes(b"")
        await self.refused(StoreUnavailable, self.commit(store, put("b")))
        os.rename(path + ".away", path)
        self.assertEqual((await self.commit(store, put("b"))).number, 2)


class Hooked(SQLiteStore):
    """A store whose connections a test prepares."""

    def __init__(self, path: str, prepare: Callable[[sqlite3.Connection], object]) -> None:
        self.prepare = prepare
        super().__init__(path, reactor)  # type: ignore[arg-type]

    def _make_database(self, path: str, sealer: Sealer, busy_timeout_s: float) -> Database:
        prepare = self.prepare

        class Prepared(Database):
            def connect(self) -> sqlite3.Connection:
                connection = super().connect()
                prepare(connection)
                return connection

        return Prepared(path, sealer, busy_timeout_s=busy_timeout_s)


class TroubleTests(Kit):
    """What goes wrong on a disk is told in words, and does not end the store."""

    async def test_full_disk(self) -> None:
        """On a full disk nothing is written and the text says so; with space again the store goes on."""
        made: list[sqlite3.Connection] = []
        store = Hooked(self.path(), made.append)
        await store.open()
        self.addCleanup(store.close)
        await self.commit(store, put("a"))
        view = await store.load()
        full = put("b", {"x": "y" * 200_000})
        await store._call(lambda: made[-1].execute("PRAGMA max_page_count = 20"))
        error = await self.refused(StoreUnavailable, self.commit(store, put("a", {"n": 2}), full))
        self.assertIn("the disk is full", str(error))
        self.assertEqual(await store.load(), view)
        await store._call(lambda: made[-1].execute("PRAGMA max_page_count = 100000"))
        self.assertEqual((await self.commit(store, full)).number, 2)

    async def test_writes_that_fail(self) -> None:
        """When the system refuses to write to the file, nothing is half done, and the store goes on after."""
        path = self.path()
        store = await self.opened_at(path)
        await self.commit(store, put("a"))
        view = await store.load()
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize(path + "-wal") + 10_000, hard))
        try:
            waiting = self.commit(store, put("a", {"n": 2}), put("b", {"x": "y" * 500_000}))
            error = await self.refused(StoreUnavailable, waiting)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        self.assertIn(path, str(error))
        self.assertEqual(await store.load(), view)
        self.assertEqual((await self.commit(store, put("b"))).number, 2)
        store = await self.restarted(store)
        self.assertEqual(len((await store.load()).records), 2)

    async def test_locked_by_another_program(self) -> None:
        """Another program's lock is waited for, but not for ever."""
        path = self.path()
        store = await self.opened_at(path, busy_timeout_s=0.05)
        other = sqlite3.connect(path, isolation_level=None)
        self.addCleanup(other.close)
        other.execute("BEGIN IMMEDIATE")
        error = await self.refused(StoreUnavailable, self.commit(store, put("a")))
        self.assertIn("another program keeps it locked", str(error))
        self.assertEqual((await store.load()).revision, 0)
        other.execute("ROLLBACK")
        self.assertEqual((await self.commit(store, put("a"))).number, 1)

    async def test_short_lock_is_waited_out(self) -> None:
        """A lock that is let go of in time costs a moment, not the commit."""
        path = self.path()
        store = await self.opened_at(path, busy_timeout_s=60)
        other = sqlite3.connect(path, isolation_level=None)
        self.addCleanup(other.close)
        other.execute("BEGIN IMMEDIATE")
        waiting = self.commit_soon(store, put("a"))
        # The reactor turns meanwhile: only the store's thread waits.
        await deferLater(reactor, 0.05, lambda: None)  # type: ignore[arg-type]
        self.assertNoResult(waiting)
        other.execute("ROLLBACK")
        self.assertEqual((await waiting).number, 1)

    async def test_read_only(self) -> None:
        """A file that must not be written is told as such; reading goes on."""
        path = self.path()
        store = await self.opened_at(path)
        await self.commit(store, put("a"))
        await store.close()
        store = Hooked(path, lambda connection: connection.execute("PRAGMA query_only = ON"))
        await store.open()
        self.addCleanup(store.close)
        error = await self.refused(StoreUnavailable, self.commit(store, put("b")))
        self.assertIn("cannot be written", str(error))
        self.assertEqual([record.id for record in (await store.load()).records], ["a"])

    async def test_damaged_file(self) -> None:
        """A damaged file is told as such, with the way out."""
        path = self.path()
        store = await self.opened_at(path)
        for n in range(50):
            await self.commit(store, put(f"r{n}", {"x": "y" * 3000}))
        await store.close()
        size = os.path.getsize(path)
        with open(path, "r+b") as file:
            file.seek(4096)
            file.write(b"\xa5" * (size - 4096))

        async def use() -> None:
            await (await self.opened_at(path)).load()

        error = await self.refused(StoreUnavailable, use())
        self.assertIn("damaged", str(error))
        self.assertIn("restore a backup", str(error))

    async def test_lost_connection_is_replaced(self) -> None:
        """If even taking back fails, the next call starts on a fresh connection."""
        made: list[sqlite3.Connection] = []
        store = Hooked(self.path(), made.append)
        await store.open()
        self.addCleanup(store.close)
        await self.commit(store, put("a"))

        def deny_rollback(action: int, first: object, *_: object) -> int:
            if action == sqlite3.SQLITE_INSERT or (action, first) == (sqlite3.SQLITE_TRANSACTION, "ROLLBACK"):
                return sqlite3.SQLITE_DENY
            return sqlite3.SQLITE_OK

        await store._call(lambda: made[-1].set_authorizer(deny_rollback))
        await self.refused(StoreUnavailable, self.commit(store, put("b")))
        self.assertEqual((await self.commit(store, put("b"))).number, 2)
        self.assertEqual(len(made), 2)

    async def test_too_many_calls(self) -> None:
        """Calls beyond the limit are refused at once; those within are answered."""
        store = await self.opened_at(self.path(), max_waiting=5)
        results = await DeferredList(
            [self.commit_soon(store, put(f"r{n}")) for n in range(8)], consumeErrors=True
        )
        self.assertEqual([ok for ok, _ in results], [True] * 5 + [False] * 3)
        results[-1][1].trap(StoreUnavailable)
        self.assertEqual((await store.load()).revision, 5)

    async def test_one_thread(self) -> None:
        """All work on the file is done by one thread, which is not the reactor's and ends with the store."""
        seen: set[int] = set()
        store = Hooked(
            self.path(),
            lambda connection: connection.set_trace_callback(lambda _: seen.add(threading.get_ident())),
        )
        await store.open()
        await DeferredList([self.commit_soon(store, put("a")) for _ in range(20)])
        await store.load()
        await store.history()
        await store.close()
        self.assertEqual(len(seen), 1)
        self.assertNotIn(threading.get_ident(), seen)
        self.assertFalse(seen & {thread.ident for thread in threading.enumerate()})
