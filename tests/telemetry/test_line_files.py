"""Tests for gateway.telemetry.line_files."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from gateway.telemetry.line_files import PluginFiles


class PluginFilesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.files = PluginFiles()
        self.addCleanup(self.files.close)
        self.path = Path(self.mktemp())

    def test_lines(self) -> None:
        """Lines are appended; a path is opened once, however many plugins write there."""
        file = self.files.open("file-logger", str(self.path))
        self.assertFalse(self.path.exists())
        self.assertIs(self.files.open("file-logger", str(self.path)), file)
        file.write(b"one")
        file.write(b"two")
        self.assertTrue(file.writer.drain(30))
        self.assertEqual(self.path.read_bytes(), b"one\ntwo\n")

    def test_rotation(self) -> None:
        """A renamed file is noticed, with a word or without."""
        file = self.files.open("file-logger", str(self.path))
        for number, told in enumerate((False, True)):
            file.write(b"%d" % number)
            self.assertTrue(file.writer.drain(30))
            self.path.rename(f"{self.path}.{number}")
            if told:
                self.files.reopen()
        file.write(b"new")
        self.assertTrue(file.writer.drain(30))
        self.assertEqual(self.path.read_bytes(), b"new\n")
        self.assertEqual(Path(f"{self.path}.1").read_bytes(), b"1\n")

    def test_lost(self) -> None:
        """What cannot be written, or has no room, is counted; nobody who writes sees an error."""
        bad = self.files.open("file-logger", str(self.path / "no" / "such"))
        bad.write(b"x")
        self.assertTrue(bad.writer.drain(30))
        good = self.files.open("file-logger", str(self.path))
        good.write(b"x" * (4 << 20))
        self.assertEqual(
            sorted(self.files.losses()),
            sorted([["file-logger", bad.path, 1], ["file-logger", good.path, 1]]),
        )
