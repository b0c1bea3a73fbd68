"""The server contract over twisted.web."""

from __future__ import annotations

from gateway.proxy.resource import ProxyResource
from gateway.proxy.site import ProxySite
from tests.proxy import server_contract as contract


class TwistedWeb(contract.ServerCase):
    def listener(self) -> ProxySite:
        return ProxySite(ProxyResource(self.gateway.runner), self.limits, self.clock)


class ResponseTests(TwistedWeb, contract.ResponseContract):
    """Answers."""


class RequestContentTests(TwistedWeb, contract.RequestContentContract):
    """Requests with content."""

    def test_no_timer_stays(self) -> None:
        """A client that leaves in the middle of its content leaves no timer behind."""
        self.send(contract.HEAD + b"Content-Length: 100\r\n\r\nabc")
        self.transport.loseConnection()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class ConnectionTests(TwistedWeb, contract.ConnectionContract):
    """Connections."""

    def test_idle_while_stopping(self) -> None:
        """A gateway that stops closes idle connections at once."""
        self.send(contract.GET)
        self.answer(200, (b"content-length", b"0")).end()
        self.site.drain()
        self.assertTrue(self.transport.disconnected)
