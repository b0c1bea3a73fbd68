"""How lines get into the access log."""

from __future__ import annotations

import errno
import os
import stat
import sys
import threading
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gateway.telemetry import access_log as module
from gateway.telemetry import line_writer
from gateway.telemetry.access_log import AccessLog
from gateway.testing.exchanges import exchange

LINE = "GET /a 0.500"
FORMAT = "$request_method $uri $request_time"


class Gate:
    """Stands in front of ``os.write``: holds it up, or lets it fail."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Event()
        self.fail_after: int | None = None

    def write(self, fd: int, data: Any) -> int:
        self.entered.set()
        self.open.wait(30)
        if self.fail_after is None:
            return REAL_WRITE(fd, data)
        part, self.fail_after = data[: self.fail_after], 0
        if len(part):
            return REAL_WRITE(fd, part)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


REAL_WRITE = os.write


class AccessLogTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.path = Path(self.mktemp())

    def log(self, path: str | None = None, **more: Any) -> AccessLog:
        facts = {"flush_s": 3.0, "buffer_bytes": 16384, "clock": self.clock, **more}
        log = AccessLog(str(self.path) if path is None else path, FORMAT, **facts)
        self.addCleanup(log.close)
        return log

    def gate(self) -> Gate:
        gate = Gate()
        self.patch(line_writer.os, "write", gate.write)
        self.addCleanup(gate.open.set)
        return gate

    def write(self, log: AccessLog, count: int = 1, path: str = "/a") -> None:
        for _ in range(count):
            log.write(exchange(target=path, now=self.clock.seconds() - 0.5))

    def lines(self, path: Path | None = None) -> list[str]:
        return (path or self.path).read_text().splitlines()

    def written(self, log: AccessLog) -> list[str]:
        """What is in the file once the writer has nothing to do, without asking it for more."""
        self.assertTrue(log._writer.drain(30))
        return self.lines()


class BatchTests(AccessLogTestCase):
    def test_by_time(self) -> None:
        """Lines are written together, after the time that was set."""
        log = self.log()
        self.write(log)
        self.clock.advance(2)
        self.write(log)
        self.assertEqual(self.written(log), [])
        self.clock.advance(1)
        self.assertEqual(self.written(log), [LINE, LINE])
        self.assertEqual((log.written, log.dropped), (2, 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_by_size(self) -> None:
        """They are written before that if there are many."""
        log = self.log(buffer_bytes=4 * (len(LINE) + 1))
        self.write(log, 3)
        self.assertEqual(self.written(log), [])
        self.write(log)
        self.assertEqual(self.written(log), [LINE] * 4)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_breath(self) -> None:
        """Full batches that come in quick succession are gathered further, for a moment."""
        log = self.log(buffer_bytes=2 * (len(LINE) + 1))
        self.write(log, 2)
        self.assertEqual(self.written(log), [LINE] * 2)
        self.write(log, 6)
        self.assertEqual(self.written(log), [LINE] * 2)
        self.clock.advance(module.BREATH_S)
        self.assertEqual(self.written(log), [LINE] * 8)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clock.advance(1)
        self.write(log, 2)
        self.assertEqual(self.written(log), [LINE] * 10)

    def test_sample(self) -> None:
        """A share of the requests is written; of those that went wrong none is missed."""
        chances = iter([0.0, 0.24, 0.25, 0.9])
        log = self.log(share=0.25, random=lambda: next(chances))
        self.write(log, 4)
        failed = exchange(target="/broken", now=self.clock.seconds())
        failed.status = 502
        log.write(failed)
        log.flush()
        self.assertEqual(self.written(log), [LINE, LINE, "GET /broken 0.000"])
        self.assertEqual(log.dropped, 0)

    def test_at_once(self) -> None:
        """Without a time or a size each line is written when it comes."""
        for more in ({"flush_s": 0.0}, {"buffer_bytes": 0}):
            log = self.log(**more)
            before = len(self.lines())
            self.write(log)
            self.assertEqual(len(self.written(log)), before + 1)

    def test_close(self) -> None:
        """When the gateway stops, what there is is written; later lines are counted as lost."""
        log = self.log()
        self.write(log, 5)
        log.close()
        self.assertEqual(self.lines(), [LINE] * 5)
        self.write(log)
        log.close()
        log.reopen()
        self.assertEqual((self.lines(), log.dropped), ([LINE] * 5, 1))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_appends(self) -> None:
        """What an earlier process has written stays."""
        self.path.write_text("before\n")
        log = self.log()
        self.write(log)
        log.close()
        self.assertEqual(self.lines(), ["before", LINE])

    def test_permissions(self) -> None:
        """Whatever the umask, a new file is for owner and group; one that is there is left alone."""
        self.addCleanup(os.umask, os.umask(0o077))
        self.log()
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o640)
        self.path.chmod(0o600)
        self.log()
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)

    def test_unused(self) -> None:
        """A log that had nothing to write can be closed; the file is there, and not for everybody to read."""
        self.log().close()
        self.assertEqual(self.lines(), [])
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode) & 0o007, 0)


class RotationTests(AccessLogTestCase):
    def moved(self) -> Path:
        old = self.path.with_name("old")
        self.path.rename(old)
        self.addCleanup(old.unlink)
        return old

    def test_reopen(self) -> None:
        """After a rotation by signal, earlier lines are in the old file and later ones in a new one."""
        log = self.log()
        self.write(log, path="/a")
        old = self.moved()
        # The writer would notice by itself; the signal comes before there is anything to write.
        self.patch(log._writer, "_check_name", lambda: None)
        log.reopen()
        self.write(log, path="/b")
        self.assertTrue(log.drain(30))
        self.assertEqual((self.lines(old), self.lines()), ([LINE], ["GET /b 0.500"]))

    def test_moved(self) -> None:
        """A file that was moved away is noticed without a signal: nothing is written to it any more."""
        log = self.log()
        self.write(log)
        self.assertTrue(log.drain(30))
        old = self.moved()
        self.write(log, 2)
        self.assertTrue(log.drain(30))
        self.assertEqual((self.lines(old), self.lines()), ([LINE], [LINE] * 2))

    def test_replaced(self) -> None:
        """So is one in whose place another stands."""
        log = self.log()
        self.write(log)
        self.assertTrue(log.drain(30))
        self.moved()
        self.path.write_text("new\n")
        self.write(log)
        self.assertTrue(log.drain(30))
        self.assertEqual(self.lines(), ["new", LINE])

    def test_no_new_file(self) -> None:
        """As long as no new file can be made lines go to the one that was moved away."""
        log = self.log()
        self.write(log, path="/a")
        self.assertTrue(log.drain(30))
        old = self.moved()
        self.path.mkdir()
        self.write(log, path="/b")
        self.assertTrue(log.drain(30))
        self.path.rmdir()
        self.write(log, path="/c")
        self.assertTrue(log.drain(30))
        self.assertEqual(self.lines(old), [LINE, "GET /b 0.500"])
        self.assertEqual((self.lines(), log.dropped), (["GET /c 0.500"], 0))


class TroubleTests(AccessLogTestCase):
    def errors(self, *parts: str) -> None:
        """The error log has these events and no other."""
        texts = [event["log_format"].format(**event) for event in self.events if "log_format" in event]
        self.assertEqual(len(texts), len(parts), texts)
        for text, part in zip(texts, parts, strict=True):
            self.assertIn(part, text)

    def setUp(self) -> None:
        super().setUp()
        self.events: list[dict[str, Any]] = []
        self.patch(module._log, "observer", self.events.append)

    def test_slow_disk(self) -> None:
        """A disk that hangs holds nobody up: lines wait, then are dropped and counted, then it goes on."""
        gate = self.gate()
        gate.open.clear()
        log = self.log(buffer_bytes=100, waiting_bytes=20 * (len(LINE) + 1))
        self.write(log, 8)
        self.assertTrue(gate.entered.wait(30))
        self.write(log, 92)
        self.assertGreaterEqual(log.dropped, 79)
        self.errors(
            "lost 1 lines: writing does not keep up", "lost 3", "lost 7", "lost 15", "lost 31", "lost 63"
        )
        gate.open.set()
        self.assertTrue(log.drain(30))
        self.write(log)
        self.assertTrue(log.drain(30))
        self.assertEqual(log.written + log.dropped, 101)
        self.assertEqual(self.lines(), [LINE] * log.written)

    def test_full_disk(self) -> None:
        """A full disk costs lines, not requests; with room again the log goes on, on a line of its own."""
        gate = self.gate()
        log = self.log()
        gate.fail_after = len(LINE) + 1 + 4
        self.write(log, 3)
        self.assertTrue(log.drain(30))
        self.assertEqual((log.written, log.dropped), (1, 2))
        log.flush()
        self.errors("lost 2 lines: " + str(self.path))
        gate.fail_after = None
        self.write(log)
        self.assertTrue(log.drain(30))
        self.assertEqual(self.lines(), [LINE, LINE[:4], LINE])
        self.assertEqual((log.written, log.dropped), (2, 2))

    def test_folder_gone(self) -> None:
        """If the file cannot be made anew, lines are lost until it can."""
        folder = Path(self.mktemp())
        folder.mkdir()
        self.path = folder / "log"
        log = self.log()
        self.path.unlink()
        folder.rmdir()
        self.write(log, 2)
        self.assertTrue(log.drain(30))
        self.assertEqual(log.dropped, 2)
        folder.mkdir()
        self.write(log)
        self.assertTrue(log.drain(30))
        self.assertEqual(self.lines(), [LINE])

    def test_closing_a_hanging_log(self) -> None:
        """A disk that hangs does not hold up the end of the gateway for ever."""
        self.patch(module, "CLOSE_TIMEOUT_S", 0.01)
        gate = self.gate()
        gate.open.clear()
        log = self.log()
        self.write(log)
        log.close()
        self.errors("could not be written within 0.01 s")
        gate.open.set()
        assert log._writer._thread is not None
        log._writer._thread.join(30)
        self.assertEqual(self.lines(), [LINE])

    def test_bug(self) -> None:
        """A line that cannot be made is counted and told once; the request does not notice."""
        log = self.log()
        broken: Any = None
        log.write(broken)
        log.write(broken)
        self.assertEqual(log.dropped, 2)
        self.errors("making a line of the access log failed")

    def test_cannot_open(self) -> None:
        """A file that cannot be opened stops the start, and so does a pipe that nobody reads."""
        error = self.assertRaises(OSError, self.log, self.mktemp() + "/no/log")
        self.assertEqual(error.errno, errno.ENOENT)
        pipe = self.mktemp()
        os.mkfifo(pipe)
        self.assertEqual(self.assertRaises(OSError, self.log, pipe).errno, errno.ENXIO)

    def test_unknown_variable(self) -> None:
        """A misspelt variable is told when the gateway starts."""
        log = AccessLog(str(self.path), "$statsu", flush_s=3, buffer_bytes=0, clock=self.clock)
        self.addCleanup(log.close)
        self.errors("$statsu is no variable")


class StandardOutputTests(AccessLogTestCase):
    def test_standard_output(self) -> None:
        """``-`` writes to standard output, which neither rotation nor the end closes."""
        sys.stdout.flush()
        read_end, write_end = os.pipe()
        self.addCleanup(os.close, read_end)
        kept = os.dup(1)
        os.dup2(write_end, 1)
        os.close(write_end)
        try:
            log = self.log("-")
            self.write(log)
            log.reopen()
            self.write(log)
            log.close()
            os.fstat(1)
        finally:
            os.dup2(kept, 1)
            os.close(kept)
        self.assertEqual(os.read(read_end, 1000).decode().splitlines(), [LINE, LINE])

    def test_reader_is_slow(self) -> None:
        """Where standard output does not block, a full pipe is waited for: no line is lost or cut."""
        sys.stdout.flush()
        read_end, write_end = os.pipe()
        os.set_blocking(write_end, False)
        full = 0
        try:
            while True:
                full += os.write(write_end, b"x" * 4096)
        except BlockingIOError:
            pass
        kept = os.dup(1)
        os.dup2(write_end, 1)
        os.close(write_end)
        got = b""
        try:
            log = self.log("-")
            self.write(log, 1000)
            log.flush()
            while not got.endswith((LINE + "\n").encode()) or len(got) < full + 1000 * (len(LINE) + 1):
                got += os.read(read_end, 65536)
            log.close()
        finally:
            os.dup2(kept, 1)
            os.close(kept)
            os.close(read_end)
        self.assertEqual(got[full:].decode(), (LINE + "\n") * 1000)
        self.assertEqual((log.written, log.dropped), (1000, 0))
