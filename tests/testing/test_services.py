"""Tests for gateway.testing.services."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.interfaces import HttpAnswer, HttpCallFailed
from gateway.testing.services import FakeClock, FakeHttp, FakeLog, services


class ServicesTests(SynchronousTestCase):
    def test_time(self) -> None:
        """Time passes when told to, and while a plugin sleeps."""
        clock = FakeClock(5.0)
        given = services(clock=clock)
        clock.advance(1)
        given.sleep(2.5)
        self.assertEqual((given.clock.time(), given.clock.monotonic()), (8.5, 8.5))

    def test_log(self) -> None:
        """Events are kept as text."""
        log = FakeLog()
        given = services(log=log)
        given.log.warn("a {b}", b=1)
        given.log.error("c")
        self.assertEqual(log.events, [("warn", "a 1"), ("error", "c")])

    def test_calls(self) -> None:
        """Calls are kept, and answered in turn; when nothing is left they fail."""
        answer = HttpAnswer(200, [(b"a", b"b")], b"")
        http = FakeHttp([answer, HttpCallFailed("slow", True)])
        given = services(http=http)
        self.assertIs(self.successResultOf(given.http.request("GET", "http://a/")), answer)  # type: ignore[arg-type]
        for _ in range(2):
            self.failureResultOf(given.http.request("GET", "http://a/"), HttpCallFailed)  # type: ignore[arg-type]
        self.assertEqual([call.url for call in http.calls], ["http://a/"] * 3)
        self.assertIsNone(http.calls[0].field(b"host"))

    def test_spawned(self) -> None:
        """What is spawned runs; chance is what the test says."""
        ran = []

        async def work() -> None:
            ran.append(1)

        given = services(chance=lambda: 0.25)
        given.spawn(work())
        self.assertEqual((ran, given.random()), ([1], 0.25))
