"""One holder a lock, and no lock outlives its holder."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

import gateway
from gateway.errors import StoreUnavailable
from gateway.store.lock import FileLock

_HOLD = """
import sys
from gateway.store.lock import FileLock
FileLock(sys.argv[1]).acquire()
print("held", flush=True)
sys.stdin.read()
"""


class FileLockTests(SynchronousTestCase):
    def test_one_holder(self) -> None:
        """While one holds the lock another is told who; once let go of, it can be had."""
        path = self.mktemp()
        first, second = FileLock(path), FileLock(path)
        first.acquire()
        first.acquire()
        error = self.assertRaises(StoreUnavailable, second.acquire)
        self.assertIn(f"process {os.getpid()} on ", str(error))
        self.assertIn(path, str(error))
        first.release()
        first.release()
        second.acquire()
        self.addCleanup(second.release)
        self.assertRaises(StoreUnavailable, first.acquire)

    def test_killed_holder(self) -> None:
        """A holder that is killed leaves no lock behind."""
        path = self.mktemp()
        top = str(pathlib.Path(gateway.__file__).parent.parent)
        child = subprocess.Popen(
            [sys.executable, "-c", _HOLD, path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": top},
        )
        try:
            assert child.stdout is not None
            self.assertEqual(child.stdout.readline(), "held\n")
            lock = FileLock(path)
            error = self.assertRaises(StoreUnavailable, lock.acquire)
            self.assertIn(f"process {child.pid} on ", str(error))
        finally:
            child.kill()
            child.communicate()
        lock.acquire()
        self.addCleanup(lock.release)

    def test_no_place(self) -> None:
        """A lock file that cannot be made is told as such."""
        error = self.assertRaises(StoreUnavailable, FileLock("/proc/no/x.lock").acquire)
        self.assertIn("/proc/no/x.lock cannot be opened", str(error))
