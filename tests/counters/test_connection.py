"""Tests for gateway.counters.connection: a Redis that is down, slow, back, guarded."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from gateway.counters.connection import RedisServer, Target
from gateway.counters.redis import RedisCounters
from gateway.counters.scripts import TAKE
from gateway.interfaces import CountersFailed
from gateway.upstream.tls import ClientTLS
from tests.certs import pair
from tests.counters.redis_server import LIMIT_S, RedisProcess
from tests.ports import reserve


class ConnectionCase(TestCase):
    timeout = LIMIT_S * 2

    def server(self, port: int, retry_s: float = 0.2, **named: Any) -> RedisServer:
        named.setdefault("timeout_s", 30)
        target = Target("127.0.0.1", port, **named)
        server = RedisServer(target, reactor, ClientTLS(), retry_s=retry_s)
        self.addCleanup(server.close)
        return server

    async def wait(self, seconds: float) -> None:
        await deferLater(reactor, seconds)  # type: ignore[arg-type]  # the reactor's interface is typed apart

    async def failure(self, server: RedisServer) -> str:
        with self.assertRaises(CountersFailed) as caught:
            await RedisCounters(server).take("k", 1, 60.0)
        return str(caught.exception)

    async def until_up(self, server: RedisServer) -> None:
        deadline = reactor.seconds() + LIMIT_S  # type: ignore[attr-defined]
        while reactor.seconds() < deadline:  # type: ignore[attr-defined]
            try:
                await RedisCounters(server).take("up", 1, 60.0)
                return
            except CountersFailed:
                await self.wait(0.02)
        self.fail("the server did not come back")


class DownTests(ConnectionCase):
    """A Redis that is not there, or not any more."""

    async def test_refused(self) -> None:
        """Nobody listens: the request fails at once, and so do those after it."""
        server = self.server(reserve(self), retry_s=600)
        self.assertIn("cannot connect", await self.failure(server))
        self.assertIn("cannot connect", await self.failure(server))

    async def test_killed_and_restarted(self) -> None:
        """Killed under load: what was asked fails, nothing hangs, and once it is back it is used again."""
        redis = RedisProcess(self)
        server = self.server(redis.port)
        counters: Any = RedisCounters(server)
        failed: list[str] = []
        answered: list[bool] = []
        going = [True]

        async def load() -> None:
            while going:
                try:
                    answered.append((await counters.take("k", 10**9, 600.0)).admitted)
                except CountersFailed as error:
                    failed.append(str(error))
                    await self.wait(0.01)

        running = [Deferred.fromCoroutine(load()) for _ in range(20)]
        await self._until(lambda: len(answered) > 200)
        redis.kill()
        await self._until(lambda: len(failed) > 50)
        before = len(answered)
        redis.start()
        await self._until(lambda: len(answered) > before + 200)
        going.clear()
        await gatherResults(running)
        self.assertTrue(all(answered))

    async def _until(self, reached: Callable[[], bool]) -> None:
        deadline = reactor.seconds() + LIMIT_S  # type: ignore[attr-defined]
        while not reached():
            self.assertLess(reactor.seconds(), deadline)  # type: ignore[attr-defined]
            await self.wait(0.02)

    async def test_stopped(self) -> None:
        """A Redis that hangs is given up after redis_timeout, and then fails at once until it goes on."""
        redis = RedisProcess(self)
        server = self.server(redis.port, timeout_s=0.3)
        await self.until_up(server)
        redis.signal(signal.SIGSTOP)
        self.assertIn("no answer within 0.3 s", await self.failure(server))
        started = reactor.seconds()  # type: ignore[attr-defined]
        for _ in range(100):
            await self.failure(server)
        self.assertLess(reactor.seconds() - started, 10)  # type: ignore[attr-defined]
        redis.signal(signal.SIGCONT)
        await self.until_up(server)

    async def test_held_up(self) -> None:
        """An answer that came in time counts, though this process was held up and reads it too late."""
        redis = RedisProcess(self)
        server = self.server(redis.port, timeout_s=1)
        await self.until_up(server)
        counters: Any = RedisCounters(server)
        asked = [counters.take("k", 9, 60.0) for _ in range(3)]
        time.sleep(1.5)
        self.assertEqual([quota.remaining for quota in await gatherResults(asked)], [8, 7, 6])

    async def test_asked_again_at_once(self) -> None:
        """Whoever asks again the moment a request has failed has a new connection, or is told at once."""
        redis = RedisProcess(self)
        server = self.server(redis.port, timeout_s=LIMIT_S)
        await self.until_up(server)
        redis.signal(signal.SIGSTOP)
        again: list[Deferred[str]] = []
        waiting = Deferred.fromCoroutine(self.failure(server))
        waiting.addCallback(lambda _: again.append(Deferred.fromCoroutine(self.failure(server))))
        redis.kill()
        await waiting
        self.assertIn("cannot connect", await again[0])

    async def test_says_nothing(self) -> None:
        """What takes connections and never answers counts as down."""
        silent = Factory.forProtocol(Protocol)
        port = reactor.listenTCP(0, silent, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        server = self.server(port.getHost().port, timeout_s=0.2)
        self.assertIn("no answer within 0.2 s", await self.failure(server))
        await self.wait(0.5)
        await self.failure(server)
        server.close()
        await self.wait(0.05)

    async def test_closed(self) -> None:
        """After the gateway has begun to stop nothing is asked any more, and who waits is told."""
        redis = RedisProcess(self)
        server = self.server(redis.port)
        await self.until_up(server)
        redis.signal(signal.SIGSTOP)
        waiting = Deferred.fromCoroutine(self.failure(server))
        server.close()
        self.assertIn("stops", await waiting)
        self.assertIn("stops", await self.failure(server))


class IdleTests(ConnectionCase):
    async def test_idle(self) -> None:
        """A connection nobody uses is closed; the next request has a new one."""
        redis = RedisProcess(self)
        server = self.server(redis.port, idle_s=0.2)
        await self.until_up(server)
        deadline = reactor.seconds() + LIMIT_S  # type: ignore[attr-defined]
        while redis.command("info", "clients").splitlines()[1].strip() != "connected_clients:1":
            self.assertLess(reactor.seconds(), deadline)  # type: ignore[attr-defined]
            await self.wait(0.05)
        await self.until_up(server)

    async def test_server_closes(self) -> None:
        """A connection that the server has closed costs no request."""
        redis = RedisProcess(self)
        server = self.server(redis.port)
        await self.until_up(server)
        for _ in range(3):
            redis.command("client", "kill", "type", "normal")
            await self.wait(0.2)
            await RedisCounters(server).take("k", 9, 60.0)

    async def test_scripts_forgotten(self) -> None:
        """A server that has forgotten the scripts is told them again."""
        redis = RedisProcess(self)
        server = self.server(redis.port)
        await self.until_up(server)
        redis.command("script", "flush")
        self.assertEqual((await server.run(TAKE, [b"k"], [5, 60000, 1, 0]))[:2], [1, 4])


class GuardedTests(ConnectionCase):
    """Passwords, users, databases, TLS."""

    async def test_password(self) -> None:
        """The password opens the server; a wrong one is told in the log and in no answer."""
        redis = RedisProcess(self, "--requirepass", "open-sesame")
        await self.until_up(self.server(redis.port, password="open-sesame"))
        words = await self.failure(self.server(redis.port, password="wrong-one"))
        self.assertIn("auth", words)
        self.assertNotIn("wrong-one", words)
        self.assertIn("NOAUTH", await self.failure(self.server(redis.port)))

    async def test_user(self) -> None:
        """A user of an access list has the rights it has."""
        redis = RedisProcess(self)
        redis.command("acl", "setuser", "gate", "on", ">key", "~*", "+@all")
        await self.until_up(self.server(redis.port, username="gate", password="key"))
        self.assertIn("auth", await self.failure(self.server(redis.port, username="gate", password="no")))

    async def test_database(self) -> None:
        """Counters are kept in the database that is named; one that is not there is told."""
        redis = RedisProcess(self)
        await RedisCounters(self.server(redis.port, database=3)).take("where", 1, 60.0)
        self.assertEqual(redis.command("-n", "3", "exists", "where"), "1")
        self.assertIn("dbid", await self.failure(self.server(redis.port, database=9999)))

    async def test_tls(self) -> None:
        """TLS, with the certificate checked or not."""
        directory = Path(self.mktemp())
        directory.mkdir()
        made = pair("localhost")
        certificate, key = directory / "cert.pem", directory / "key.pem"
        certificate.write_text(made.cert)
        key.write_text(made.key)
        port = reserve(self)
        redis = RedisProcess(
            self,
            *(
                "--tls-port",
                str(port),
                "--tls-cert-file",
                str(certificate.resolve()),
                "--tls-key-file",
                str(key.resolve()),
            ),
            *("--tls-auth-clients", "no", "--tls-ca-cert-file", str(certificate.resolve())),
        )
        self.assertEqual(redis.command("ping"), "PONG")
        await self.until_up(self.server(port, tls=True))
        self.assertIn("VerificationError", await self.failure(self.server(port, tls=True, verify=True)))
