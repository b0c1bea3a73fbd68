from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.test.requesthelper import DummyRequest

from gateway.admin.incoming import client_address, field_value, presented, shielded
from gateway.admin.refusals import NotFound


class ShieldedTests(SynchronousTestCase):
    def _work(self) -> tuple[Deferred[int], Deferred[int], list[int]]:
        gate: Deferred[int] = Deferred()
        done: list[int] = []

        async def work() -> int:
            done.append(await gate)
            return done[0]

        return gate, shielded(work(), Logger()), done

    def test_result(self) -> None:
        """Who waits is told what came out."""
        gate, waiting, _ = self._work()
        gate.callback(7)
        self.assertEqual(self.successResultOf(waiting), 7)

    def test_nobody_waits(self) -> None:
        """Work goes on to its end though nobody waits for it; a failure of it is logged then."""
        gate, waiting, done = self._work()
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        gate.callback(7)
        self.assertEqual(done, [7])
        for error, logged in ((RuntimeError("broken"), 1), (NotFound(), 0)):
            gate, waiting, _ = self._work()
            waiting.cancel()
            self.failureResultOf(waiting, CancelledError)
            gate.errback(error)
            self.assertEqual(len(self.flushLoggedErrors(type(error))), logged)


class RequestTests(SynchronousTestCase):
    def test_facts(self) -> None:
        """Fields are found by name, the peer by its address, what is missing is None."""
        request = DummyRequest([b"x"])
        request.method = b"PUT"
        request.getCookie = {b"session": b"s"}.get  # type: ignore[attr-defined]
        request.requestHeaders.setRawHeaders(b"if-match", [b'"1"', b'"2"'])
        self.assertEqual((field_value(request, "if-match"), field_value(request, "x-y")), ('"1", "2"', None))
        shown = presented(request)
        self.assertEqual(
            (shown.method, shown.header(b"if-match"), shown.cookie(b"session")), ("PUT", b'"1"', b"s")
        )
        self.assertEqual(client_address(request), shown.address)
