"""Tests for gateway.threads."""

from __future__ import annotations

import sys
import threading

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from gateway.threads import SWITCH_S, in_thread, politely


class ThreadTests(TestCase):
    def setUp(self) -> None:
        self.usual = sys.getswitchinterval()
        self.addCleanup(lambda: self.assertEqual(sys.getswitchinterval(), self.usual))

    def test_courtesy(self) -> None:
        """While somebody computes, others get their turn sooner; afterwards everything is as before."""
        seen: list[float] = []

        def inner() -> None:
            seen.append(sys.getswitchinterval())

        def outer() -> str:
            politely(inner)
            inner()
            return "done"

        self.assertEqual(politely(outer), "done")
        self.assertEqual([round(one, 6) for one in seen], [SWITCH_S] * 2)

    def test_fails(self) -> None:
        """What fails is as polite."""
        self.assertRaises(ZeroDivisionError, politely, lambda: 1 // 0)

    async def test_in_thread(self) -> None:
        """Work runs in another thread; what it returns or raises is waited for."""
        run = in_thread(reactor)
        self.assertNotEqual(await run(threading.get_ident), threading.get_ident())
        await self.assertFailure(run(lambda: 1 // 0), ZeroDivisionError)
