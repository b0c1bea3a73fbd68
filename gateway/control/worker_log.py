"""A worker's log on its way into the first process's.

The worker writes each event as one JSON text behind a record separator (RFC 7464) to its standard
error. What else comes out there (a crash of the interpreter, a library's print) is logged as it is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from threading import Lock
from typing import Any

from twisted.logger import ILogObserver, Logger, LogLevel, eventAsText
from zope.interface import implementer

MAX_LINE_BYTES = 65_536
"""Of one event; the rest of a longer one is left out."""
_MARK = b"\x1e"


@implementer(ILogObserver)
class PipeObserver:
    """
    Writes events to a pipe (``twisted.logger.ILogObserver``). Never waits: what a full pipe does not
    take is dropped, and counted in the log once there is room.

    Attributes:
        level: Events below it are passed over.
    """

    def __init__(self, descriptor: int) -> None:
        """
        Args:
            descriptor: Is made non-blocking.
        """
        os.set_blocking(descriptor, False)
        self.level: Any = LogLevel.info
        self._descriptor = descriptor
        self._lock = Lock()
        self._dropped = 0
        self._broken = False

    def __call__(self, event: dict[str, Any]) -> None:
        level: Any = event.get("log_level") or LogLevel.info
        if level < self.level:
            return
        text = eventAsText(event, includeTimestamp=False, includeSystem=False)
        name = str(event.get("log_namespace") or event.get("log_system") or "-")
        with self._lock:
            if self._dropped and self._write("warn", __name__, f"{self._dropped} events were dropped here"):
                self._dropped = 0
            if not self._write(level.name, name, text):
                self._dropped += 1

    def _write(self, level: str, name: str, text: str) -> bool:
        longest = MAX_LINE_BYTES // 8
        body = json.dumps([level, name[:200], text[:longest]]).encode()
        line = (b"\n" if self._broken else b"") + _MARK + body + b"\n"
        try:
            written = os.write(self._descriptor, line)
        except OSError:
            return False
        # Half a line: the next begins on a new one, and the reader passes this over.
        self._broken = written < len(line)
        return not self._broken


class PipeReader:
    """Takes what arrives from a worker's standard error, and logs it."""

    def __init__(self, name: Callable[[], str]) -> None:
        """
        Args:
            name: Of the worker, for the beginning of each line.
        """
        self._name = name
        self._rest = b""
        self._skipping = False
        self.last = ""

    def received(self, data: bytes) -> None:
        """More bytes."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if not self._skipping:
                self._line(line)
            self._skipping = False
        if len(self._rest) > MAX_LINE_BYTES:
            if not self._skipping:
                self._line(self._rest[:MAX_LINE_BYTES])
            self._rest, self._skipping = b"", True

    def ended(self) -> None:
        """Nothing follows."""
        if self._rest and not self._skipping:
            self._line(self._rest)
        self._rest = b""

    def _line(self, line: bytes) -> None:
        level, name, text = "warn", "gateway.worker", line.decode("utf-8", "replace").rstrip()
        if line.startswith(_MARK):
            try:
                level, name, text = json.loads(line[1:])
            except ValueError:
                pass
        if not text:
            return
        if level not in _LEVELS or not isinstance(name, str):
            level, name = "warn", "gateway.worker"
        self.last = str(text)[-500:]
        Logger(namespace=name).emit(
            LogLevel.levelWithName(level), "{worker}: {text}", worker=self._name(), text=text
        )


_LEVELS = frozenset(level.name for level in LogLevel.iterconstants())
