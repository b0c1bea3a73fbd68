"""What every provider of ``gateway.interfaces.Counters`` promises."""

from __future__ import annotations

from collections.abc import Awaitable
from itertools import count
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from gateway.interfaces import Quota, Window

_numbers = count()


class BreakersContract:
    """
    Mixed into a trial TestCase beside ``CountersContract``.

    Attributes:
        counters: The provider under test, of ``gateway.interfaces.Breakers`` too.
    """

    counters: Any

    async def pass_time(self, seconds: float) -> None:
        """As ``CountersContract.pass_time``."""
        raise NotImplementedError

    async def test_breaker(self: Any) -> None:
        """Every so many failures open it; it knows how many there were, and since when it is open."""
        key = self.key()
        self.assertIsNone(self.counters.opened(key))
        for _ in range(2):
            self.counters.failed(key, 3)
        self.assertIsNone(self.counters.opened(key))
        self.counters.failed(key, 3)
        self.assertEqual(self.counters.opened(key)[0], 3)
        await self.pass_time(5)
        failures, ago_s = self.counters.opened(key)
        self.assertEqual((failures, round(ago_s, 6)), (3, 5))
        for _ in range(3):
            self.counters.failed(key, 3)
        failures, ago_s = self.counters.opened(key)
        self.assertEqual((failures, round(ago_s, 6)), (6, 0))

    async def test_breaker_heals(self: Any) -> None:
        """Enough successes in a row, and all is well; a failure in between begins anew."""
        key = self.key()
        for _ in range(4):
            self.counters.failed(key, 4)
        self.counters.succeeded(key, 2)
        self.counters.failed(key, 4)
        self.counters.succeeded(key, 2)
        self.assertIsNotNone(self.counters.opened(key))
        self.counters.succeeded(key, 2)
        self.assertIsNone(self.counters.opened(key))
        for _ in range(3):
            self.counters.failed(key, 4)
        self.assertIsNone(self.counters.opened(key))
        self.counters.succeeded(self.key(), 2)


class CountersContract:
    """
    Mixed into a trial TestCase.

    Attributes:
        counters: The provider under test.
    """

    counters: Any

    async def pass_time(self, seconds: float) -> None:
        """Let at least so much time pass for the counters."""
        raise NotImplementedError

    async def value(self, found: Any) -> Any:
        """What a method returned, at once or in time."""
        return await found if isinstance(found, Awaitable) else found

    def key(self) -> str:
        """One that nobody has used."""
        return f"key-{next(_numbers)}"

    async def take(self, *args: Any, **named: Any) -> Quota:
        quota: Quota = await self.value(self.counters.take(*args, **named))
        return quota

    async def test_fixed_window(self: Any) -> None:
        """As many as the limit are let through; the rest is told how long to wait."""
        key = self.key()
        found = [await self.take(key, 3, 60.0) for _ in range(5)]
        self.assertEqual([q.admitted for q in found], [True, True, True, False, False])
        self.assertEqual([q.remaining for q in found], [2, 1, 0, 0, 0])
        self.assertEqual(found[0].reset_s, 60.0)
        self.assertTrue(all(0 < q.reset_s <= 60.0 for q in found), found)

    async def test_next_window(self: Any) -> None:
        """When the window has ended the quota is whole again."""
        key = self.key()
        self.assertTrue((await self.take(key, 1, 0.05)).admitted)
        await self.pass_time(0.1)
        again = await self.take(key, 1, 60.0)
        self.assertEqual((again.admitted, again.remaining, again.reset_s), (True, 0, 60.0))
        self.assertFalse((await self.take(key, 1, 60.0)).admitted)

    async def test_keys(self: Any) -> None:
        """Every key has a counter of its own, whatever it is made of."""
        start = self.key()
        for key in (start, start + " ", start + ":\u20ac", start + "x" * 5000, start + "\udce9"):
            self.assertTrue((await self.take(key, 1, 60.0)).admitted, key)
            self.assertFalse((await self.take(key, 1, 60.0)).admitted, key)

    async def test_cost(self: Any) -> None:
        """A request may cost more than 1; what was asked for counts though it was refused."""
        key = self.key()
        found = [await self.take(key, 10, 60.0, cost) for cost in (7, 3)]
        self.assertEqual([(q.admitted, q.remaining) for q in found], [(True, 3), (True, 0)])
        key = self.key()
        found = [await self.take(key, 10, 60.0, cost) for cost in (7, 4, 1)]
        self.assertEqual([(q.admitted, q.remaining) for q in found], [(True, 3), (False, 0), (False, 0)])

    async def test_exactness(self: Any) -> None:
        """Of many at the same time exactly the limit gets through."""
        key = self.key()
        found = await gatherResults(
            [Deferred.fromCoroutine(self.take(key, 100, 600.0)) for _ in range(1000)], consumeErrors=True
        )
        self.assertEqual(sum(q.admitted for q in found), 100)

    async def test_sliding_window(self: Any) -> None:
        """In a sliding window, too, exactly the limit gets through; refused ones do not count."""
        key = self.key()
        found = [await self.take(key, 3, 60.0, sliding=True) for _ in range(5)]
        self.assertEqual([q.admitted for q in found], [True, True, True, False, False])
        self.assertEqual([q.remaining for q in found], [2, 1, 0, 0, 0])

    async def test_sliding_on(self: Any) -> None:
        """What was let through in the last window still counts in this one; after two it is forgotten."""
        # For somebody whose time is real: the window is long, and full from its first moment on.
        key = self.key()
        self.assertTrue((await self.take(key, 1000, 2.0, 1000, sliding=True)).admitted)
        self.assertFalse((await self.take(key, 1, 600.0, sliding=True)).admitted)
        await self.pass_time(2.0)
        remaining = (await self.take(key, 1_000_000, 2.0, sliding=True)).remaining
        self.assertLess(remaining, 1_000_000 - 1)
        await self.pass_time(4.1)
        self.assertEqual((await self.take(key, 1000, 2.0, sliding=True)).remaining, 999)

    async def test_several(self: Any) -> None:
        """Several quotas are taken from in turn; the first that refuses is the last that is asked."""
        one, two, three = (self.key() for _ in range(3))
        windows = [Window(one, 9, 60.0), Window(two, 1, 60.0), Window(three, 9, 30.0)]
        found = [await self.value(self.counters.take_all(windows)) for _ in range(2)]
        self.assertEqual([[q.admitted for q in quotas] for quotas in found], [[True] * 3, [True, False]])
        self.assertEqual((await self.take(one, 9, 60.0)).remaining, 6)
        self.assertEqual((await self.take(three, 9, 30.0)).remaining, 7)

    async def test_bucket(self: Any) -> None:
        """Requests that come at once wait for their turn, one after another; a full bucket refuses."""
        key = self.key()
        found = [await self.value(self.counters.leak(key, 0.01, 2)) for _ in range(4)]
        self.assertEqual(found[0], 0)
        self.assertTrue(70 < found[1] <= 100, found)
        self.assertTrue(170 < found[2] <= 200, found)
        self.assertEqual(found[3], -1)

    async def test_bucket_leaks(self: Any) -> None:
        """What has leaked makes room; a bucket that is empty is as good as new."""
        key = self.key()
        self.assertEqual(await self.value(self.counters.leak(key, 20, 0)), 0)
        await self.pass_time(0.06)
        self.assertEqual(await self.value(self.counters.leak(key, 20, 0)), 0)
        await self.pass_time(1.0)
        self.assertEqual(await self.value(self.counters.leak(key, 0.001, 1)), 0)
        self.assertGreater(await self.value(self.counters.leak(key, 0.001, 1)), 500)
        self.assertEqual(await self.value(self.counters.leak(key, 0.001, 1)), -1)

    async def test_together(self: Any) -> None:
        """No more than the limit are in at the same time; who leaves makes room for another."""
        key = self.key()
        found = [await self.value(self.counters.enter(key, 2, str(n), 60.0)) for n in range(3)]
        self.assertEqual(found, [1, 2, 0])
        self.counters.leave(key, "0")
        self.assertEqual(await self.value(self.counters.enter(key, 2, "3", 60.0)), 2)
        self.counters.leave(key, "1")
        self.counters.leave(key, "3")
        self.assertEqual(await self.value(self.counters.enter(key, 2, "4", 60.0)), 1)
        self.counters.leave(key, "4")
        self.assertEqual(await self.value(self.counters.enter(key, 2, "5", 60.0)), 1)

    async def would_take(self, *windows: Window) -> list[Quota]:
        return list(await self.value(self.counters.would_take(windows)))

    async def test_would_take(self: Any) -> None:
        """What the next request would be told can be asked, again and again: nothing is taken by that."""
        for sliding in (False, True):
            key = self.key()
            window = Window(key, 3, 600.0, 1, sliding)
            for left in (2, 1, 0):
                (quota,) = await self.would_take(window)
                self.assertEqual((quota.admitted, quota.remaining), (True, left))
                await self.would_take(window)
                taken = await self.take(key, 3, 600.0, sliding=sliding)
                self.assertEqual((taken.admitted, taken.remaining), (True, left))
                self.assertTrue(0 <= quota.reset_s - taken.reset_s < 60, (quota, taken))
            (quota,) = await self.would_take(window)
            self.assertEqual((quota.admitted, quota.remaining), (False, 0))
            self.assertTrue(0 < quota.reset_s <= 600)

    async def test_would_take_several(self: Any) -> None:
        """Of several the first that would refuse is the last that is asked."""
        windows = [Window(self.key(), limit, 600.0) for limit in (9, 1, 9)]
        self.assertEqual([q.admitted for q in await self.would_take(*windows)], [True] * 3)
        await self.value(self.counters.take_all(windows))
        self.assertEqual([q.admitted for q in await self.would_take(*windows)], [True, False])
        self.assertEqual((await self.would_take(windows[2]))[0].remaining, 7)

    async def test_would_leak(self: Any) -> None:
        """How long the next request would wait can be asked; the bucket stays as full as it is."""
        key = self.key()
        for _ in range(3):
            for _ in range(2):
                asked_s = await self.value(self.counters.would_leak(key, 0.01, 2))
            poured_s = await self.value(self.counters.leak(key, 0.01, 2))
            self.assertTrue(0 <= asked_s - poured_s < 60, (asked_s, poured_s))
        self.assertEqual(await self.value(self.counters.would_leak(key, 0.01, 2)), -1)

    async def test_would_enter(self: Any) -> None:
        """Who asks whether there is room takes none."""
        key = self.key()
        for number in (1, 2):
            for _ in range(3):
                self.assertEqual(await self.value(self.counters.would_enter(key, 2)), number)
            self.assertEqual(await self.value(self.counters.enter(key, 2, str(number), 60.0)), number)
        self.assertEqual(await self.value(self.counters.would_enter(key, 2)), 0)
        self.counters.leave(key, "1")
        self.assertEqual(await self.value(self.counters.would_enter(key, 2)), 2)
