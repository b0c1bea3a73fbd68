"""What is answered survives; what is not is whole or absent. Processes are killed for real."""

from __future__ import annotations

import os
import pathlib
import random
import shutil
import sqlite3
import subprocess
import sys
import threading

from twisted.trial.unittest import SynchronousTestCase

import gateway
from gateway.model.record import Key, Record
from gateway.store.sqlite_log import Database
from tests.limits import LIMIT_S
from tests.store import crash_child
from tests.store.contract import replay

ROUNDS = 15


def start(mode: str, path: str) -> subprocess.Popen[str]:
    top = str(pathlib.Path(gateway.__file__).parent.parent)
    return subprocess.Popen(
        [sys.executable, "-m", "tests.store.crash_child", mode, path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": top},
    )


class CrashTests(SynchronousTestCase):
    """Crashes of the process, and of the machine as far as a file can show one."""

    def check_whole(self, path: str) -> int:
        """
        Open what a crash left; every revision must be whole and the view must be what they make.

        Returns:
            How many revisions there are.
        """
        database = Database(path, crash_child.sealer(), busy_timeout_s=5)
        database.open()
        try:
            view, damaged = database.load()
            self.assertEqual(damaged, ())
            told = database.history(None, None, None, None, view.revision + 10)[::-1]
            self.assertEqual([revision.number for revision in told], list(range(1, view.revision + 1)))
            model: dict[Key, Record] = {}
            for revision in told:
                self.assertEqual(revision.changes, crash_child.changes(revision.number))
                self.assertEqual(len(revision.changes), crash_child.SIZE)
                self.assertEqual(revision.before, tuple(model.get(change.key) for change in revision.changes))
                replay(model, revision)
            found = {record.key: record for record in view.records}
            self.assertEqual(found, model)
            return view.revision
        finally:
            database.close()

    def check_usable(self, path: str) -> None:
        """The next revision can be committed, and SQLite finds nothing wrong with the file."""
        database = crash_child.Doomed(path)
        database.open()
        last = database.load()[0].revision
        database.put(last + 1)
        database.close()
        self.assertEqual(self.check_whole(path), last + 1)
        connection = sqlite3.connect(path)
        try:
            self.assertEqual(connection.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
        finally:
            connection.close()

    def test_killed_at_random_moments(self) -> None:
        """However often the gateway is killed while it writes, no answered commit is lost, none is halved."""
        chance = random.Random()
        path = os.path.join(self.mktemp(), "gateway.db")
        answered = 0
        for _ in range(ROUNDS):
            child = start("commits", path)
            guard = threading.Timer(LIMIT_S, child.kill)
            guard.start()
            try:
                assert child.stdout is not None
                assert child.stderr is not None
                wanted = chance.randint(0, 60)
                for count, line in enumerate(child.stdout):
                    answered = int(line.split()[-1])
                    if count >= wanted:
                        break
                spin = chance.randint(0, 20_000)  # lets the child get anywhere in its next commit
                while spin:
                    spin -= 1
                child.kill()
                # What was printed before the signal arrived counts as answered, too. communicate() would
                # pass over lines that were read ahead.
                rest, errors = child.stdout.read(), child.stderr.read()
                self.assertEqual(errors, "")
                answered = int(([str(answered), *rest.split()])[-1])
            finally:
                guard.cancel()
                child.kill()
                child.wait()
            kept = self.check_whole(path)
            self.assertIn(kept, (answered, answered + 1))
            answered = kept
        self.assertGreater(answered, ROUNDS)
        self.check_usable(path)

    def test_killed_before_every_statement(self) -> None:
        """Killed at any statement of a first start or of a commit, the gateway finds all or nothing of it."""
        folder = self.mktemp()
        os.mkdir(folder)
        child = start("statements", folder)
        output, errors = child.communicate(timeout=LIMIT_S)
        self.assertEqual((child.returncode, errors), (0, ""))
        points = [line.split(" ", 2) for line in output.splitlines()]
        # Each stage is covered from its first statement to the moment before the answer.
        for stage in crash_child.STAGES:
            names = [statement for which, _, statement in points if which == stage]
            self.assertEqual(names[-1], "(answer)")
            self.assertIn("COMMIT", names)
        commit = [statement for which, _, statement in points if which == "commit"]
        self.assertTrue(commit[0].startswith("BEGIN IMMEDIATE"), commit)
        self.assertGreaterEqual(len(commit), 3 * crash_child.SIZE + 5)
        for which, number, statement in points:
            path = os.path.join(folder, f"{which}-{number}.db")
            expected = 0 if which == "opening" else 2 + (statement == "(answer)")
            self.assertEqual(self.check_whole(path), expected, (which, number, statement))
            self.check_usable(path)

    def test_log_cut_anywhere(self) -> None:
        """When a power cut leaves the beginning of the write-ahead log, the revisions in it remain whole."""
        source = os.path.join(self.mktemp(), "gateway.db")
        database = crash_child.Doomed(source)
        database.open()
        self.addCleanup(database.close)
        sizes = [os.path.getsize(source + "-wal")]
        for number in range(1, 6):
            database.put(number)
            sizes.append(os.path.getsize(source + "-wal"))
        log = pathlib.Path(source + "-wal").read_bytes()
        page = 4096 + 24
        cuts = {0, 16, 31, 32, *sizes}
        for frame in range(32, len(log) + 1, page):
            cuts.update({frame, frame + 1, frame + 24, frame + page // 2, frame + page - 1})
        target = os.path.join(self.mktemp(), "gateway.db")
        os.mkdir(os.path.dirname(target))
        last = -1
        for cut in sorted(cut for cut in cuts if cut <= len(log)):
            for tail in (b"", b"\xa5" * 9000):
                for name in ("", "-wal", "-shm"):
                    pathlib.Path(target + name).unlink(missing_ok=True)
                shutil.copyfile(source, target)
                pathlib.Path(target + "-wal").write_bytes(log[:cut] + tail)
                kept = self.check_whole(target)
                self.assertEqual(kept, max([0, *(n for n, size in enumerate(sizes) if size <= cut)]), cut)
            self.assertGreaterEqual(kept, last)
            last = kept
        self.assertEqual(last, 5)
        self.check_usable(target)
