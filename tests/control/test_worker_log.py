"""A worker's log arrives in the first process's."""

from __future__ import annotations

import os
from typing import Any

from twisted.logger import Logger, LogLevel, LogPublisher, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from gateway.control.worker_log import MAX_LINE_BYTES, PipeObserver, PipeReader


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.reading, writing = os.pipe()
        self.addCleanup(os.close, self.reading)
        self.addCleanup(os.close, writing)
        os.set_blocking(self.reading, False)
        self.observer = PipeObserver(writing)
        self.writing = writing
        self.log = Logger(namespace="gateway.some", observer=LogPublisher(self.observer))
        self.reader = PipeReader(lambda: "worker 1")
        self.events: list[Any] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)

    def arrived(self, step: int = 1 << 20) -> list[tuple[str, str, str]]:
        """Level, namespace and text of what the first process logs."""
        while True:
            try:
                data = os.read(self.reading, step)
            except BlockingIOError:
                break
            self.reader.received(data)
        found = [
            (event["log_level"].name, event["log_namespace"], event["log_format"].format(**event))
            for event in self.events
            if "worker" in event
        ]
        self.events.clear()
        return found


class EventTests(Case):
    def test_kept(self) -> None:
        """Level, source and words of an event are kept; the worker's name stands in front."""
        self.log.warn("{a} is {b}", a="x{y}", b=2)
        self.log.error("two\nlines ä")
        self.assertEqual(
            self.arrived(step=1),
            [
                ("warn", "gateway.some", "worker 1: x{y} is 2"),
                ("error", "gateway.some", "worker 1: two\nlines ä"),
            ],
        )

    def test_traceback(self) -> None:
        """A failure arrives with its traceback."""
        try:
            raise ValueError("deep")
        except ValueError:
            self.log.failure("something failed")
        ((level, _, text),) = self.arrived()
        self.assertEqual(level, "critical")
        self.assertIn("something failed\nTraceback", text)
        self.assertIn("ValueError: deep", text)

    def test_level(self) -> None:
        """What is below the level stays where it is."""
        self.log.debug("no")
        self.observer.level = LogLevel.error
        self.log.warn("no")
        self.log.error("yes")
        self.assertEqual([text for _, _, text in self.arrived()], ["worker 1: yes"])

    def test_full_pipe(self) -> None:
        """A first process that does not read holds no worker up; what was lost is counted."""
        for number in range(5000):
            self.log.info("{n} " + "x" * 100, n=number)
        texts = [text for _, _, text in self.arrived()]
        # The little room that is left may still take a word about the first that were lost.
        told = sum(int(text.split()[2]) for text in texts if "dropped" in text)
        texts = [text for text in texts if "dropped" not in text]
        self.assertLess(len(texts), 5000)
        self.assertEqual(texts, [f"worker 1: {n} " + "x" * 100 for n in range(len(texts))])
        self.log.info("again")
        lost, again = (text for _, _, text in self.arrived())
        self.assertEqual(lost, f"worker 1: {5000 - len(texts) - told} events were dropped here")
        self.assertEqual(again, "worker 1: again")

    def test_long_event(self) -> None:
        """Of an event that has no end the beginning arrives."""
        self.log.info("{x}", x="ä" * 100_000)
        ((_, _, text),) = self.arrived()
        self.assertTrue(text.startswith("worker 1: ää"))
        self.assertLess(len(text), MAX_LINE_BYTES)


class OtherOutputTests(Case):
    def test_plain_lines(self) -> None:
        """What a library or the interpreter writes there is logged as it is, to the last word."""
        os.write(self.writing, b"Fatal Python error: x\n\n\xff\x1e{}\n\x1e[1,2,3]\n\x1enonsense\nlast words")
        found = self.arrived(step=7)
        self.reader.ended()
        texts = [text for _, _, text in [*found, *self.arrived()]]
        self.assertEqual(
            texts,
            [
                "worker 1: Fatal Python error: x",
                "worker 1: \ufffd\x1e{}",
                "worker 1: 3",
                "worker 1: \x1enonsense",
                "worker 1: last words",
            ],
        )
        self.assertEqual(self.reader.last, "last words")

    def test_without_an_end(self) -> None:
        """A line that does not end takes no more memory than a line may."""
        for _ in range(40):
            self.reader.received(b"y" * 10_000)
        self.reader.received(b"\nnext\n")
        texts = [event["text"] for event in self.events if "worker" in event]
        self.assertEqual([len(text) for text in texts], [MAX_LINE_BYTES, 4])
