"""Content that passes from socket to socket without being read: real sockets on a real reactor."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.testing import StringTransport

from gateway.http1 import conduit, eager
from gateway.http1.conduit import Conduit
from tests.http1.pairs import Pairs, Told, readable

_CONTENT = os.urandom(3_000_000)


class _Inlet:
    """
    Lets so much pass.

    Attributes:
        sizes: What it was told of.
        open: Whether content may pass unseen now.
        done: Fires when all of it has.
    """

    def __init__(self, target: Any, left: int) -> None:
        self.target = target
        self.left = left
        self.open = True
        self.sizes: list[int] = []
        self.done: Deferred[None] = Deferred()
        self.conduit: Conduit | None = None

    def pours(self) -> tuple[Any, int] | None:
        return (self.target, self.left) if self.open and self.left else None

    def poured(self, size: int) -> None:
        self.sizes.append(size)
        self.left -= size
        if not self.left and self.conduit is not None:
            self.conduit.stop()
            self.done.callback(None)


class ConduitTests(Pairs):
    async def pipeline(self, left: int) -> tuple[Told, Told, Told, Told, _Inlet]:
        """A client, the two ends that a conduit joins, and the peer behind it."""
        server, client = await self.pair()
        peer, ours = await self.pair()
        inlet = _Inlet(ours.transport, left)
        inlet.conduit = Conduit.lay(server.transport, inlet)
        self.assertIsNotNone(inlet.conduit)
        return client, server, ours, peer, inlet

    async def end(self, client: Told, server: Told, ours: Told, peer: Told) -> bytes:
        """Close both connections; what has come to the peer."""
        client.transport.loseConnection()
        await server.lost
        await client.lost
        ours.transport.loseConnection()
        received = await peer.lost
        await ours.lost
        return received

    async def test_passes(self) -> None:
        """Every byte arrives, in order, and is told; none of it was read."""
        client, server, ours, peer, inlet = await self.pipeline(len(_CONTENT))
        client.transport.write(_CONTENT)
        await inlet.done
        self.assertEqual(sum(inlet.sizes), len(_CONTENT))
        received = await self.end(client, server, ours, peer)
        self.assertEqual(received, _CONTENT)
        self.assertEqual(server.received, [])

    async def test_no_more_than_that(self) -> None:
        """What follows the content is read as ever, by whoever is next."""
        client, server, ours, peer, inlet = await self.pipeline(100_000)
        client.transport.write(_CONTENT[:100_003])
        await inlet.done
        received = await self.end(client, server, ours, peer)
        self.assertEqual(received, _CONTENT[:100_000])
        self.assertEqual(b"".join(server.received), _CONTENT[100_000:100_003])

    async def test_a_target_that_is_full(self) -> None:
        """What it does not take waits in its buffer, with back-pressure; what comes meanwhile is read."""
        await self.check_full()

    async def test_a_small_pipe(self) -> None:
        """Where the system allows no larger one, content passes in smaller pieces."""
        small = conduit._Pipe()
        self.patch(conduit, "_pipe", small)
        self.patch(conduit, "_AT_ONCE", 4096)
        self.assertTrue(small.ready())
        self.addCleanup(small.forget)
        await self.check_full()

    async def check_full(self) -> None:
        client, server, ours, peer, inlet = await self.pipeline(len(_CONTENT))

        def read(data: bytes) -> None:
            ours.transport.write(data)
            inlet.poured(len(data))

        server.dataReceived = read  # type: ignore[method-assign]
        paused: Deferred[None] = Deferred()
        producer = _Pauses(server.transport, paused)
        ours.transport.registerProducer(producer, True)
        peer.transport.pauseProducing()
        client.transport.write(_CONTENT * 10)
        inlet.left = 10 * len(_CONTENT)
        await paused
        self.assertFalse(ours.transport.takes_at_once())
        peer.transport.resumeProducing()
        await inlet.done
        ours.transport.unregisterProducer()
        received = await self.end(client, server, ours, peer)
        self.assertEqual(received, _CONTENT * 10)

    async def test_nothing_is_overtaken(self) -> None:
        """As long as something waits to be sent, content is read and goes the usual way, behind it."""
        client, server, ours, peer, inlet = await self.pipeline(4)
        ours.transport._tempDataBuffer.append(b"head")
        ours.transport._tempDataLen = 4
        read: Deferred[bytes] = Deferred()
        server.dataReceived = read.callback  # type: ignore[method-assign]
        client.transport.write(b"late")
        self.assertEqual(await read, b"late")
        self.assertEqual(inlet.sizes, [])
        ours.transport.startWriting()
        self.assertEqual(await self.end(client, server, ours, peer), b"head")

    async def test_when_it_must_be_read(self) -> None:
        """The inlet may change its mind at any time."""
        client, server, ours, peer, inlet = await self.pipeline(10)
        inlet.open = False
        read: Deferred[bytes] = Deferred()
        server.dataReceived = read.callback  # type: ignore[method-assign]
        client.transport.write(b"seen")
        self.assertEqual(await read, b"seen")
        self.assertEqual(await self.end(client, server, ours, peer), b"")

    async def test_a_source_that_ends(self) -> None:
        """Its end is told as ever."""
        client, server, ours, peer, inlet = await self.pipeline(len(_CONTENT))
        client.transport.write(b"only this")
        client.transport.loseConnection()
        self.assertEqual(await server.lost, b"")
        await client.lost
        self.assertEqual(sum(inlet.sizes), 9)
        ours.transport.loseConnection()
        self.assertEqual(await peer.lost, b"only this")
        await ours.lost

    async def test_urgent_data(self) -> None:
        """A byte that is sent out of band is not content, and holds up nothing behind it."""
        client, server, ours, peer, inlet = await self.pipeline(6)
        first: Deferred[None] = Deferred()
        server.transport.pauseProducing()
        client.transport.write(b"abc")
        client.transport.socket.send(b"!", socket.MSG_OOB)
        client.transport.write(b"def")

        def taken(data: bytes) -> None:
            ours.transport.write(data)
            inlet.left -= len(data)
            first.callback(None)

        server.dataReceived = taken  # type: ignore[method-assign]
        server.transport.resumeProducing()
        await first
        self.assertEqual(await self.end(client, server, ours, peer), b"abcdef")

    async def test_a_source_that_is_reset(self) -> None:
        """It is told from one that ends in order."""
        client, server, ours, peer, _ = await self.pipeline(len(_CONTENT))
        client.transport.abortConnection()
        await client.lost
        await server.lost
        self.assertIsInstance(server.reason.value, ConnectionLost)
        ours.transport.loseConnection()
        await peer.lost
        await ours.lost

    async def test_a_target_that_is_gone(self) -> None:
        """Content for it is taken and forgotten, as what is written to it is."""
        client, server, ours, peer, _ = await self.pipeline(len(_CONTENT))
        peer.transport.abortConnection()
        await ours.lost
        await peer.lost
        read: Deferred[bytes] = Deferred()
        server.dataReceived = read.callback  # type: ignore[method-assign]
        client.transport.write(b"late")
        self.assertEqual(await read, b"late")
        client.transport.loseConnection()
        await server.lost
        await client.lost

    async def test_where_the_system_cannot(self) -> None:
        """Where there is no such system call for these sockets, content is read; nothing is lost."""
        client, server, ours, peer, inlet = await self.pipeline(10)
        self.patch(conduit, "_pipe", conduit._Pipe())
        conduit._pipe.ready()

        def refused(*args: object, **named: object) -> int:
            raise OSError(errno.EINVAL, "not here")

        self.patch(os, "splice", refused)
        read: Deferred[bytes] = Deferred()
        server.dataReceived = read.callback  # type: ignore[method-assign]
        client.transport.write(b"seen")
        self.assertEqual(await read, b"seen")
        self.assertIsNone(Conduit.lay(server.transport, inlet), "it is not tried again")
        self.assertEqual(await self.end(client, server, ours, peer), b"")

    async def test_other_transports(self) -> None:
        """Only sockets of our own kind are joined."""
        client, server, ours, peer, inlet = await self.pipeline(10)
        other: Any = StringTransport()
        self.assertIsNone(Conduit.lay(other, inlet))
        self.assertIsNone(Conduit.lay(server.transport, _Inlet(other, 10)))
        await self.end(client, server, ours, peer)

    async def test_has_more(self) -> None:
        """Whether something waits to be read can be told without reading it."""
        server, client = await self.pair()
        server.transport.pauseProducing()
        self.assertFalse(server.transport.has_more())
        client.transport.write(b"x")
        self.assertTrue(readable(server.transport))
        self.assertTrue(server.transport.has_more())
        self.assertEqual(server.transport.socket.recv(9), b"x")
        client.transport.loseConnection()
        await client.lost
        self.assertTrue(readable(server.transport))
        self.assertTrue(server.transport.has_more(), "the end")
        server.transport.resumeProducing()
        await server.lost


class _Pauses:
    """Stops reading from a transport while another takes no more."""

    def __init__(self, source: eager.EagerMixin, paused: Deferred[None]) -> None:
        self._source: Any = source
        self._paused: Deferred[None] | None = paused

    def pauseProducing(self) -> None:
        self._source.pauseProducing()
        told, self._paused = self._paused, None
        if told is not None:
            told.callback(None)

    def resumeProducing(self) -> None:
        self._source.resumeProducing()

    def stopProducing(self) -> None:
        """The connection is gone."""
