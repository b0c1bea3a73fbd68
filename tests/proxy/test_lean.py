"""What the connections of a lean listener share."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.address import IPv4Address

from gateway.proxy.lean import TICK_S, LeanFactory
from tests.proxy.server_contract import GET, ServerCase


class Lean(ServerCase):
    def listener(self) -> LeanFactory:
        factory = LeanFactory(self.gateway.runner, self.clock)
        factory.doStart()
        return factory


class FactoryTests(Lean):
    limits = evolve(ServerCase.limits, max_connections=2)

    def test_room(self) -> None:
        """So many connections and no more; one that ends makes room."""
        self.connect()
        address = IPv4Address("TCP", "127.0.0.1", 5)
        self.assertIsNone(self.site.buildProtocol(address))
        self.transport.loseConnection()
        self.assertIsNotNone(self.site.buildProtocol(address))

    def test_states(self) -> None:
        """Who waits, whose request is read, and who is answered."""
        self.send(GET)
        self.connect()
        wanted = {"active": 2, "accepted": 2, "handled": 2, "reading": 0, "writing": 1, "waiting": 1}
        self.assertEqual(self.site.states(), wanted)
        self.send(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n1")
        self.assertEqual(self.site.states(), {**wanted, "reading": 1, "waiting": 0})

    def test_date(self) -> None:
        """The line is made once a second."""
        line = self.site.date()
        self.assertRegex(line, rb"\ADate: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\n\Z")
        self.assertIs(self.site.date(), line)
        self.clock.advance(1)
        self.assertNotEqual(self.site.date(), line)

    def test_clock(self) -> None:
        """Deadlines are looked at as long as there is anybody to look after."""
        self.clock.advance(self.limits.idle_timeout_s - TICK_S)
        self.assertFalse(self.transport.disconnected)
        self.clock.advance(2 * TICK_S)
        self.assertTrue(self.transport.disconnected)
        self.site.doStop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
