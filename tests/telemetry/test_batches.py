"""Tests for gateway.telemetry.batches."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from gateway.core.batching import BatchOptions
from gateway.telemetry.batches import BatchProcessor, QueueLimits


class BatchTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(100)
        self.batches = BatchProcessor(self.clock)
        self.sent: list[list[Any]] = []
        self.answers: list[Deferred[None]] = []
        self.faults = 0

    async def deliver(self, entries: Sequence[Any]) -> None:
        self.sent.append(list(entries))
        if self.faults:
            self.faults -= 1
            raise ValueError("no")

    async def hang(self, entries: Sequence[Any]) -> None:
        self.sent.append(list(entries))
        answer: Deferred[None] = Deferred()
        self.answers.append(answer)
        await answer

    def open(self, deliver: Any = None, max_pending: int | None = 8192, **config: Any) -> Any:
        options = BatchOptions.parse(config, {"max_pending_entries": max_pending} if max_pending else {})
        return self.batches.open("http-logger", "r1", options, deliver or self.deliver)

    def test_size(self) -> None:
        """Entries are sent when there are enough of them."""
        batch = self.open(batch_max_size=2)
        for entry in range(5):
            batch.add(entry)
        self.assertEqual(self.sent, [[0, 1], [2, 3]])
        self.assertEqual(self.batches.waiting(), [["http-logger", "r1", "", 1]])

    def test_shown(self) -> None:
        """A queue is shown from its first entry on, with the address that came with it."""
        batch = self.open()
        self.assertEqual(self.batches.waiting(), [])
        batch.add(0, "192.0.2.1")
        batch.add(1, "192.0.2.2")
        self.assertEqual(self.batches.waiting(), [["http-logger", "r1", "192.0.2.1", 2]])

    def test_idle(self) -> None:
        """Entries are sent when none follows for a while."""
        batch = self.open(inactive_timeout=5, buffer_duration=60)
        batch.add(0)
        self.clock.advance(4)
        batch.add(1)
        self.clock.advance(4)
        self.assertEqual(self.sent, [])
        self.clock.advance(1)
        self.assertEqual(self.sent, [[0, 1]])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_age(self) -> None:
        """No entry waits longer than buffer_duration."""
        batch = self.open(inactive_timeout=5, buffer_duration=9)
        for entry in range(4):
            batch.add(entry)
            self.clock.advance(3)
        self.assertEqual(self.sent, [[0, 1, 2]])

    def test_retries(self) -> None:
        """What did not arrive is sent again, as often as the settings say; then it is lost and counted."""
        batch = self.open(batch_max_size=1, max_retry_count=2, retry_delay=3)
        self.faults = 2
        batch.add("a")
        self.clock.pump([3, 3])
        self.assertEqual((self.sent, self.batches.dropped), ([["a"]] * 3, {}))
        self.faults = 3
        with capturedLogs() as captured:
            batch.add("b")
            self.clock.pump([3, 3])
        self.assertEqual(self.batches.losses(), [["http-logger", "r1", 1]])
        (event,) = captured
        self.assertEqual(formatEvent(event), "http-logger of r1 has lost 1 log entries: no")
        self.assertEqual(self.batches.waiting(), [["http-logger", "r1", "", 0]])

    def test_bounded(self) -> None:
        """What would wait beyond the limit is dropped, and the rest arrives."""
        batch = self.open(self.hang, max_pending=10, batch_max_size=1)
        for entry in range(25):
            batch.add(entry)
        self.assertEqual(len(self.sent), QueueLimits().sends)
        self.assertEqual(self.batches.losses(), [["http-logger", "r1", 15]])
        while self.answers:
            self.answers.pop(0).callback(None)
        self.assertEqual([entry for (entry,) in self.sent], list(range(10)))

    def test_limits(self) -> None:
        """The gateway's own limits hold where the metadata says nothing, and bytes count, too."""
        self.batches.limits = QueueLimits(entries=3, content_bytes=10, sends=1)
        batch = self.open(self.hang, max_pending=None, batch_max_size=1)
        for entry in (b"12345", b"123456", b"1234", b"1", b"2"):
            batch.add(entry)
        self.assertEqual(self.sent, [[b"12345"]])
        self.assertEqual(self.batches.losses(), [["http-logger", "r1", 2]])
        while self.answers:
            self.answers.pop(0).callback(None)
        self.assertEqual([entry for (entry,) in self.sent], [b"12345", b"1234", b"1"])
        self.assertEqual((batch.pending, batch.pending_bytes), (0, 0))

    def test_too_large(self) -> None:
        """An entry that can never be sent is dropped, and takes no other with it."""
        options = BatchOptions.parse({"batch_max_size": 2}, {}, max_entry_bytes=3)
        batch = self.batches.open("udp-logger", "r1", options, self.deliver)
        with capturedLogs() as captured:
            for entry in (b"123", b"1234", b"1"):
                batch.add(entry)
        self.assertEqual((self.sent, batch.pending_bytes), ([[b"123", b"1"]], 0))
        self.assertEqual(self.batches.losses(), [["udp-logger", "r1", 1]])
        self.assertIn("an entry has 4 bytes, and 3 can be sent", formatEvent(captured[0]))

    def test_forgotten(self) -> None:
        """A queue that nobody holds any more sends what is in it, and is gone."""
        batch = self.open(inactive_timeout=1)
        batch.add("last")
        del batch
        gc.collect()
        self.clock.advance(1)
        self.assertEqual(self.sent, [["last"]])
        gc.collect()
        self.assertEqual(len(self.batches._batches), 0)

    def test_close(self) -> None:
        """When the gateway stops what waits is sent, and waited for."""
        batch = self.open(self.hang)
        batch.add(0)
        closed = self.batches.close(5)
        self.assertEqual(self.sent, [[0]])
        self.assertNoResult(closed)
        self.answers.pop().callback(None)
        self.successResultOf(closed)
        batch.add(1)
        self.assertEqual(self.batches.losses(), [["http-logger", "r1", 1]])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_close_late(self) -> None:
        """But not forever: what has not arrived by then is lost and counted."""
        batch = self.open(self.hang)
        batch.add(0)
        closed = self.batches.close(5)
        self.clock.advance(5)
        self.successResultOf(closed)
        self.assertEqual(self.batches.losses(), [["http-logger", "r1", 1]])

    def test_close_failing(self) -> None:
        """A collector that is down does not hold up the end: nothing is tried twice."""
        batch = self.open(max_retry_count=100, retry_delay=100)
        self.faults = 1000
        batch.add(0)
        self.successResultOf(self.batches.close(5))
        self.assertEqual(len(self.sent), 1)

    def test_nothing(self) -> None:
        """Without entries there is nothing to wait for."""
        self.open()
        self.successResultOf(self.batches.close(5))
