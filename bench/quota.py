"""A limit of CPU time for single processes (the system's control groups), so that they are what is short."""

from __future__ import annotations

import os
from pathlib import Path

_PERIOD_US = 20_000
_V1, _V2 = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")


class Quota:
    """
    A control group for one process and its threads.

    Raises:
        OSError: it cannot be made: no such controller, or no permission.
    """

    def __init__(self, pid: int, share: float) -> None:
        """
        Args:
            share: Of one core.
        """
        root = _V1 if _V1.is_dir() else _V2
        self._group = root / f"gateway-bench-{os.getpid()}-{pid}"
        self._procs = root / "cgroup.procs"
        self._pid = pid
        quota = int(share * _PERIOD_US)
        self._group.mkdir()
        try:
            if root is _V1:
                (self._group / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
                (self._group / "cpu.cfs_quota_us").write_text(str(quota))
            else:
                (self._group / "cpu.max").write_text(f"{quota} {_PERIOD_US}")
            (self._group / "cgroup.procs").write_text(str(pid))
        except OSError:
            self.end()
            raise

    def end(self) -> None:
        """Let the process have what it can get, and remove the group."""
        try:
            self._procs.write_text(str(self._pid))
        except OSError:
            pass  # The process is gone.
        self._group.rmdir()
