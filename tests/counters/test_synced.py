"""Tests for gateway.counters.synced."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gateway.counters.synced import SyncedCounters
from gateway.interfaces import CountersFailed, Quota, Window
from gateway.testing.counters import FakeCounters


class Server(FakeCounters):
    """Counters that are awaited; keeps what it was asked to take."""

    def take(self, *args: Any, **named: Any) -> Any:
        self.asked = [*getattr(self, "asked", []), args[3] if len(args) > 3 else 1]
        try:
            return succeed(super().take(*args, **named))
        except CountersFailed as error:
            return fail(error)

    def would_take(self, windows: Sequence[Window]) -> Any:
        asked = copy.deepcopy(self)
        return succeed([FakeCounters.take(asked, *window) for window in windows])


class SyncedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.server = Server()
        self.counters = self.gateway()

    def gateway(self, max_keys: int = 10) -> SyncedCounters:
        """What one process has."""
        made = SyncedCounters(self.server, self.clock, interval_s=1, max_keys=max_keys)
        self.addCleanup(made.close)
        return made

    def pass_time(self, seconds: float) -> None:
        """By steps of a quarter of a second."""
        for _ in range(int(seconds * 4)):
            self.server.now += 0.25
            self.clock.advance(0.25)

    def take(self, key: str = "k", limit: int = 3, window_s: float = 10, **more: Any) -> Quota:
        found = self.counters.take(key, limit, window_s, **more)
        return self.successResultOf(found) if isinstance(found, Deferred) else found  # type: ignore[return-value]

    def test_counts_here(self) -> None:
        """After a key's first request the server is not asked; quotas are told as if it were."""
        told = [self.take() for _ in range(5)]
        self.assertEqual([quota.admitted for quota in told], [True] * 3 + [False] * 2)
        self.assertEqual([quota.remaining for quota in told], [2, 1, 0, 0, 0])
        self.assertEqual(told[4].reset_s, 10)
        self.assertEqual(self.server.asked, [1])

    def would_take(self, key: str = "k", limit: int = 3, window_s: float = 10) -> Quota:
        found = self.counters.would_take([Window(key, limit, window_s)])
        quotas = self.successResultOf(found) if isinstance(found, Deferred) else found
        quota: Quota = quotas[0]  # type: ignore[index]
        return quota

    def test_asked_what_would_be(self) -> None:
        """What the next request would be told comes from what is held, else from the server."""
        self.assertEqual(self.would_take().remaining, 2)
        self.assertEqual([self.take().remaining for _ in range(2)], [2, 1])
        for _ in range(3):
            self.assertEqual(self.would_take().remaining, 0)
        self.assertEqual(self.server.asked, [1])
        self.take()
        self.assertFalse(self.would_take().admitted)
        self.pass_time(1)
        self.assertEqual(self.server.asked, [1, 2])

    def test_sends_together(self) -> None:
        """What was counted here is added once an interval, and the other processes learn of it."""
        for _ in range(3):
            self.take(limit=10)
        self.pass_time(1)
        self.assertEqual(self.server.asked, [1, 2])
        self.counters = self.gateway()
        self.assertEqual(self.take(limit=10).remaining, 6)

    def test_learns_of_others(self) -> None:
        """A process counts on from what the server told it last, which is an interval ago at most."""
        mine, other = self.counters, self.gateway()
        self.assertEqual(self.take(limit=10).remaining, 9)
        self.counters = other
        self.assertEqual([self.take(limit=10).remaining for _ in range(3)], [8, 7, 6])
        self.counters = mine
        self.assertEqual(self.take(limit=10).remaining, 8)
        self.pass_time(1)
        self.pass_time(1)
        self.assertEqual(self.take(limit=10).remaining, 4)

    def test_asks_after_a_pause(self) -> None:
        """Who has not asked for an interval is told by the server, not by old news."""
        self.take(limit=10)
        self.pass_time(1)
        self.take(limit=10)
        self.assertEqual(self.server.asked, [1, 1])

    def test_window_ends(self) -> None:
        """A window that is over is followed by a new one; what was counted in it is nobody's."""
        for _ in range(4):
            self.take(window_s=2)
        self.pass_time(2)
        self.assertTrue(self.take(window_s=2).admitted)

    def test_many_at_the_start(self) -> None:
        """Requests that come while the first one is asked are counted by the server too."""
        answers: list[Deferred[Quota]] = []

        def take(*args: Any) -> Awaitable[Quota]:
            answers.append(Deferred())
            return answers[-1]

        self.server.take = take  # type: ignore[method-assign]
        waiting: list[Any] = [self.counters.take("k", 5, 10) for _ in range(3)]
        for at in (2, 1, 0):
            answers[at].callback(Quota(True, 4 - at, 10))
        self.assertEqual([self.successResultOf(one).remaining for one in waiting], [4, 3, 2])
        self.assertEqual(self.take(limit=5).remaining, 1)

    def test_server_down(self) -> None:
        """While the server is down counting goes on; what could not be sent is sent later."""
        self.take(limit=10)
        self.take(limit=10)
        self.server.down = True
        self.pass_time(1)
        self.assertEqual(self.take(limit=10).remaining, 7)
        self.server.down = False
        self.pass_time(1)
        self.assertEqual(self.server.asked, [1, 1, 2])
        self.server.down = True
        self.failureResultOf(self.counters.take("other", 1, 10), CountersFailed)  # type: ignore[arg-type]

    def test_sliding(self) -> None:
        """Sliding windows, buckets and rooms are the server's."""
        for _ in range(2):
            self.take(sliding=True)
        self.assertEqual(self.server.asked, [1, 1])
        self.assertEqual(self.counters.leak("b", 1, 0), 0)
        self.assertEqual(self.counters.enter("r", 1, "t", 1), 1)
        self.counters.leave("r", "t")
        self.assertEqual(self.counters.enter("r", 1, "u", 1), 1)

    def test_several(self) -> None:
        """Of several quotas the first that does not admit is the last that is taken from."""
        windows = [Window("a", 2, 10), Window("b", 1, 10), Window("c", 9, 10)]
        found: Any = self.counters.take_all(windows)
        told: Sequence[Quota] = self.successResultOf(found)
        self.assertEqual([quota.admitted for quota in told], [True] * 3)
        self.assertEqual([q.admitted for q in self.counters.take_all(windows)], [True, False])  # type: ignore[union-attr]

    def test_room(self) -> None:
        """So many keys are held; those beyond go to the server, and unused ones make room."""
        self.counters = self.gateway(max_keys=1)
        for key in ("a", "b", "b", "a"):
            self.take(key)
        self.assertEqual(self.server.asked, [1, 1, 1])
        self.pass_time(3)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.take("b")
        self.take("b")
        self.assertEqual(self.server.asked, [1, 1, 1, 1, 1])
