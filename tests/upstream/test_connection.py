"""Dialling."""

from __future__ import annotations

from typing import Any

from twisted.internet import error as net
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IHostnameResolver
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import IClientRequest, IResponse
from zope.interface import implementer
from zope.interface.verify import verifyObject

from gateway.core import reasons
from gateway.upstream.errors import UpstreamError
from gateway.upstream.request import Peer
from tests.upstream.memory import ANSWER, Network, Taker


@implementer(IHostnameResolver)
class Names:
    """Every name has these addresses."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.asked: list[str] = []

    def resolveHostName(self, receiver: Any, name: str, port: int = 0, *rest: Any, **more: Any) -> Any:
        self.asked.append(name)
        receiver.resolutionBegan(None)
        for address in self.addresses:
            receiver.addressResolved(IPv4Address("TCP", address, more.get("portNumber", port)))
        receiver.resolutionComplete()


class DialTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.network = Network()

    def error(self, deferred: Any) -> UpstreamError:
        error = self.failureResultOf(deferred, UpstreamError).value
        assert isinstance(error, UpstreamError)
        return error

    def test_addresses(self) -> None:
        """IP addresses are dialled as they are, IPv6 included."""
        for host in ("10.0.0.7", "::1"):
            network = Network()
            network.get(peer=Peer("http", host, 81))
            self.assertEqual(network.reactor.tcpClients[0][:2], (host, 81))

    def test_names(self) -> None:
        """Names go through the reactor's resolver."""
        names = Names("10.1.1.1")
        self.network.reactor.nameResolver = names
        call = self.network.get(peer=Peer("http", "a.example", 81))
        self.assertEqual(names.asked, ["a.example"])
        self.assertEqual(self.network.reactor.tcpClients[0][:2], ("10.1.1.1", 81))
        self.network.accept().says(ANSWER)
        self.assertEqual(self.successResultOf(call).code, 200)

    def test_unknown_name(self) -> None:
        """A name without addresses is a failure to connect, with its reason."""
        self.network.reactor.nameResolver = Names()
        error = self.error(self.network.get(peer=Peer("http", "nowhere.example", 81)))
        self.assertEqual((error.kind, error.sent), (reasons.NO_NODES, False))
        self.assertIn("nowhere.example", error.detail)

    def test_bad_name(self) -> None:
        """What cannot be a host name is a failure to connect."""
        error = self.error(self.network.get(peer=Peer("http", "a" * 300 + ".example", 81)))
        self.assertEqual(error.kind, reasons.UPSTREAM_CONNECT_FAILED)

    def test_refused(self) -> None:
        """A refused connection fails the request; nothing was sent."""
        call = self.network.get()
        factory = self.network.reactor.tcpClients[0][2]
        factory.clientConnectionFailed(None, Failure(net.ConnectionRefusedError()))
        error = self.error(call)
        self.assertEqual((error.kind, error.sent), (reasons.UPSTREAM_CONNECT_FAILED, False))
        self.assertEqual((self.network.agent.stats(), self.network.reactor.getDelayedCalls()), ({}, []))

    def test_timeout(self) -> None:
        """No connection within the connect timeout fails the request, and the attempt ends."""
        for host in ("10.0.0.1", "a.example"):
            self.network = Network()
            self.network.reactor.nameResolver = Names("10.1.1.1")
            call = self.network.get(peer=Peer("http", host, 81))
            self.network.pass_time(1.9)
            self.assertNoResult(call)
            self.network.pass_time(0.2)
            self.assertEqual(self.error(call).kind, reasons.UPSTREAM_CONNECT_TIMEOUT)
            self.assertEqual(self.network.agent.stats(), {})
            self.assertTrue(self.network.reactor.connectors[0].stoppedConnecting)

    def test_handshake_timeout(self) -> None:
        """TLS counts towards the connect timeout."""
        call = self.network.get(peer=Peer("https", "10.0.0.1", 443, "a.example"))
        socket = self.network.accept()
        self.assertTrue(socket.value().startswith(b"\x16\x03"))
        self.network.pass_time(2.1)
        error = self.error(call)
        self.assertEqual((error.kind, error.sent), (reasons.UPSTREAM_CONNECT_TIMEOUT, False))

    def test_cancelled(self) -> None:
        """Cancelling while connecting ends the attempt."""
        call = self.network.get()
        call.cancel()
        self.failureResultOf(call)
        self.assertTrue(self.network.reactor.connectors[0].stoppedConnecting)
        self.assertEqual((self.network.agent.stats(), self.network.reactor.getDelayedCalls()), ({}, []))

    def test_too_late(self) -> None:
        """A connection that is established after all is cut."""
        call = self.network.get()
        call.cancel()
        self.failureResultOf(call)
        self.assertTrue(self.network.accept().aborted)

    def test_other_way_to_connect(self) -> None:
        """The agent uses the given ``connect_tcp``, for addresses and for names."""
        used = []

        def connect(host: str, *rest: Any, **more: Any) -> Any:
            used.append(host)
            return network.reactor.connectTCP(host, *rest, **more)

        network = Network(connect_tcp=connect)
        network.reactor.nameResolver = Names("10.1.1.1")
        network.get()
        network.get(peer=Peer("http", "a.example", 81))
        self.assertEqual(used, ["10.0.0.1", "10.1.1.1"])


class ResponseTests(SynchronousTestCase):
    def test_as_iresponse(self) -> None:
        """A response provides ``IResponse``, and its fields both ways."""
        network = Network()
        call = network.get()
        network.accept().says(
            b"HTTP/1.0 404 Not There\r\nSet-Cookie: a=1\r\nSET-COOKIE: b=2\r\nContent-Length: 0\r\n\r\n"
        )
        response = self.successResultOf(call)
        verifyObject(IResponse, response)
        self.assertEqual(
            (response.code, response.phrase, response.version, response.length),
            (404, b"Not There", (b"HTTP", 1, 0), 0),
        )
        self.assertEqual(
            response.raw_fields, [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"content-length", b"0")]
        )
        self.assertEqual(response.headers.getRawHeaders("set-cookie"), ["a=1", "b=2"])
        verifyObject(IClientRequest, response.request)
        self.assertEqual(
            (response.request.method, response.request.absoluteURI), (b"GET", b"http://10.0.0.1:8080/x")
        )
        self.assertIsNone(response.previousResponse)
        response.setPreviousResponse(response)
        self.assertIs(response.previousResponse, response)
        taker = Taker()
        response.deliverBody(taker)
        self.assertEqual(taker.data, b"")
