"""Files that are never seen half-written."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from gateway.files import write_atomically


class WriteTests(SynchronousTestCase):
    """``write_atomically``."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.path = self.directory / "a"

    def test_replaces(self) -> None:
        """The new content is there, the old one and every helper file are gone."""
        write_atomically(self.path, b"one")
        write_atomically(self.path, b"two")
        self.assertEqual(self.path.read_bytes(), b"two")
        self.assertEqual(os.listdir(self.directory), ["a"])

    def test_mode(self) -> None:
        """The mode asked for holds whatever the umask is; by default only the owner reads."""
        before = os.umask(0o777)
        try:
            write_atomically(self.path, b"one")
            self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
            write_atomically(self.path, b"one", mode=0o644)
        finally:
            os.umask(before)
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o644)

    def test_failure_leaves_nothing_behind(self) -> None:
        """When the file cannot be replaced, the old one stays and no helper file does."""
        self.path.mkdir()
        self.assertRaises(OSError, write_atomically, self.path, b"one")
        self.assertEqual(os.listdir(self.directory), ["a"])
