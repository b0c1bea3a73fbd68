"""Keeping connections."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from gateway.upstream.pool import PoolStats
from gateway.upstream.request import Peer
from tests.upstream.memory import ANSWER, KEEPALIVE, PEER, Network, Socket


class PoolTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.network = Network()

    def opened(self, count: int, network: Network | None = None, **more: Any) -> list[Socket]:
        """*count* connections that are idle, the first answered first."""
        network = network or self.network
        calls = [network.get(**more) for _ in range(count)]
        sockets = [network.accept() for _ in range(count)]
        for socket in sockets:
            socket.says(ANSWER)
        for call in calls:
            self.successResultOf(call)
        return sockets

    def stats(self) -> PoolStats | None:
        return self.network.agent.stats().get(PEER)

    def test_last_used_first(self) -> None:
        """The connection used last is used next."""
        first, second = self.opened(2)
        second.clear()
        self.network.get()
        self.assertTrue(second.value())
        self.assertEqual(self.stats(), PoolStats(1, 2))
        self.assertFalse(first.lost)

    def test_size(self) -> None:
        """More than ``size`` idle connections are not kept; the oldest goes."""
        sockets = self.opened(3)
        self.assertEqual([socket.lost for socket in sockets], [True, False, False])
        self.network.pass_time(0)
        self.assertEqual(self.stats(), PoolStats(2, 2))

    def test_idle_timeout(self) -> None:
        """An idle connection is closed after ``idle_timeout``, counted from its last response."""
        (socket,) = self.opened(1)
        self.network.pass_time(9)
        self.network.get()
        socket.says(ANSWER)
        self.network.pass_time(9)
        self.assertFalse(socket.lost)
        self.network.pass_time(1.1)
        self.assertTrue(socket.lost)
        self.network.pass_time(0)
        self.assertIsNone(self.stats())

    def test_no_idle(self) -> None:
        """An idle timeout of 0 keeps nothing."""
        (socket,) = self.opened(1, keepalive=evolve(KEEPALIVE, idle_timeout_s=0))
        self.assertTrue(socket.lost)

    def test_requests(self) -> None:
        """A connection carries ``requests`` requests and no more."""
        settings = evolve(KEEPALIVE, requests=2)
        (socket,) = self.opened(1, keepalive=settings)
        self.network.get(keepalive=settings)
        self.assertFalse(socket.lost)
        socket.says(ANSWER)
        self.assertTrue(socket.lost)

    def test_changed_settings(self) -> None:
        """New settings count from the next request on."""
        (socket,) = self.opened(1)
        self.network.get(keepalive=evolve(KEEPALIVE, requests=1))
        socket.says(ANSWER)
        self.assertTrue(socket.lost)

    def test_closed_by_peer(self) -> None:
        """An idle connection that the peer closes is not offered again."""
        first, second = self.opened(2)
        second.hangs_up()
        self.assertEqual(self.stats(), PoolStats(1, 1))
        first.clear()
        self.network.get()
        self.assertTrue(first.value())

    def test_unasked(self) -> None:
        """An idle connection on which anything arrives is cut: it would be taken for the next answer."""
        (socket,) = self.opened(1)
        socket.says(ANSWER)
        self.assertTrue(socket.aborted)
        self.network.get()
        self.assertEqual(self.network.dials, 2)

    def test_by_peer(self) -> None:
        """Different peers share no connection."""
        self.opened(1)
        other = Peer("http", PEER.host, PEER.port + 1)
        self.network.get(peer=other)
        self.assertEqual(self.network.dials, 2)

    def test_room(self) -> None:
        """All pools together keep no more than the agent's limit."""
        network = Network(max_idle=1)
        sockets = self.opened(1, network) + self.opened(1, network, peer=Peer("http", "10.0.0.9", 80))
        self.assertEqual([socket.lost for socket in sockets], [False, True])
        network.get()
        self.assertEqual(network.dials, 2)
        sockets[0].says(ANSWER)
        self.assertFalse(sockets[0].lost)

    def test_close(self) -> None:
        """Closing the agent closes idle connections at once and busy ones when they are done."""
        idle, busy = self.opened(2)
        call = self.network.get()
        busy.clear()
        closed = self.network.agent.close()
        self.assertEqual((idle.lost, busy.lost), (True, False))
        self.network.pass_time(0)
        self.assertNoResult(closed)
        busy.says(ANSWER)
        self.assertEqual(self.successResultOf(call).code, 200)
        self.network.pass_time(0)
        self.successResultOf(closed)
        self.assertEqual(self.network.reactor.getDelayedCalls(), [])
        self.successResultOf(self.network.agent.close())
