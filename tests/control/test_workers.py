"""Who is started, told, awaited, killed and replaced; in memory."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from gateway.control.amp_commands import changes_document, records_document
from gateway.control.worker import START_LIMIT_S, STOP_MARGIN_S
from gateway.control.workers import BEAT_S, MAX_BACKOFF_S, START_TRIES, WorkersFailed
from gateway.model.record import Change, Record
from tests.control.worker_kit import Fleet


def record(id: str, revision: int = 1) -> Record:
    return Record("g", "route", id, {"name": id}, "enterprise", 1, 1, revision, revision)


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.fleet = Fleet()
        self.addCleanup(self.fleet.close)

    def start(self) -> None:
        started = self.fleet.workers.start(lambda: self.fleet.state)
        self.fleet.run()
        self.successResultOf(started)

    def write(self, number: int) -> Deferred[Any]:
        """As Control does: the state is changed and told in one turn."""
        records = [record(f"r{one}", one) for one in range(2, number + 1)]
        self.fleet.state = (number, records_document(records, ()))
        change = Change("g", "route", f"r{number}", {"name": "x"})
        return self.fleet.workers.broadcast(number, changes_document([change]))


class StartTests(Case):
    def test_order(self) -> None:
        """A worker is told its settings, the configuration and its sockets before it serves."""
        self.fleet.state = (7, records_document([record("a"), record("b")], [("g", "route", "c")]))
        self.start()
        for number in (1, 2):
            serving = self.fleet.process(number).serving
            self.assertEqual(
                serving.calls,
                [
                    ("configure", {"a": "b"}),
                    ("load", 7, [("g", "route", "c")]),
                    ("socket", "proxy"),
                    ("serve",),
                ],
            )
            self.assertEqual(serving.ids, ["a", "b"])
        self.assertEqual(len(self.fleet.processes), 3)
        self.assertEqual(self.fleet.processes[2].serving.calls, [("configure", {"a": "b"})])

    def test_large_configuration(self) -> None:
        """A configuration of many times AMP's 64 KiB arrives whole."""
        ids = [f"{number:x}-{number * 2654435761 % 2**61:x}" for number in range(30_000)]
        self.fleet.state = (7, records_document([record(id) for id in ids], ()))
        self.start()
        self.assertEqual(self.fleet.process(1).serving.ids, ids)

    def test_workers_that_end(self) -> None:
        """Workers that end before they serve end the start, with what was seen of the last."""
        started = self.fleet.workers.start(lambda: self.fleet.state)
        for number in range(START_TRIES + 1):
            self.assertNoResult(started)
            self.fleet.clock.advance(MAX_BACKOFF_S)
            self.fleet.processes[-1].end(f"exit status {number}")
        error = self.failureResultOf(started, WorkersFailed).value
        self.assertIn(f"exit status {START_TRIES}", str(error))

    def test_worker_that_never_speaks(self) -> None:
        """A process that hangs before its hello is killed and another is started."""
        self.fleet.stopped = True
        started = self.fleet.workers.start(lambda: self.fleet.state)
        first = list(self.fleet.processes)
        self.fleet.stopped = False
        self.fleet.advance(START_LIMIT_S + 1)
        self.successResultOf(started)
        self.assertTrue(all(process.killed for process in first))
        self.assertEqual(len(self.fleet.pids), 2)


class WriteTests(Case):
    def test_all_acknowledge(self) -> None:
        """A write is answered when every worker has it, not when one has."""
        self.start()
        one, two = self.fleet.process(1), self.fleet.process(2)
        two.stopped = True
        writing = self.write(2)
        self.fleet.run()
        self.assertEqual(one.serving.ids, ["r2"])
        self.assertNoResult(writing)
        two.stopped = False
        self.fleet.run()
        self.successResultOf(writing)
        self.assertEqual(two.serving.ids, ["r2"])

    def test_closing(self) -> None:
        """What is left to do after the grace period has a time of its own."""
        self.start()
        stopping = self.fleet.workers.stop(3, 2)
        self.fleet.advance(3 + 2 + STOP_MARGIN_S - 0.2)
        self.assertNoResult(stopping)
        self.fleet.advance(0.3)
        self.successResultOf(stopping)

    def test_hanging(self) -> None:
        """A worker that does not acknowledge in time is killed; once it is dead the write is answered."""
        self.start()
        victim = self.fleet.process(2)
        victim.stopped = True
        writing = self.write(2)
        self.fleet.advance(9.5)
        self.assertNoResult(writing)
        self.fleet.clock.advance(0.6)
        self.fleet.clock.advance(0.1)
        self.assertTrue(victim.killed)
        self.assertNoResult(writing)
        self.fleet.run()
        self.successResultOf(writing)
        self.assertEqual(self.fleet.process(2).serving.ids, ["r2"])
        self.assertEqual(len(self.fleet.pids), 2)

    def test_answer_that_was_not_read(self) -> None:
        """If this process was held up, an answer that came in the meantime still counts."""
        self.start()
        writing = self.write(2)
        self.fleet.clock.advance(100)
        self.fleet.run()
        self.successResultOf(writing)
        self.fleet.advance(1)
        self.assertFalse(any(process.killed for process in self.fleet.processes))

    def test_failing(self) -> None:
        """A worker that cannot apply a change is replaced by one that loads all; the write is answered."""
        self.start()
        victim = self.fleet.process(1)
        victim.serving.fault = ValueError("no")
        writing = self.write(2)
        self.fleet.run()
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.successResultOf(writing)
        self.assertTrue(victim.ended)
        self.assertEqual(self.fleet.process(1).serving.ids, ["r2"])

    def test_dying(self) -> None:
        """A worker that dies with a change on its way holds nothing up."""
        self.start()
        self.fleet.process(1).stopped = True
        writing = self.write(2)
        self.fleet.process(1).end("signal 9")
        self.fleet.run()
        self.successResultOf(writing)

    def test_while_one_starts(self) -> None:
        """A write does not wait for a worker that only starts, and that one serves it from the first on."""
        self.start()
        self.fleet.process(1).end("signal 9")
        starting = self.fleet.process(1)
        starting.stopped = True
        writing = self.write(2)
        self.fleet.run()
        self.successResultOf(writing)
        self.assertFalse(starting.serving.serving)
        starting.stopped = False
        self.fleet.run()
        self.assertEqual(starting.serving.ids, ["r2"])
        told = [call[0] for call in starting.serving.calls]
        self.assertLess(told.index("apply"), told.index("serve"))

    def test_none_there(self) -> None:
        """With no worker at all a write is answered: nobody serves anything stale."""
        self.successResultOf(self.write(2))


class ReplacementTests(Case):
    def test_spare(self) -> None:
        """The one that was started beforehand takes over at once, and another spare is started."""
        self.start()
        spare, other = self.fleet.processes[2], self.fleet.process(2)
        self.fleet.process(1).end("signal 9")
        self.fleet.run()
        self.assertIs(self.fleet.process(1), spare)
        self.assertIs(self.fleet.process(2), other)
        self.assertEqual((len(self.fleet.pids), len(self.fleet.processes)), (2, 4))
        self.assertEqual([slot.restarts for slot in self.fleet.workers.slots], [1, 0])

    def test_crash_loop(self) -> None:
        """A worker that dies again and again is started less and less often; the sockets go to the others."""
        self.start()
        slot = self.fleet.workers.slots[0]
        waits = []
        for _ in range(9):
            self.fleet.run()
            self.fleet.process(1).end("signal 11")
            waited = 0.0
            while slot.worker is None:
                if waited > 1.5:
                    self.assertEqual(slot.sockets, [])
                self.fleet.clock.advance(0.25)
                waited += 0.25
            waits.append(waited)
        self.assertEqual(waits, [0, 0.25, 0.5, 1, 2, 4, 8, MAX_BACKOFF_S, MAX_BACKOFF_S])
        self.fleet.advance(11)
        self.fleet.process(1).end("signal 11")
        self.assertIsNotNone(slot.worker)

    def test_no_process(self) -> None:
        """When the system starts no process it is tried again."""
        self.start()
        self.fleet.refuse = True
        self.fleet.process(1).end("signal 9")
        self.fleet.run()
        self.fleet.process(2).end("signal 9")
        self.fleet.advance(1)
        self.assertEqual(len(self.fleet.pids), 1)
        self.fleet.refuse = False
        self.fleet.advance(5)
        self.assertEqual(len(self.fleet.pids), 2)

    def test_spare_that_dies(self) -> None:
        """A spare that dies is made again, and nobody else is touched."""
        self.start()
        pids = self.fleet.pids
        self.fleet.processes[2].end("signal 9")
        self.fleet.advance(1)
        self.assertEqual((self.fleet.pids, len(self.fleet.processes)), (pids, 4))

    def test_spare_that_hangs(self) -> None:
        """A spare that hangs or was told to stop is replaced before anybody needs it."""
        self.start()
        self.fleet.processes[2].stopped = True
        self.fleet.advance(BEAT_S + 11)
        self.assertTrue(self.fleet.processes[2].ended)
        self.fleet.processes[3].link.leave()
        self.fleet.advance(1)
        self.fleet.process(1).end("signal 9")
        self.fleet.run()
        self.assertIs(self.fleet.process(1), self.fleet.processes[4])

    def test_leaving(self) -> None:
        """A worker that leaves is replaced before it has ended, and not killed."""
        self.start()
        leaver = self.fleet.process(1)
        leaver.link.leave()
        self.fleet.run()
        self.assertEqual(len(self.fleet.pids), 2)
        self.assertNotIn(leaver.pid, self.fleet.pids)
        self.assertFalse(leaver.killed)
        writing = self.write(2)
        leaver.stopped = True
        self.fleet.run()
        self.successResultOf(writing)
        leaver.end("exit status 0")
        self.assertEqual(len(self.fleet.pids), 2)

    def test_unasked(self) -> None:
        """A worker that hangs while nothing is written is found out, killed and replaced."""
        self.start()
        victim = self.fleet.process(1)
        victim.stopped = True
        self.fleet.advance(BEAT_S + 11)
        self.assertTrue(victim.ended)
        self.assertEqual(len(self.fleet.pids), 2)
        self.fleet.advance(30)
        self.assertEqual([slot.restarts for slot in self.fleet.workers.slots], [1, 0])


class ReportTests(Case):
    def test_rows(self) -> None:
        """Each slot tells who serves, what, and how often it was filled anew."""
        self.start()
        self.write(2)
        self.fleet.run()
        asking = Deferred.fromCoroutine(self.fleet.workers.report())
        self.fleet.run()
        rows = self.successResultOf(asking)
        self.assertEqual(
            rows[0],
            {
                "worker": 1,
                "pid": self.fleet.process(1).pid,
                "serving": True,
                "responding": True,
                "served_revision": 2,
                "in_flight": 3,
                "bugs": 1,
                "restarts": 0,
            },
        )
        self.assertEqual([row["worker"] for row in rows], [1, 2])

    def test_hanging(self) -> None:
        """One that does not answer is told as such, and the others' numbers come all the same."""
        self.start()
        self.fleet.process(2).stopped = True
        asking = Deferred.fromCoroutine(self.fleet.workers.report())
        self.fleet.advance(0.5)
        self.assertNoResult(asking)
        self.fleet.advance(1)
        self.assertEqual([row["responding"] for row in self.successResultOf(asking)], [True, False])
        self.assertFalse(self.fleet.process(2).killed)

    def test_inspect(self) -> None:
        """Documents of any size come back; one that ends leaves what it told last."""
        self.start()
        ended: list[tuple[int, Any]] = []
        self.fleet.workers.on_exit = lambda pid, facts: ended.append((pid, facts.get("requests")))
        for _ in range(2):
            asking = Deferred.fromCoroutine(self.fleet.workers.inspect())
            self.fleet.run()
            found = self.successResultOf(asking)
            self.assertEqual({number: one["requests"] for number, one in found.items()}, {1: 5, 2: 5})
            self.assertEqual(len(found[2]["health"][0]["name"]), 200_000)
        victim = self.fleet.process(1)
        victim.end("signal 9")
        self.fleet.run()
        self.assertEqual(ended, [(victim.pid, 5)])
        self.assertEqual(self.fleet.workers.restarts, 1)

    def test_empty(self) -> None:
        """A slot without a worker is told as such."""
        asking = Deferred.fromCoroutine(self.fleet.workers.report())
        rows = self.successResultOf(asking)
        self.assertEqual(rows[0], {"worker": 1, "pid": None, "serving": False, "restarts": 0})

    def test_reopen(self) -> None:
        """All are told to open their logs anew."""
        self.start()
        self.fleet.workers.reopen()
        self.fleet.run()
        for number in (1, 2):
            self.assertIn(("reopen",), self.fleet.process(number).serving.calls)


class StopTests(Case):
    def test_drained(self) -> None:
        """Those that serve get the grace period, the spare is ended at once, and nobody is replaced."""
        self.start()
        one, two, spare = self.fleet.processes
        stopping = self.fleet.workers.stop(30)
        self.fleet.run()
        self.assertTrue(spare.ended)
        for process in (one, two):
            self.assertEqual(process.serving.calls[-1], ("drain", 30.0))
            self.assertNoResult(stopping)
            self.assertFalse(process.killed)
            process.end("exit status 0")
        self.successResultOf(stopping)
        self.assertEqual(len(self.fleet.processes), 3)
        self.assertEqual(self.fleet.clock.getDelayedCalls(), [])
        self.assertFalse(self.fleet.connects())

    def test_too_slow(self) -> None:
        """Those that have not ended some time after the grace period are killed."""
        self.start()
        stopping = self.fleet.workers.stop(3)
        self.fleet.advance(3 + STOP_MARGIN_S - 0.2)
        self.assertNoResult(stopping)
        self.fleet.advance(0.3)
        self.successResultOf(stopping)

    def test_hanging(self) -> None:
        """One that hangs does not get the whole of a long grace period."""
        self.start()
        self.fleet.process(1).stopped = True
        stopping = self.fleet.workers.stop(1000)
        self.fleet.advance(BEAT_S + 11)
        self.assertTrue(self.fleet.processes[0].ended)
        self.assertFalse(self.fleet.processes[1].ended)
        self.assertNoResult(stopping)

    def test_before_the_start(self) -> None:
        """Stopping what never started is done at once."""
        self.successResultOf(self.fleet.workers.stop(30))
