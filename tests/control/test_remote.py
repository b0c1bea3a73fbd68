"""A change on its way to workers; what a worker starts with; what the status tells."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from gateway.control.amp_commands import read_records
from gateway.control.control import Control
from gateway.control.local import LocalPublisher
from gateway.control.remote import WorkersPublisher, WorkersReport, state_document
from gateway.control.served import Mirror
from gateway.control.state import State
from gateway.control.status import StatusReport
from gateway.core.compiler import Compiler
from gateway.errors import ConfigErrors
from gateway.model.record import Change
from gateway.store.memory import MemoryStore
from tests.admin.kit import FakeClock
from tests.control.worker_kit import Fleet


class NoPlugins:
    """``gateway.core.compiler.PluginSource`` without any."""

    def bind(self, use: Any, *_: object) -> Any:
        raise ValueError(f"unknown plugin [{use.name}]")

    def is_auth(self, name: str) -> bool:
        return False

    def credential(self, name: str, config: Any) -> Any:
        raise ValueError("none")


SERVICE = {"name": "s", "upstream": {"nodes": []}}
ROUTE = {"name": "r", "service_id": "s", "paths": ["/r"]}


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.fleet = Fleet()
        self.addCleanup(self.fleet.close)
        self.store = MemoryStore()
        self.store.open()
        compiler = Compiler(NoPlugins(), "g")
        self.mirror = Mirror(compiler.empty())
        publisher = WorkersPublisher(LocalPublisher(compiler, self.mirror), self.fleet.workers, "g")
        self.control = Control(self.store, publisher, FakeClock(), State(0, {}))

    def start(self) -> None:
        started = self.fleet.workers.start(lambda: state_document(self.control.state, "g", ()))
        self.fleet.run()
        self.successResultOf(started)

    def write(self, *changes: Change) -> Deferred[Any]:
        return Deferred.fromCoroutine(self.control.write(lambda state: changes, author="me"))


class PublisherTests(Case):
    def test_write(self) -> None:
        """A write is answered once both workers serve it; it is served here too."""
        self.start()
        writing = self.write(Change("g", "service", "s", SERVICE), Change("g", "route", "r", ROUTE))
        self.assertNoResult(writing)
        self.fleet.run()
        self.successResultOf(writing)
        self.assertEqual((self.mirror.snapshot.revision, list(self.mirror.snapshot.routes)), (1, ["r"]))
        for number in (1, 2):
            serving = self.fleet.process(number).serving
            self.assertEqual((serving.revision, serving.ids), (1, ["s", "r"]))

    def test_refused(self) -> None:
        """What cannot be compiled is refused before it is stored, and no worker hears of it."""
        self.start()
        bad = Change("g", "route", "r", {**ROUTE, "vars": [["arg_x", "no-such-operator", 1]]})
        self.failureResultOf(self.write(Change("g", "service", "s", SERVICE), bad), ConfigErrors)
        self.fleet.run()
        self.assertEqual(self.fleet.process(1).serving.calls[-1], ("serve",))
        self.assertEqual(self.successResultOf(self.store.load()).revision, 0)

    def test_what_concerns_nobody(self) -> None:
        """Access tokens and other groups are not told to workers; the revision is."""
        self.start()
        writing = self.write(
            Change("", "token", "t", {"hash": "x"}), Change("other", "service", "s", SERVICE)
        )
        self.fleet.run()
        self.successResultOf(writing)
        serving = self.fleet.process(1).serving
        self.assertEqual((serving.revision, serving.ids), (1, []))

    def test_one_that_comes_later(self) -> None:
        """A worker that starts between two writes has both, and none twice."""
        self.start()
        self.write(Change("g", "service", "s", SERVICE))
        self.fleet.process(1).end("signal 9")
        writing = self.write(Change("g", "route", "r", ROUTE))
        self.fleet.run()
        self.successResultOf(writing)
        self.assertEqual(self.fleet.process(1).serving.ids, ["s", "r"])
        self.assertEqual(self.fleet.process(2).serving.ids, ["s", "r"])


class StateDocumentTests(Case):
    def test_what_a_worker_starts_with(self) -> None:
        """The group's served resources in the order of creation; damaged ones by name alone."""
        changes = [
            [Change("", "token", "t", {"hash": "x"})],
            [Change("g", "service", "z", SERVICE), Change("other", "service", "o", SERVICE)],
            [Change("g", "service", "a", SERVICE)],
            [Change("g", "service", "z", {**SERVICE, "name": "new"})],
        ]
        for some in changes:
            self.successResultOf(self.write(*some))
        damaged = [("g", "service", "a"), ("other", "service", "o")]
        revision, document = state_document(self.control.state, "g", damaged)
        records, named = read_records(document)
        self.assertEqual((revision, [(r.id, r.value["name"]) for r in records]), (4, [("z", "new")]))
        self.assertEqual(named, [("g", "service", "a")])


class ReportTests(Case):
    def report(self) -> WorkersReport:
        status = StatusReport(self.mirror, self.control, FakeClock(), 0.0, "1.0")
        return WorkersReport(status, self.fleet.workers)

    def test_sums(self) -> None:
        """Requests in flight are added up; the served revision is that of the worker furthest behind."""
        self.start()
        self.fleet.process(2).stopped = True
        self.write(Change("g", "service", "s", SERVICE))
        self.fleet.run()
        asking = Deferred.fromCoroutine(self.report().report())
        self.fleet.advance(2)
        told = self.successResultOf(asking)
        self.assertEqual(
            (told["revision"], told["served_revision"], told["in_flight"], told["bugs"]), (1, 0, 3, 1)
        )
        self.assertEqual([row["served_revision"] for row in told["workers"]], [1, 0])

    def test_ready(self) -> None:
        """It is not ready before a worker serves a configuration."""
        report = self.report()
        self.assertEqual(report.not_ready_because(), "no worker serves")
        self.start()
        self.assertIn("not loaded", str(report.not_ready_because()))
        self.write(Change("g", "service", "s", SERVICE))
        self.fleet.run()
        self.assertIsNone(report.not_ready_because())
