"""What all requests share: who is let in, with which configuration, and the wait for the last one."""

from __future__ import annotations

from gateway.core import reasons
from gateway.core.compiler import Compiler
from gateway.proxy.limits import ProxyLimits
from tests.core.configs import route, service
from tests.proxy.fakes import FakeResponse
from tests.proxy.runner_kit import RunnerTestCase


class RunnerTests(RunnerTestCase):
    def test_refused(self) -> None:
        """A request that is not proper HTTP is answered 400 and logged."""
        gateway = self.simple()
        client, _ = gateway.request("GET", "/a b")
        self.assertEqual((client.status, client.fields[b"connection"]), (400, b"close"))
        self.assertEqual(self.outcome(gateway), (400, "gateway", reasons.BAD_REQUEST))

    def test_overloaded(self) -> None:
        """One request more than max_in_flight is answered 503; room that is freed is used."""
        gateway = self.gateway(service("s"), route("r", "/x"), limits=ProxyLimits(max_in_flight=1))
        first, _ = gateway.request("GET", "/x")
        second, _ = gateway.request("GET", "/x")
        self.assertEqual(second.status, 503)
        gateway.dispatcher.answer(FakeResponse()).end()
        self.assertTrue(first.finished)
        gateway.request("GET", "/x")
        self.assertEqual(len(gateway.dispatcher.sent), 2)

    def test_snapshot_is_kept(self) -> None:
        """A request in flight keeps its configuration; the next one gets the new."""
        gateway = self.simple()
        client, _ = gateway.request("GET", "/x")
        gateway.runner.snapshot = Compiler(self.plugins, "default").empty()
        gateway.dispatcher.answer(FakeResponse()).end()
        self.assertEqual(client.status, 200)
        self.assertEqual(gateway.request("GET", "/x")[0].status, 404)

    def test_idle(self) -> None:
        """A gateway that stops can wait for what is in flight, or cut it."""
        gateway = self.simple()
        self.successResultOf(gateway.runner.when_idle())
        client, run = gateway.request("GET", "/x")
        idle = gateway.runner.when_idle()
        self.assertNoResult(idle)
        run.stop()
        self.successResultOf(idle)
        self.assertTrue(client.aborted)
        self.assertEqual(self.outcome(gateway), (503, "gateway", reasons.SHUTTING_DOWN))
