"""A real Redis for tests: a child process on a port of its own, gone when the test is."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.limits import LIMIT_S
from tests.ports import reserve

_BUS_ABOVE = 10_000
"""The servers of a cluster talk to each other on the port that is so much higher."""


class RedisProcess:
    """
    ``redis-server``, with nothing on disk.

    Attributes:
        port: Where it listens on loopback; the same after a restart.
    """

    def __init__(self, case: Any, *options: str) -> None:
        """
        Args:
            case: The test that ends it: has ``addCleanup``.
            options: More of its command line. The name of a configuration file may be the first.
        """
        if shutil.which("redis-server") is None:
            raise AssertionError("these tests need redis-server (on Debian: apt-get install redis-server)")
        directory = tempfile.mkdtemp(prefix="redis-")
        case.addCleanup(self._remove)
        self._directory = Path(directory)
        self._options = options
        self._child: subprocess.Popen[bytes] | None = None
        self.port = reserve(case, _BUS_ABOVE if "--cluster-enabled" in options else 0)
        self.start()

    def start(self) -> None:
        """Start it, and return once it answers."""
        config = [option for option in self._options[:1] if not option.startswith("--")]
        command = ["redis-server", *config, "--port", str(self.port), "--bind", "127.0.0.1"]
        if "--sentinel" not in self._options:
            command += ["--save", "", "--appendonly", "no"]
        command += ["--dir", str(self._directory), *self._options[len(config) :]]
        with open(self._directory / "log", "ab") as log:
            self._child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        if not self._answers():
            raise AssertionError((self._directory / "log").read_text()[-2000:])

    def _answers(self) -> bool:
        assert self._child is not None
        deadline = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline and self._child.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1) as probe:
                    probe.sendall(b"PING\r\n")
                    if probe.recv(64).startswith((b"+", b"-")):
                        return True
            except OSError:
                time.sleep(0.02)
        return False

    def command(self, *words: str) -> str:
        """What ``redis-cli`` says to a command."""
        done = subprocess.run(
            ["redis-cli", "-p", str(self.port), *words], capture_output=True, timeout=LIMIT_S, check=False
        )
        return done.stdout.decode().strip()

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self._child is not None
        self._child.send_signal(number)

    def kill(self) -> None:
        """kill -9, and wait."""
        if self._child is not None:
            self._child.kill()
            self._child.wait(LIMIT_S)
            self._child = None

    def _remove(self) -> None:
        if self._child is not None:
            self.signal(signal.SIGCONT)
            self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)
