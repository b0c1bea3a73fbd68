"""When entries that wait are to be sent: the rules loggers share (plugin contract §6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from gateway.model.schema import fill

LONGEST_S = 10**6
"""Longer times in settings count as this one."""

PROPERTIES: dict[str, Any] = {
    "name": {"type": "string", "description": "A name for the log and the metrics; by default the plugin's."},
    "batch_max_size": {
        "type": "integer",
        "minimum": 1,
        "default": 1000,
        "description": "Entries sent together at most.",
    },
    "inactive_timeout": {
        "type": "integer",
        "minimum": 1,
        "default": 5,
        "description": "Seconds without a new entry after which those that wait are sent.",
    },
    "buffer_duration": {
        "type": "integer",
        "minimum": 1,
        "default": 60,
        "description": "Seconds that an entry waits at most.",
    },
    "max_retry_count": {
        "type": "integer",
        "minimum": 0,
        "default": 0,
        "description": "Tries after the first.",
    },
    "retry_delay": {"type": "integer", "minimum": 0, "default": 1, "description": "Seconds between tries."},
}
"""The settings of a batch, for the schema of a logger."""

PENDING: dict[str, Any] = {
    "type": "integer",
    "minimum": 1,
    "description": "Entries that may wait; more are dropped.",
}
"""``max_pending_entries``, for the schema of a logger's metadata."""


@frozen
class BatchOptions:
    """
    The settings of a batch; the schema explains and defaults them. Times are in seconds.

    Attributes:
        max_pending: Entries that may wait; None: as many as the gateway's own settings say.
        max_entry_bytes: Longer entries cannot be sent; None: any can.
    """

    max_size: int
    inactive_s: float
    duration_s: float
    retries: int
    retry_delay_s: float
    max_pending: int | None
    max_entry_bytes: int | None = None

    @classmethod
    def parse(
        cls, config: Mapping[str, Any], metadata: Mapping[str, Any], *, max_entry_bytes: int | None = None
    ) -> BatchOptions:
        """Read a logger's settings and its metadata, both checked."""
        filled = fill({"properties": PROPERTIES}, config)
        return cls(
            filled["batch_max_size"],
            min(filled["inactive_timeout"], LONGEST_S),
            min(filled["buffer_duration"], LONGEST_S),
            filled["max_retry_count"],
            min(filled["retry_delay"], LONGEST_S),
            metadata.get("max_pending_entries"),
            max_entry_bytes,
        )

    def due_at(self, first_s: float, last_s: float) -> float:
        """
        When entries are to be sent.

        Args:
            first_s, last_s: When the first and the last of them came.
        """
        return min(last_s + self.inactive_s, first_s + self.duration_s)
