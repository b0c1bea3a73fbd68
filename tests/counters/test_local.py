"""Tests for gateway.counters.local."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase, TestCase

from gateway.counters.local import LocalCounters
from gateway.interfaces import Window
from tests.counters.contract import BreakersContract, CountersContract

ROOT = Path(__file__).parents[2]

CHILD = """
import json, sys, time
from gateway.counters.local import LocalCounters
from gateway.interfaces import Window
counters = LocalCounters.adopt(int(sys.argv[1]), time.monotonic)
for line in sys.stdin:
    name, *args = json.loads(line)
    if name == "many":
        found = [sum(counters.take("many", 5000, 600.0).admitted for _ in range(args[0]))]
    elif name == "swing":
        found = [sum(bool(counters.enter("swing", 1000, "", 1)) for _ in range(args[0]))]
        for _ in range(args[0]):
            counters.leave("swing", "")
    else:
        found = getattr(counters, name)(*args)
    print(json.dumps(found), flush=True)
"""


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class AloneTests(CountersContract, BreakersContract, TestCase):
    """Counters of one process."""

    processes = 0

    def setUp(self) -> None:
        self.time = Time()
        self.counters = LocalCounters.make(1000, self.time, processes=self.processes)

    async def pass_time(self, seconds: float) -> None:
        self.time.now += seconds

    def test_asking_leaves_no_trace(self) -> None:
        """A thousand questions change not a byte of the counters, remember no key and claim no place."""
        counters = self.counters
        counters.take("k", 10, 60.0)
        counters.take("s", 10, 60.0, sliding=True)
        counters.leak("b", 0.01, 5)
        counters.enter("r", 5, "t", 1)
        before = counters._memory.words.tobytes(), dict(counters._meters.known), dict(counters._rooms.known)
        for number in range(1000):
            for key in ("k", "b", f"new{number}"):
                counters.would_take([Window(key, 10, 60.0), Window(key, 10, 60.0, 1, True)])
                counters.would_leak(key, 0.01, 5)
                counters.would_enter(key, 5)
        after = counters._memory.words.tobytes(), dict(counters._meters.known), dict(counters._rooms.known)
        self.assertEqual(after, before)
        self.assertEqual(counters.evictions, 0)
        self.assertEqual(counters.take("k", 10, 60.0).remaining, 8)

    def test_room(self) -> None:
        """Who watches is told how much memory there is, and what is free again."""
        empty = self.counters.room()
        self.assertEqual([name for name, _, _ in empty], ["quotas", "concurrency"])
        self.assertEqual([size for _, size, _ in empty], [free for _, _, free in empty])
        for number in range(5):
            self.counters.take(f"k{number}", 1, 10)
        self.counters.enter("k", 1, "t", 1)
        (_, size, left), (_, rooms, rooms_left) = self.counters.room()
        row = (size - left) // 5
        self.assertEqual(size - left, 5 * row)
        self.assertEqual(size % row, 0)
        self.assertGreater(rooms, rooms_left)
        self.time.now += 10
        self.counters.leave("k", "t")
        self.assertEqual(self.counters.room(), empty)


class SharingTests(AloneTests):
    """Counters that are ready to be shared."""

    processes = 2


class RoomTests(SynchronousTestCase):
    """There is room for so many keys."""

    def test_full(self) -> None:
        """However many keys come, memory stays what it is, and what was counted last still counts."""
        time = Time()
        counters = LocalCounters.make(64, time)
        for number in range(10_000):
            self.assertTrue(counters.take(f"k{number}", 1, 60.0).admitted)
        self.assertGreater(counters.evictions, 9000)
        self.assertFalse(counters.take("k9999", 1, 60.0).admitted)

    def test_ended_first(self) -> None:
        """A counter whose time is over gives its place away before one that still counts does."""
        time = Time()
        counters = LocalCounters.make(1000, time)
        for number in range(500):
            counters.take(f"long{number}", 1, 1e6)
        for number in range(20_000):
            counters.take(f"short{number}", 1, 1.0)
            time.now += 0.01
        admitted = sum(counters.take(f"long{number}", 1, 1e6).admitted for number in range(500))
        self.assertEqual(admitted, 0)

    def test_at_hand(self) -> None:
        """A window that has begun is at hand until its row is another's; what is counted in it counts."""
        time = Time()
        counters = LocalCounters.make(16, time)
        self.assertIsNone(counters.at_hand("k"))
        counters.take("k", 4, 60.0)
        time.now += 10
        running = counters.at_hand("k")
        assert running is not None
        self.assertEqual((running.key, running.count, running.ends_s - counters.now()), ("k", 1, 50.0))
        running.count += 1
        self.assertEqual(list(counters.would_take([Window("k", 4, 60.0)])), [(True, 1, 50.0)])
        self.assertEqual(counters.take("k", 4, 60.0), (True, 1, 50.0))
        self.assertIs(counters.at_hand("k"), running)
        self.assertEqual(running.count, 3)
        time.now += 50
        self.assertEqual(counters.take("k", 4, 60.0), (True, 3, 60.0))
        self.assertEqual((running.count, running.ends_s - counters.now()), (1, 60.0))
        for number in range(10_000):
            counters.take(f"k{number}", 3, 60.0)
        self.assertEqual(running.ends_s, 0.0)
        at_hand = [number for number in range(10_000) if counters.at_hand(f"k{number}") is not None]
        self.assertLessEqual(len(at_hand), 32)
        self.assertIn(9_999, at_hand)
        for number in at_hand:
            self.assertEqual(counters.take(f"k{number}", 3, 60.0).remaining, 1)

    def test_many_at_hand(self) -> None:
        """So many are at hand; for a new one the oldest goes, and what it counted stands in its row."""
        counters = LocalCounters.make(100_000, Time())
        counters.take("k", 10, 60.0)
        running = counters.at_hand("k")
        assert running is not None
        running.count += 5
        for number in range(10_000):
            counters.take(f"k{number}", 3, 60.0)
        self.assertIsNone(counters.at_hand("k"))
        self.assertEqual(running.ends_s, 0.0)
        at_hand = [number for number in range(10_000) if counters.at_hand(f"k{number}") is not None]
        self.assertEqual(len(at_hand), 10_000 - counters.evictions)
        self.assertEqual(counters.take("k", 10, 60.0).remaining, 3)

    def test_sliding(self) -> None:
        """Windows that follow each other in another way are not at hand."""
        counters = LocalCounters.make(16, Time())
        counters.take("k", 3, 60.0, sliding=True)
        self.assertIsNone(counters.at_hand("k"))

    def test_shared(self) -> None:
        """Where other processes count, too, nothing is at hand."""
        counters = LocalCounters.make(16, Time(), processes=2)
        counters.take("k", 3, 60.0)
        self.assertIsNone(counters.at_hand("k"))

    def test_those_who_left(self) -> None:
        """Keys that nobody is in any more make room."""
        counters = LocalCounters.make(16, Time())
        for number in range(1000):
            self.assertEqual(counters.enter(f"k{number}", 1, "", 1), 1)
            counters.leave(f"k{number}", "")
        self.assertEqual(counters.evictions, 0)


class Child:
    """Another process that uses the same counters."""

    def __init__(self, case: TestCase | SynchronousTestCase, counters: LocalCounters) -> None:
        command = [sys.executable, "-c", CHILD, str(counters.fd)]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[counters.fd],
            cwd=ROOT,
            text=True,
        )
        case.addCleanup(self.end)

    def ask(self, *words: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(words) + "\n")
        self.process.stdin.flush()

    def answer(self) -> object:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


class ProcessesTests(SynchronousTestCase):
    """Several processes, one set of counters."""

    def setUp(self) -> None:
        self.counters = LocalCounters.make(100, Time(), processes=2)

    def test_exact(self) -> None:
        """Three processes that take as fast as they can get exactly the limit, together."""
        children = [Child(self, self.counters) for _ in range(3)]
        for child in children:
            child.ask("many", 4000)
        admitted = [child.answer() for child in children]
        self.assertEqual(sum(each[0] for each in admitted if isinstance(each, list)), 5000)

    def test_seen_by_who_only_looks(self) -> None:
        """What one process counts another sees that only asks, without a place among those who count."""
        self.counters = LocalCounters.make(100, time.monotonic, processes=2)
        child = Child(self, self.counters)
        window = Window("k", 3, 60.0)
        self.assertEqual(self.counters.would_take([window])[0].remaining, 2)
        for words in (("take", "k", 3, 60.0), ("leak", "b", 0.01, 2), ("enter", "room", 2, "a", 60)):
            child.ask(*words)
            child.answer()
        self.assertEqual(self.counters.would_take([window])[0].remaining, 1)
        self.assertGreater(self.counters.would_leak("b", 0.01, 2), 0)
        self.assertEqual(self.counters.would_enter("room", 2), 2)
        self.assertEqual(self.counters._column, -1)

    def test_in_and_out(self) -> None:
        """Nobody is left behind by processes that enter and leave at the same time."""
        children = [Child(self, self.counters) for _ in range(3)]
        for child in children:
            child.ask("swing", 300)
        self.assertEqual([child.answer() for child in children], [[300]] * 3)
        self.assertEqual(self.counters.enter("swing", 1000, "", 1), 1)

    def test_killed(self) -> None:
        """What a process had in flight when it was killed is forgotten; what others have is not."""
        children = [Child(self, self.counters) for _ in range(2)]
        for child in children:
            for number in range(3):
                child.ask("enter", "room", 10, str(number), 60)
                self.assertTrue(child.answer())
        self.assertEqual(self.counters.enter("room", 10, "", 1), 7)
        self.counters.forget_the_dead()
        self.assertEqual(self.counters.enter("room", 10, "", 1), 8)
        children[0].end()
        self.counters.forget_the_dead()
        self.assertEqual(self.counters.enter("room", 10, "", 1), 6)

    def test_nothing_to_forget(self) -> None:
        """Where no process has counted, its death costs no look at all the counters there is room for."""
        looked: list[int] = []
        taken = self.counters._rooms.taken
        self.patch(self.counters._rooms, "taken", lambda word: looked.append(word) or taken(word))
        self.counters.forget_the_dead()
        self.assertEqual(looked, [])
        child = Child(self, self.counters)
        child.ask("enter", "room", 10, "a", 60)
        self.assertEqual(child.answer(), 1)
        child.end()
        self.counters.forget_the_dead()
        self.counters.forget_the_dead()
        self.assertEqual(len(looked), 1)

    def test_place_of_the_dead(self) -> None:
        """However many processes come and go, the next one finds a place and starts with nothing."""
        for _ in range(20):
            child = Child(self, self.counters)
            child.ask("enter", "room", 10, "a", 60)
            self.assertEqual(child.answer(), 1)
            child.end()
            self.counters.forget_the_dead()
