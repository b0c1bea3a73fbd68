"""What a worker does when it is told to; in memory, and on one real socket."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from gateway import worker
from gateway.control.amp_commands import changes_document, records_document
from gateway.control.shared_sockets import SharedAddress
from gateway.control.worker_log import PipeObserver
from gateway.errors import ConfigErrors
from gateway.model.record import Change, Record
from gateway.settings import settings_from
from gateway.settings_fields import Address
from gateway.settings_text import to_text
from gateway.worker import WorkerService

SERVICE = {"name": "s", "upstream": {"nodes": []}}
ROUTE = {"name": "r", "service_id": "s", "paths": ["/r"]}


class Reactor(MemoryReactorClock):
    """Notes what is adopted, and whether it was stopped."""

    def __init__(self) -> None:
        super().__init__()
        self.ports: list[Any] = []

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: Any, factory: Any) -> Any:
        port = self.listenTCP(0, factory)
        self.ports.append(port)
        return port


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.data_dir = Path(self.mktemp())
        self.data_dir.mkdir()
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        self.addCleanup(os.close, writing)
        self.reactor = Reactor()
        self.observer = PipeObserver(writing)
        self.service = WorkerService(self.reactor, self.observer)
        self.timers: list[Any] = []
        self.patch(worker.threading, "Timer", self.timer)

    def timer(self, seconds: float, act: Any, arguments: Any) -> Any:
        class Timer:
            daemon = False
            start = staticmethod(lambda: self.timers.append((seconds, act, arguments)))

        return Timer()

    def configure(self, **log: str) -> None:
        values = {"gateway": {"data_dir": str(self.data_dir)}, "log": {"access": "off", **log}}
        self.service.configure({"settings": to_text(settings_from(values))})

    def load(self) -> None:
        records = [
            Record("default", kind, id, value, "enterprise", 0, 0, 1, 1)
            for kind, id, value in (("service", "s", SERVICE), ("route", "r", ROUTE))
        ]
        self.done(self.service.load(3, records_document(records, [("default", "service", "x")])))

    def serve(self) -> None:
        shared = SharedAddress.reserve("proxy", Address("127.0.0.1", 0))
        self.addCleanup(shared.close)
        with shared.open() as one:
            self.service.socket("proxy", os.dup(one.fileno()))
        self.done(self.service.serve())

    def done(self, work: Any) -> None:
        self.successResultOf(Deferred.fromCoroutine(work))

    def plane(self) -> Any:
        return self.service._plane

    def stopped(self) -> bool:
        return bool(self.reactor.hasStopped)


class ServingTests(Case):
    def test_load_and_apply(self) -> None:
        """It serves what it was told, and then each change."""
        self.configure()
        self.assertEqual(self.service.report()["revision"], 0)
        self.load()
        snapshot = self.plane().runner.snapshot
        self.assertEqual((list(snapshot.routes), snapshot.revision), (["r"], 3))
        self.assertEqual(list(snapshot.quarantined), [("default", "service", "x")])
        change = Change("default", "route", "r2", {**ROUTE, "paths": ["/2"]})
        self.done(self.service.apply(4, changes_document([change])))
        self.assertEqual(sorted(self.plane().runner.snapshot.routes), ["r", "r2"])
        self.assertEqual(self.service.report(), {"revision": 4, "in_flight": 0, "bugs": 0, "serving": False})

    def test_what_it_cannot_serve(self) -> None:
        """A change it cannot compile is not passed over in silence: it raises, and that ends the worker."""
        self.configure()
        self.load()
        bad = {**ROUTE, "vars": [["arg_x", "no-such-operator", 1]]}
        changes = changes_document([Change("default", "route", "bad", bad)])
        self.failureResultOf(Deferred.fromCoroutine(self.service.apply(4, changes)), ConfigErrors)
        self.assertEqual(self.service.report()["revision"], 3)

    def test_listens_when_told(self) -> None:
        """It listens when it is told to serve, not before."""
        self.configure()
        self.load()
        self.assertEqual(self.reactor.ports, [])
        self.serve()
        self.assertEqual(len(self.reactor.ports), 1)
        self.assertTrue(self.service.report()["serving"])

    def test_level(self) -> None:
        """It logs what [log] level says."""
        self.configure(level="error")
        self.assertEqual(self.observer.level.name, "error")

    def test_before_anything(self) -> None:
        """Asked how it is, or to open logs, before it was told anything, it is not confused."""
        self.service.reopen()
        self.assertEqual(self.service.report()["serving"], False)


class EndTests(Case):
    def test_drain(self) -> None:
        """With nothing in flight it ends at once, once."""
        self.configure()
        self.load()
        self.serve()
        self.service.drain(5)
        self.service.drain(5)
        self.service.leave()
        self.assertTrue(self.stopped())
        self.assertEqual(self.timers, [])

    def test_too_late(self) -> None:
        """Told to serve when it ends already, it does not listen."""
        self.configure()
        self.service.drain(5)
        self.serve()
        self.assertEqual(self.reactor.ports, [])

    def test_orphaned(self) -> None:
        """When the first process is gone it ends, and a thread sees to it should the reactor not."""
        self.configure()
        self.load()
        self.serve()
        self.service.orphaned()
        self.assertTrue(self.stopped())
        self.assertEqual(self.timers, [(worker.ORPHAN_LIMIT_S, os._exit, (1,))])

    def test_spare(self) -> None:
        """A spare that was told nothing ends as well."""
        self.service.orphaned()
        self.assertTrue(self.stopped())
