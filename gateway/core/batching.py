"""When entries that wait are to be sent: the rules loggers share (plugin contract §6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from gateway.model.schema import fill

MAX_PENDING = 8192
"""Entries that may wait, unless the plugin's metadata says otherwise."""

PROPERTIES: dict[str, Any] = {
    "name": {"type": "string", "description": "A name for the log."},
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
    """The settings of a batch; the schema explains and defaults them. Times are in seconds."""

    max_size: int
    inactive_s: float
    duration_s: float
    retries: int
    retry_delay_s: float
    max_pending: int

    @classmethod
    def parse(cls, config: Mapping[str, Any], metadata: Mapping[str, Any]) -> BatchOptions:
        """Read a logger's settings and its metadata, both checked."""
        filled = fill({"properties": PROPERTIES}, config)
        return cls(
            filled["batch_max_size"],
            filled["inactive_timeout"],
            filled["buffer_duration"],
            filled["max_retry_count"],
            filled["retry_delay"],
            metadata.get("max_pending_entries", MAX_PENDING),
        )

    def due_at(self, first_s: float, last_s: float) -> float:
        """
        When entries are to be sent.

        Args:
            first_s, last_s: When the first and the last of them came.
        """
        return min(last_s + self.inactive_s, first_s + self.duration_s)
