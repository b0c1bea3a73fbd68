"""Servers as child processes pinned to one core, and the CPU time their whole process tree has used."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

START_S = 60.0


def family(pid: int) -> list[int]:
    """*pid* and everything that descends from it."""
    found = [pid]
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            for child in tasks.read_text().split():
                found += family(int(child))
        except OSError:
            pass  # It ended while we looked.
    return found


def cpu_seconds(pid: int) -> float:
    """CPU time of the process tree so far, from the scheduler's own count (nanoseconds)."""
    total = 0
    for member in family(pid):
        for task in Path(f"/proc/{member}/task").glob("*/schedstat"):
            try:
                total += int(task.read_text().split()[0])
            except OSError:
                pass
    return total / 1e9


def memory_mb(pid: int) -> float:
    """Memory of the process tree in MB, shared pages counted in part (Pss)."""
    total = 0
    for member in family(pid):
        try:
            for line in Path(f"/proc/{member}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
        except OSError:
            pass
    return total / 1024


def private_mb(pid: int) -> float:
    """Memory in user space that belongs to the process tree alone, in MB: not the kernel's socket buffers."""
    total = 0
    for member in family(pid):
        try:
            for line in Path(f"/proc/{member}/smaps_rollup").read_text().splitlines():
                if line.startswith(("Private_Clean:", "Private_Dirty:")):
                    total += int(line.split()[1])
        except OSError:
            pass
    return total / 1024


def free_port() -> int:
    """A port nobody listens on at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


class Server:
    """
    A server under measurement.

    Attributes:
        name: For the tables. port: Where it takes requests on loopback; tls_port: over TLS, 0 for nowhere.
    """

    def __init__(
        self,
        name: str,
        command: list[str],
        port: int,
        *,
        core: int | None,
        directory: Path,
        tls_port: int = 0,
        environ: dict[str, str] | None = None,
    ) -> None:
        self.name = name
        self.port = port
        self.tls_port = tls_port
        self._command = command if core is None else ["taskset", "-c", str(core), *command]
        self._directory = directory
        self._environ = {**os.environ, **(environ or {})}
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    def start(self) -> Server:
        """Start it, and return once it takes connections."""
        log = (self._directory / f"{self.name}.log").open("wb")
        self._child = subprocess.Popen(
            self._command,
            cwd=self._directory,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        log.close()
        deadline = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                if self._child.poll() is not None or time.monotonic() > deadline:
                    text = (self._directory / f"{self.name}.log").read_text(errors="replace")
                    raise RuntimeError(f"{self.name} did not start:\n{text[-2000:]}") from None
                time.sleep(0.05)

    def stop(self) -> None:
        """End the processes that descend from ours, and wait."""
        if self._child is None:
            return
        members = family(self._child.pid)
        self._child.terminate()
        try:
            self._child.wait(5)
        except subprocess.TimeoutExpired:
            for member in members:
                try:
                    if os.getpgid(member) == self._child.pid:
                        os.kill(member, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self._child.wait(5)
