"""Files of lines that plugins write (``gateway.interfaces.LineFiles``): one thread for each path."""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger

from gateway.telemetry.line_writer import Lines, LineWriter

_log = Logger()


class PluginFile:
    """
    One file.

    Attributes:
        refused: Lines for which there was no room.
    """

    def __init__(self, name: str, path: str, max_waiting_bytes: int) -> None:
        """
        Args:
            max_waiting_bytes: How much may wait for the disk; lines beyond are dropped.
        """
        self.name = name
        self.path = path
        self._max_waiting_bytes = max_waiting_bytes
        self.refused = 0
        self._told = 0
        self.writer = LineWriter(path, name=name, later=True)

    @property
    def dropped(self) -> int:
        """Lines lost so far."""
        return self.refused + self.writer.lost

    def write(self, line: bytes) -> None:
        """See ``gateway.interfaces.LineFile.write``."""
        data = line + b"\n"
        if self.writer.waiting + len(data) > self._max_waiting_bytes:
            self.refused += 1
        else:
            self.writer.take(Lines(data, 1))
        lost = self.dropped
        if lost > 2 * self._told:
            self._told = lost
            _log.error(
                "{plugin} has lost {count} lines for {path}: {why}",
                plugin=self.name,
                count=lost,
                path=self.path,
                why=self.writer.error or "writing does not keep up",
            )


class PluginFiles:
    """Every file that plugins of this process write."""

    def __init__(self, *, max_waiting_bytes: int = 4 << 20, close_timeout_s: float = 5.0) -> None:
        """
        Args:
            max_waiting_bytes: Of each file. close_timeout_s: How long the last lines of each may take.
        """
        self._max_waiting_bytes = max_waiting_bytes
        self._close_timeout_s = close_timeout_s
        self._files: dict[tuple[str, str], PluginFile] = {}

    def open(self, name: str, path: str) -> PluginFile:
        """See ``gateway.interfaces.LineFiles.open``."""
        file = self._files.get((name, path))
        if file is None:
            file = self._files[name, path] = PluginFile(name, path, self._max_waiting_bytes)
        return file

    def reopen(self) -> None:
        """Files may have been moved away: open them by their names again."""
        for file in self._files.values():
            file.writer.take(Lines(reopen=True))

    def losses(self) -> list[list[Any]]:
        """Plugin, path and number of lines lost."""
        return [[file.name, file.path, file.dropped] for file in self._files.values() if file.dropped]

    def close(self) -> None:
        """Write what there is; waits a bounded time for each file."""
        files, self._files = list(self._files.values()), {}
        for file in files:
            if not file.writer.close(self._close_timeout_s):
                _log.error("the last lines of {path} could not be written", path=file.path)
