"""Tests for gateway.core.batching."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.core.batching import BatchOptions


class BatchOptionsTests(SynchronousTestCase):
    def test_defaults(self) -> None:
        """What is not said is as the contract has it; the metadata says how much may wait."""
        self.assertEqual(BatchOptions.parse({}, {}), BatchOptions(1000, 5, 60, 0, 1, None))
        config = {"batch_max_size": 1, "inactive_timeout": 2, "max_retry_count": 3}
        wanted = BatchOptions(1, 2, 60, 3, 1, 7)
        self.assertEqual(BatchOptions.parse(config, {"max_pending_entries": 7}), wanted)

    def test_due(self) -> None:
        """Entries are sent when none follows for a while, or when the first has waited long enough."""
        options = BatchOptions.parse({"inactive_timeout": 5, "buffer_duration": 12}, {})
        self.assertEqual([options.due_at(0, last) for last in (0, 4, 8)], [5, 9, 12])
