"""Tests for gateway.counters.table."""

from __future__ import annotations

import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from gateway.counters.table import ENDS, VALUES, WAYS, SharedMemory, Table
from gateway.interfaces import CountersFailed

HOLDER = """
import fcntl, sys
fcntl.lockf(int(sys.argv[1]), fcntl.LOCK_EX, 1, 7)
print("held", flush=True)
sys.stdin.read()
"""


def table(rows: int = WAYS, row_words: int = 5) -> Table:
    memory = SharedMemory.make(2 + rows * row_words)
    return Table(memory, start=2, rows=rows, row_words=row_words, secret=b"s" * 32, lock_start=0, shared=True)


class TableTests(SynchronousTestCase):
    def test_rows(self) -> None:
        """A key has the same row each time, and starts with zeros."""
        held = table(4 * WAYS)
        places = {}
        for number in range(WAYS):
            with held.row(f"k{number}", 0.0) as place:
                self.assertEqual(held.words[place + VALUES], 0)
                held.words[place + VALUES] = number + 1
                places[f"k{number}"] = place
        self.assertEqual(len(set(places.values())), WAYS)
        for number in range(WAYS):
            with held.row(f"k{number}", 0.0) as place:
                self.assertEqual((place, held.words[place + VALUES]), (places[f"k{number}"], number + 1))

    def test_soonest_first(self) -> None:
        """Where there is no room the row goes that ends soonest, and its next owner finds zeros."""
        held = table()
        for number in range(WAYS):
            with held.row(f"k{number}", 0.0) as place:
                held.floats[place + ENDS] = 100.0 + (number - 5) ** 2
                held.words[place + VALUES] = 9
        with held.row("new", 50.0) as place:
            self.assertEqual((held.words[place + VALUES], held.floats[place + ENDS]), (0, 0.0))
            held.floats[place + ENDS] = 1000.0
        self.assertEqual(held.evictions, 1)
        found = []
        for number in (4, 6, 5):
            with held.row(f"k{number}", 200.0) as place:
                found.append(held.words[place + VALUES])
        self.assertEqual(found, [9, 9, 0])

    def test_look(self) -> None:
        """A row is copied as it is; a key without one gets none, and none is remembered."""
        held = table()
        with held.row("k", 0.0) as place:
            held.words[place + VALUES] = 9
        before = held.words.tobytes(), dict(held.known)
        row = held.look("k")
        assert row is not None
        self.assertEqual(row[VALUES], 9)
        self.assertIsNone(held.look("other"))
        self.assertEqual((held.words.tobytes(), dict(held.known)), before)


class LockTests(SynchronousTestCase):
    """Locks between processes."""

    def setUp(self) -> None:
        self.memory = SharedMemory.make(8)
        self.holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(self.memory.fd)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[self.memory.fd],
        )
        self.addCleanup(self.end)
        assert self.holder.stdout is not None
        self.assertEqual(self.holder.stdout.readline(), b"held\n")

    def end(self) -> None:
        self.holder.kill()
        self.holder.communicate()

    def test_held(self) -> None:
        """A lock that another process does not give back is not waited for beyond the limit."""
        self.assertFalse(self.memory.try_lock(7))
        error = self.assertRaises(CountersFailed, self.memory.lock, 7, 0.05)
        self.assertIn("does not go on", str(error))
        self.memory.lock(8, 0.05)

    def test_dead(self) -> None:
        """A process that is killed holds no lock."""
        self.end()
        self.memory.lock(7)
        self.memory.unlock(7)
