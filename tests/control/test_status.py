"""What the gateway says about itself."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from twisted.web.test.requesthelper import DummyRequest

from gateway.control.status import StatusReport, without_tunnels
from gateway.core.compiler import Compiler
from gateway.model.record import Record
from tests.core.configs import FakePlugins, records, route, service
from tests.proxy.fakes import InMemoryGateway
from tests.proxy.runner_kit import TestClock


class FakeControl:
    class state:
        revision = 7

        @staticmethod
        def counts() -> dict[tuple[str, str], int]:
            return {("default", "service"): 2, ("default", "proto"): 3, ("", "token"): 1, ("g", "sni"): 0}

        @staticmethod
        def all(group: str, kind: str) -> dict[str, Record]:
            value = {"name": "t", "type": "stream"}
            return {"t": Record(group, kind, "t", value, "enterprise", 0, 0, 1, 1)}


class StatusTests(SynchronousTestCase):
    def status(self, revision: int) -> StatusReport:
        changes = [service("s"), route("r", "/x"), route("bad", "/b", plugins={"refused": {}})]
        snapshot = Compiler(FakePlugins(), "default").load(records(*changes), revision)
        clock, control = TestClock(), FakeControl()
        clock.advance(5)
        fake: Any = control
        return StatusReport(InMemoryGateway(snapshot, clock).runner, fake, clock, 1_700_000_000.0, "1.2")

    def test_report(self) -> None:
        """Revisions, counts, and every resource that is off with the reason."""
        report = self.status(7).report()
        self.assertEqual(
            (
                report["version"],
                report["uptime_s"],
                report["revision"],
                report["served_revision"],
                report["routes"],
            ),
            ("1.2", 5.0, 7, 7, 1),
        )
        self.assertEqual(
            report["quarantined"],
            [
                {
                    "gateway_group_id": "default",
                    "kind": "route",
                    "id": "bad",
                    "why": "ValueError: refused will not be bound",
                }
            ],
        )

    def test_unused(self) -> None:
        """What is stored and used by no request is counted."""
        self.assertEqual(
            self.status(7).report()["unused"], [{"gateway_group_id": "default", "kind": "proto", "count": 3}]
        )

    def test_ignored(self) -> None:
        """Members that no request looks at are named by their resource."""
        (told,) = self.status(7).report()["ignored"]
        self.assertEqual((told["kind"], told["id"]), ("service", "t"))
        self.assertIn("TCP and UDP", told["why"])

    def test_without_tunnels(self) -> None:
        """Where no server passes tunnels, the routes that allow them are among the notices."""
        changes = [
            service("s", enable_websocket=True),
            route("own", "/x", enable_websocket=True),
            route("inherits", "/y"),
            route("not", "/z", enable_websocket=False),
        ]
        snapshot = Compiler(FakePlugins(), "default").load(records(*changes), 7)
        status = self.status(7)
        status.notice_sources.append(lambda: without_tunnels(snapshot, "default"))
        notices = status.report()["notices"]
        self.assertEqual(
            [(one["kind"], one["id"]) for one in notices], [("route", "own"), ("route", "inherits")]
        )
        self.assertIn("engine", notices[0]["why"])

    def test_instance(self) -> None:
        """The gateway tells of itself as one data plane of its group, under an id that stays."""
        instance = self.status(7).instance("default", "host.test")
        self.assertEqual(instance["id"], self.status(8).instance("default", "host.test")["id"])
        self.assertEqual((instance["status"], instance["version"]), ("Healthy", "1.2"))
        self.assertEqual(self.status(0).instance("default", "host.test")["status"], "Unhealthy")

    def answer(self, status: StatusReport, *path: bytes) -> tuple[int, bytes]:
        request = DummyRequest(list(path))
        resource = status.resource()
        while request.postpath:
            resource = resource.getChildWithDefault(request.postpath.pop(0), request)
        body = resource.render(request)
        return request.responseCode or 200, body

    def test_probes(self) -> None:
        """A gateway with its configuration is alive and ready."""
        ready = self.status(7)
        self.assertEqual(self.answer(ready, b"status"), (200, b'{"status":"ok"}\n'))
        self.assertEqual(self.answer(ready, b"status", b"ready"), (200, b'{"status":"ok"}\n'))

    def test_not_ready(self) -> None:
        """Before the configuration is loaded it is alive, but not ready."""
        waiting = self.status(0)
        self.assertEqual(self.answer(waiting, b"status")[0], 200)
        status, body = self.answer(waiting, b"status", b"ready")
        self.assertEqual((status, body[:18]), (503, b'{"status":"error",'))
