"""A Redis cluster: which server holds a key, and following keys that move.

Keys belong to 16,384 slots, slots to servers. Who has which is asked of any server; one that does not have
a slot any more says who does.

Source: Redis cluster specification, "Key distribution model", "MOVED redirection", "ASK redirection".
"""

from __future__ import annotations

import re
from binascii import crc_hqx
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred

from gateway.counters.connection import RedisServer, Refused, within
from gateway.interfaces import CountersFailed

SLOTS = 16384
MAX_REDIRECTIONS = 5
_MOVE = re.compile(r"(MOVED|ASK) ([0-9]{1,5}) (.*):([0-9]{1,5})")

Connect = Callable[[str, int], RedisServer]


def slot_of(key: bytes) -> int:
    """
    The slot of a key; of a key with ``{…}`` in it only what is in there counts.

    Source:
        Redis cluster specification, "Hash tags": CRC-16/XMODEM modulo 16384.
    """
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start)
        if end > start + 1:
            key = key[start + 1 : end]
    return crc_hqx(key, 0) % SLOTS


class RedisCluster:
    """Runs scripts, each on the server that has its key (``gateway.counters.redis.Scripts``)."""

    def __init__(
        self, nodes: Sequence[tuple[str, int]], connect: Connect, reactor: Any, *, timeout_s: float
    ) -> None:
        """
        Args:
            nodes: Servers to start with.
            connect: Gives the server at an address; the same one each time.
            timeout_s: What a request waits for at most, redirections included.
        """
        self._nodes = list(nodes)
        self._connect = connect
        self._reactor = reactor
        self._timeout_s = timeout_s
        self._owners: dict[int, RedisServer] = {}
        self._waiting: list[Deferred[None]] = []

    def run(self, script: str, keys: Sequence[bytes], args: Sequence[object]) -> Deferred[list[int]]:
        """See ``Scripts.run``. All keys must be of one slot."""
        work = Deferred.fromCoroutine(self._run(script, keys, args))
        return within(self._timeout_s, work, self._reactor, "redis cluster")

    async def _run(self, script: str, keys: Sequence[bytes], args: Sequence[object]) -> list[int]:
        slot = slot_of(keys[0])
        server = self._owners.get(slot)
        if server is None:
            await self._learn()
            server = self._owners.get(slot)
            if server is None:
                raise CountersFailed(f"redis cluster: nobody has slot {slot}")
        asking = False
        for _ in range(MAX_REDIRECTIONS):
            try:
                answer: list[int]
                if asking:
                    answer = await server.ask(lambda protocol: _asking(protocol, script, keys, args))
                else:
                    answer = await server.run(script, keys, args)
                return answer
            except CountersFailed:
                # Another may have its slots soon: whoever comes next knows.
                self._learn()
                raise
            except Refused as error:
                moved = _MOVE.match(str(error))
                if moved is None:
                    raise
                kind, _, host, port = moved.groups()
                server = self._connect(host or server.target.host, int(port))
                asking = kind == "ASK"
                if not asking:
                    self._owners[slot] = server
                    self._learn()
        raise CountersFailed("redis cluster: redirected again and again")

    def _learn(self) -> Deferred[None]:
        """Ask who has which slots; one question at a time. Fires when that is known, or cannot be."""
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        if len(self._waiting) == 1:
            Deferred.fromCoroutine(self._ask_around()).addBoth(self._learnt)
        return waiting

    def _learnt(self, result: object) -> None:
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            deferred.callback(None)

    async def _ask_around(self) -> None:
        known = {(one.target.host, one.target.port): None for one in self._owners.values()}
        for host, port in dict.fromkeys((*known, *self._nodes)):
            server = self._connect(host, port)
            try:
                rows = await server.ask(lambda protocol: protocol.execute_command("CLUSTER", "SLOTS"))
                owners: dict[int, RedisServer] = {}
                for first, last, master, *_ in rows:
                    name = master[0].decode() if master[0] else host
                    owner = self._connect(name, master[1])
                    owners.update(dict.fromkeys(range(first, last + 1), owner))
            except (CountersFailed, Refused, ValueError, TypeError, IndexError, AttributeError):
                continue
            if owners:
                self._owners = owners
                return


def _asking(protocol: Any, script: str, keys: Sequence[bytes], args: Sequence[object]) -> Deferred[Any]:
    """The next command is for a slot that is on its way here."""
    protocol.execute_command("ASKING").addErrback(lambda _: None)
    answered: Deferred[Any] = protocol.eval(script, keys, args)
    return answered
