"""A Redis that sentinels watch: they know which server is the master, now.

Source: Redis documentation, "Guidelines for Redis clients with support for Redis Sentinel".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred

from gateway.counters.connection import RedisServer, Refused, within
from gateway.interfaces import CountersFailed


class RedisSentinel:
    """Runs scripts on the master (``gateway.counters.redis.Scripts``)."""

    def __init__(
        self,
        sentinels: Sequence[RedisServer],
        name: str,
        connect: Callable[[str, int], RedisServer],
        reactor: Any,
        *,
        timeout_s: float,
    ) -> None:
        """
        Args:
            sentinels: Whom to ask, in this order. name: What they call the master.
            connect: Gives the server at an address; the same one each time.
            timeout_s: What a request waits for at most, questions included.
        """
        self._sentinels = list(sentinels)
        self._name = name
        self._connect = connect
        self._reactor = reactor
        self._timeout_s = timeout_s
        self._master: RedisServer | None = None
        self._waiting: list[Deferred[None]] = []

    def run(self, script: str, keys: Sequence[bytes], args: Sequence[object]) -> Deferred[list[int]]:
        """See ``Scripts.run``."""
        work = Deferred.fromCoroutine(self._run(script, keys, args))
        return within(self._timeout_s, work, self._reactor, f"redis {self._name}")

    async def _run(self, script: str, keys: Sequence[bytes], args: Sequence[object]) -> list[int]:
        if self._master is None:
            await self._find()
        for last in (False, True):
            master = self._master
            if master is None:
                raise CountersFailed(f"redis {self._name}: no sentinel knows a master")
            try:
                answer: list[int] = await master.run(script, keys, args)
                return answer
            except CountersFailed:
                # Another may be the master soon: whoever comes next knows.
                self._find()
                raise
            except Refused as error:
                if last or not str(error).startswith("READONLY"):
                    raise
                await self._find()  # It is the master no more.
        raise AssertionError

    def _find(self) -> Deferred[None]:
        """Ask who is the master; one question at a time. Fires when that is known, or cannot be."""
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        if len(self._waiting) == 1:
            Deferred.fromCoroutine(self._ask_around()).addBoth(self._found)
        return waiting

    def _found(self, result: object) -> None:
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            deferred.callback(None)

    async def _ask_around(self) -> None:
        for place, sentinel in enumerate(self._sentinels):
            try:
                host, port = await sentinel.ask(
                    lambda protocol: protocol.execute_command(
                        "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._name
                    )
                )
                self._master = self._connect(host.decode(), int(port))
            except (CountersFailed, Refused, ValueError, TypeError, AttributeError):
                continue
            # The one that answered is asked first from now on.
            self._sentinels.insert(0, self._sentinels.pop(place))
            return
