"""Tests for gateway.telemetry.line_writer; most of what it promises is tested with the access log."""

from __future__ import annotations

import threading
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from gateway.telemetry.line_writer import Lines, LineWriter


class LineWriterTests(SynchronousTestCase):
    def test_later(self) -> None:
        """A file may be opened with its first line, by a thread with a name."""
        path = Path(self.mktemp())
        writer = LineWriter(str(path), name="some-file", later=True)
        self.assertFalse(path.exists())
        writer.take(Lines(b"a\nb\n", 2))
        self.assertTrue(writer.drain(30))
        self.assertIn("some-file", [thread.name for thread in threading.enumerate()])
        self.assertTrue(writer.close(30))
        self.assertEqual((path.read_bytes(), writer.written, writer.lost), (b"a\nb\n", 2, 0))

    def test_now(self) -> None:
        """Or at once, so that a bad path ends the start."""
        self.assertRaises(OSError, LineWriter, str(Path(self.mktemp()) / "no" / "such"))
