"""Transports that write at once: real sockets on a real reactor, and the names of Twisted they rely on."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet import abstract, reactor, tcp
from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import ClientFactory, Factory
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from gateway.http1 import eager
from tests.http1.pairs import Pairs, Told, arrived


class _Producer:
    """Notes when it is paused and when it may go on."""

    def __init__(self, paused: list[bool]) -> None:
        self._paused = paused

    def pauseProducing(self) -> None:
        self._paused.append(True)

    def resumeProducing(self) -> None:
        self._paused.append(False)

    def stopProducing(self) -> None:
        """The connection is gone."""


class EagerTests(Pairs):
    """Each write goes to the socket at once."""

    async def test_at_once(self) -> None:
        """What is written is in the socket when the call returns: nothing waits for the reactor."""
        server, client = await self.pair()
        client.transport.writeSequence([b"a", b"b"])
        self.assertEqual(client.transport._tempDataBuffer, [])
        self.assertEqual(arrived(server.transport, 2), b"ab")
        client.transport.loseConnection()
        await server.lost
        await client.lost

    async def test_order_and_back_pressure(self) -> None:
        """What the socket does not take is sent later, in order; producers are paused meanwhile."""
        server, client = await self.pair()
        server.transport.pauseProducing()
        paused: list[bool] = []
        client.transport.registerProducer(_Producer(paused), True)
        sent = b"".join(bytes([i % 251]) * 100_000 for i in range(200))
        for start in range(0, len(sent), 1_000_000):
            client.transport.write(sent[start : start + 500_000])
            middle = start + 500_000
            pieces = [sent[middle : middle + 1], b"", sent[middle + 1 : start + 1_000_000]]
            client.transport.writeSequence(pieces)
        self.assertEqual(set(paused), {True})
        server.transport.resumeProducing()
        client.transport.unregisterProducer()
        client.transport.loseConnection()
        received = await server.lost
        self.assertEqual(len(received), len(sent))
        self.assertEqual(received, sent)
        await client.lost

    async def test_after_the_end(self) -> None:
        """Writing to a connection that is gone does nothing."""
        server, client = await self.pair()
        client.transport.abortConnection()
        await client.lost
        await server.lost
        client.transport.write(b"x")
        self.assertEqual(client.transport._tempDataBuffer, [])

    async def test_adopted(self) -> None:
        """A socket that was bound elsewhere is listened on."""
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            bound.listen(5)
            bound.setblocking(False)
            server = Told()
            port: Any = eager.adopt(reactor, bound, Factory.forProtocol(lambda: server))
            self.addCleanup(port.stopListening)
            with socket.create_connection(bound.getsockname()) as client:
                await server.made
                self.assertIsInstance(server.transport, eager.EagerServer)
                client.sendall(b"hello")
            self.assertEqual(await server.lost, b"hello")


class TurnTests(Pairs):
    """Writes while the reactor deals with several events."""

    def open_turn(self) -> None:
        """As the reactor does it."""
        eager.turn.open = True
        self.addCleanup(eager.turn.close)

    async def test_gathered(self) -> None:
        """Small writes leave at the end of the turn, in order; what is written later leaves at once."""
        server, client = await self.pair()
        self.open_turn()
        client.transport.write(b"a")
        client.transport.write(b"b")
        client.transport.writeSequence([b"c", b"d"])
        server.transport.pauseProducing()
        client.transport.write(b"e")
        self.assertEqual(arrived(server.transport, 4), b"abcd")
        self.assertRaises(BlockingIOError, server.transport.socket.recv, 9)
        eager.turn.close()
        self.assertEqual(arrived(server.transport, 1), b"e")
        client.transport.write(b"f")
        self.assertEqual(arrived(server.transport, 1), b"f")
        self.assertEqual((client.transport._tempDataBuffer, client.transport._tempDataLen), ([], 0))
        server.transport.resumeProducing()
        client.transport.loseConnection()
        self.assertEqual(await server.lost, b"")
        await client.lost

    async def test_large(self) -> None:
        """What is large is not held, nor what was written before it."""
        server, client = await self.pair()
        self.open_turn()
        large = b"x" * 20_000
        client.transport.write(b"a")
        client.transport.write(large)
        client.transport.write(b"b")
        self.assertEqual(arrived(server.transport, len(large) + 1), b"a" + large)
        eager.turn.close()
        self.assertEqual(arrived(server.transport, 1), b"b")
        client.transport.loseConnection()
        await server.lost
        await client.lost

    async def test_many(self) -> None:
        """When enough peers wait nobody waits any longer."""
        pairs = [await self.pair() for _ in range(eager._MOST_WAITING)]
        self.open_turn()
        for server, client in pairs:
            self.assertRaises(BlockingIOError, server.transport.socket.recv, 9)
            client.transport.write(b"a")
        for server, client in pairs:
            self.assertEqual(arrived(server.transport, 1), b"a")
            client.transport.loseConnection()
        eager.turn.close()
        for server, client in pairs:
            await server.lost
            await client.lost

    async def test_closed_meanwhile(self) -> None:
        """What was written before a connection is closed, half closed or cut arrives, as ever."""
        for end in ("loseConnection", "loseWriteConnection", "abortConnection"):
            server, client = await self.pair()
            self.open_turn()
            client.transport.write(b"last words")
            getattr(client.transport, end)()
            eager.turn.close()
            self.assertEqual(await server.lost, b"last words", end)
            await client.lost

    async def test_peer_ended_meanwhile(self) -> None:
        """A peer that says no more may still listen."""
        server, client = await self.pair()
        server.transport.socket.shutdown(socket.SHUT_WR)
        self.open_turn()
        client.transport.write(b"the answer")
        why = client.transport.doRead()
        while why is None:
            why = client.transport.doRead()
        eager.turn.close()
        self.assertEqual(arrived(server.transport, 10), b"the answer")
        client.transport.connectionLost(Failure(why))
        await client.lost
        await server.lost

    async def test_sent_meanwhile(self) -> None:
        """If Twisted begins to send it within the turn, nothing overtakes what is left of that."""
        server, client = await self.pair()
        self.open_turn()
        client.transport.write(b"abc")
        whole = client.transport.writeSomeData
        client.transport.writeSomeData = lambda data: whole(data[:1])
        client.transport.startWriting()
        client.transport.doWrite()
        client.transport.write(b"def")
        eager.turn.close()
        del client.transport.writeSomeData
        client.transport.loseConnection()
        self.assertEqual(await server.lost, b"abcdef")
        await client.lost

    async def test_gone_meanwhile(self) -> None:
        """A connection that is lost before the turn ends has nothing more to send, and nobody is told."""
        _, client = await self.pair()
        self.open_turn()
        client.transport.write(b"a")
        client.transport.connectionLost(Failure(ConnectionLost()))
        eager.turn.close()
        await client.lost

    async def test_full(self) -> None:
        """What the socket does not take when the turn ends is sent later; the producer is told to pause."""
        server, client = await self.pair()
        server.transport.pauseProducing()
        block = b"x" * 16_000
        sent = 0
        paused: list[bool] = []
        client.transport.registerProducer(_Producer(paused), True)
        self.open_turn()
        while not paused:
            client.transport.write(block)
            sent += len(block)
            self.assertLess(sent, 1 << 28)
        eager.turn.close()
        server.transport.resumeProducing()
        client.transport.unregisterProducer()
        client.transport.loseConnection()
        self.assertEqual(len(await server.lost), sent)
        await client.lost


class OtherReactorTests(SynchronousTestCase):
    """Reactors that make other transports keep them."""

    def test_untouched(self) -> None:
        clock: Any = Clock()
        self.assertFalse(eager.works_with(clock))
        self.assertIsNone(eager.connector(clock))

    def test_private_names(self) -> None:
        """The names of Twisted's that are relied on are where they were."""
        made: Any = abstract.FileDescriptor(reactor=Clock())
        self.assertEqual((made.dataBuffer, made._tempDataBuffer, made._writeDisconnected), (b"", [], False))
        self.assertEqual((made._tempDataLen, tcp.Connection._aborting), (0, False))
        self.assertTrue(callable(tcp.Port._fromListeningDescriptor))
        self.assertTrue(callable(tcp.Connector._makeTransport))


class UnsentTests(TestCase):
    async def test_unsent(self) -> None:
        """What a transport holds and what the system holds for it count, until the peer has taken them."""
        server, client = Told(), Told()
        port: Any = eager.listen(reactor, 0, Factory.forProtocol(lambda: server), 5, "127.0.0.1")
        self.addCleanup(port.stopListening)
        factory = ClientFactory()
        factory.protocol = lambda: client  # type: ignore[assignment]
        eager.connector(reactor)("127.0.0.1", port.getHost().port, factory)
        await client.made
        await server.made
        self.assertEqual(eager.unsent(client.transport), 0)
        server.transport.pauseProducing()
        large = 1 << 25
        client.transport.write(b"x" * large)
        held = len(client.transport.dataBuffer) + client.transport._tempDataLen
        before = eager.unsent(client.transport)
        self.assertGreater(before, held)
        self.assertEqual(len(arrived(server.transport, 1 << 20)), 1 << 20)
        # Nothing was sent meanwhile: the reactor had no turn. The system's part is less all the same.
        self.assertLess(eager.unsent(client.transport), before)
        server.transport.resumeProducing()
        client.transport.abortConnection()
        await client.lost
        await server.lost

    def test_nothing_to_tell(self) -> None:
        """Of what is no socket nothing is known."""
        self.assertEqual(eager.unsent(object()), 0)
        self.assertEqual(eager.unsent(abstract.FileDescriptor(MemoryReactorClock())), 0)
