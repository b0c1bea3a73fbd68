"""Texts that are remembered."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.core.recurring import MAX_BYTES, Recurring


class RecurringTests(SynchronousTestCase):
    def test_at_once(self) -> None:
        """As long as there is room a text is known from its first time on, byte for byte."""
        memory: Recurring[int] = Recurring(10)
        self.assertTrue(memory.learn(b"Host: a", 1))
        self.assertEqual(memory.get(b"Host: a"), 1)
        self.assertIsNone(memory.get(b"host: a"))

    def test_the_second_time(self) -> None:
        """When half of it is full, from its second time on: texts that all differ do not fill it."""
        memory: Recurring[int] = Recurring(10)
        for number in range(1000):
            memory.learn(b"%d" % number, number)
        self.assertEqual(len(memory), 5)
        self.assertFalse(memory.learn(b"Host: a", 1))
        self.assertIsNone(memory.get(b"Host: a"))
        self.assertTrue(memory.learn(b"Host: a", 2))
        self.assertEqual(memory.get(b"Host: a"), 2)

    def test_bounded(self) -> None:
        """Neither many texts nor long ones fill the memory; with a limit of 0 there is none."""
        memory: Recurring[int] = Recurring(10)
        for number in range(10_000):
            for _ in range(2):
                memory.learn(b"%d" % number, number)
            self.assertLessEqual(len(memory), 10)
        long = b"x" * (MAX_BYTES + 1)
        none: Recurring[int] = Recurring(0)
        for _ in range(2):
            memory.learn(long, 1)
            none.learn(b"a", 1)
        self.assertIsNone(memory.get(long))
        self.assertEqual(len(none), 0)

    def test_secret(self) -> None:
        """They may be credentials: none stands in a repr."""
        memory: Recurring[int] = Recurring(10)
        for _ in range(2):
            memory.learn(b"secret", 1)
        self.assertNotIn("secret", repr(memory))
