"""Probes: what they send, and what each way of answering shows."""

from __future__ import annotations

from typing import Any

from twisted.internet import error as net
from twisted.internet import reactor
from twisted.internet.defer import CancelledError
from twisted.internet.ssl import trustRootFromCertificates
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from gateway.core.health import Checks, Event
from gateway.model.upstream import Upstream
from gateway.upstream.probes import DRAINED_BYTES, Prober, ProbeResult, prepare
from tests.upstream.certificates import certificate, public
from tests.upstream.memory import Socket


def upstream(host: str = "10.0.0.1", port: int = 8080, active: Any = None, **more: Any) -> Upstream:
    return Upstream.parse(
        {"nodes": [{"host": host, "port": port, "weight": 1}], "checks": {"active": active or {}}, **more}
    )


def prepared(*args: Any, **more: Any) -> Any:
    made = upstream(*args, **more)
    assert made.checks is not None
    return prepare(made, made.nodes[0], Checks.of(made.checks).active)


class PrepareTests(SynchronousTestCase):
    def test_host(self) -> None:
        """The Host of a probe: the check's, else the rewritten one, else the node's."""
        rewrite = {"pass_host": "rewrite", "upstream_host": "up.example"}
        for host, active, more, expected in (
            ("10.0.0.1", {}, {}, b"10.0.0.1"),
            ("node.example", {}, {}, b"node.example"),
            ("::1", {}, {}, b"[::1]"),
            ("node.example", {}, rewrite, b"up.example"),
            ("node.example", {}, {"pass_host": "node", "upstream_host": "up.example"}, b"node.example"),
            ("node.example", {"host": "check.example"}, rewrite, b"check.example"),
            ("10.0.0.1", {"req_headers": ["Host: own.example:81"]}, {}, b"own.example:81"),
        ):
            probe = prepared(host, active=active, **more)
            self.assertEqual([value for name, value in probe.fields if name == b"host"], [expected])

    def test_peer(self) -> None:
        """Probes go to the node, or to the check's port on it; TLS is for https only."""
        probe = prepared(active={"port": 9999, "type": "https", "host": "a.example"})
        peer = probe.peer
        self.assertEqual(
            (peer.host, peer.port, peer.server_name, peer.verify), ("10.0.0.1", 9999, "a.example", True)
        )
        probe = prepared(active={"type": "https", "https_verify_certificate": False})
        self.assertEqual((probe.peer.scheme, probe.peer.verify), ("https", False))
        probe = prepared(scheme="https")
        self.assertEqual((probe.peer.scheme, probe.peer.port, probe.peer.verify), ("http", 8080, False))

    def test_fields(self) -> None:
        """Fields of the check are sent; those that frame the request, and line breaks, are not."""
        lines = [
            "X-A: 1",
            "User-Agent: me",
            "Content-Length: 7",
            "Connection: upgrade",
            "X-B: a\r\nX-C: b",
            "  ",
            "x",
        ]
        fields = prepared(active={"req_headers": lines}).fields
        self.assertEqual(
            fields,
            (
                (b"host", b"10.0.0.1"),
                (b"connection", b"close"),
                (b"x-a", b"1"),
                (b"user-agent", b"me"),
                (b"x-b", b"a  X-C: b"),
            ),
        )
        self.assertIn((b"user-agent", b"gateway-health-check"), prepared().fields)

    def test_path(self) -> None:
        """A path is sent as it is written, but for what cannot stand in a request line."""
        for path, expected in (
            ("/health?x=%2F&y", b"/health?x=%2F&y"),
            ("/a b", b"/a%20b"),
            ("/ä\r\n", b"/%C3%A4%0D%0A"),
            ("health", b"/health"),
            ("", b"/"),
        ):
            self.assertEqual(prepared(active={"http_path": path}).target, expected)


class Case(SynchronousTestCase):
    """A node in memory."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.prober = Prober(self.reactor)

    def probe(self, **active: Any) -> Any:
        return self.prober.probe(prepared(active={"timeout": 2, **active}))

    def accept(self) -> Socket:
        factory = self.reactor.tcpClients[-1][2]
        protocol = factory.buildProtocol(None)
        socket = Socket(self.reactor, protocol)
        protocol.makeConnection(socket)
        return socket

    def refuse(self, error: Exception) -> None:
        self.reactor.tcpClients[-1][2].clientConnectionFailed(None, Failure(error))

    def event(self, asked: Any) -> Event | None:
        result = self.successResultOf(asked)
        assert isinstance(result, ProbeResult)
        return result.event

    def at_rest(self) -> None:
        """Nothing is left of a probe."""
        self.reactor.advance(0)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.successResultOf(self.prober.close())


class HTTPTests(Case):
    def test_statuses(self) -> None:
        """A healthy status is a success, an unhealthy one a failure, others show nothing."""
        for status, event in (
            (200, Event.SUCCESS),
            (302, Event.SUCCESS),
            (503, Event.HTTP_FAILURE),
            (401, None),
        ):
            asked = self.probe()
            socket = self.accept()
            socket.says(b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\nok" % status)
            self.assertEqual(self.event(asked), event)
        self.at_rest()

    def test_request(self) -> None:
        """What is sent is one HTTP/1.1 request, content included."""
        self.probe(http_method="POST", http_path="/h", http_req_body="ping", req_headers=["X-A: 1"])
        sent = self.accept().value()
        self.assertEqual(
            sent,
            b"POST /h HTTP/1.1\r\nHost: 10.0.0.1\r\nConnection: close\r\nX-A: 1\r\n"
            b"User-Agent: gateway-health-check\r\nContent-Length: 4\r\n\r\nping",
        )

    def test_a_connection_each(self) -> None:
        """Every probe connects anew, also where the node would keep the connection."""
        for count in (1, 2):
            asked = self.probe()
            self.accept().says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            self.assertEqual(self.event(asked), Event.SUCCESS)
            self.assertEqual(len(self.reactor.tcpClients), count)

    def test_failures(self) -> None:
        """Refused and closed are TCP failures, garbage is an HTTP failure, silence a timeout."""
        asked = self.probe()
        self.refuse(net.ConnectionRefusedError())
        self.assertEqual(self.event(asked), Event.TCP_FAILURE)
        asked = self.probe()
        self.accept().hangs_up()
        self.assertEqual(self.event(asked), Event.TCP_FAILURE)
        asked = self.probe()
        self.accept().says(b"nonsense\r\n\r\n")
        self.assertEqual(self.event(asked), Event.HTTP_FAILURE)
        asked = self.probe()
        socket = self.accept()
        self.reactor.advance(2)
        self.assertEqual(self.event(asked), Event.TIMEOUT)
        self.assertTrue(socket.aborted)
        asked = self.probe()
        self.reactor.advance(2)
        self.assertEqual(self.event(asked), Event.TIMEOUT)
        self.at_rest()

    def test_slow_in_all(self) -> None:
        """The time limit is for the whole probe: a node that drips its answer does not stretch it."""
        asked = self.probe()
        socket = self.accept()
        for piece in (b"HTTP/1.1 ", b"200 OK\r\n"):
            self.reactor.advance(0.9)
            socket.says(piece)
        self.reactor.advance(0.3)
        self.assertEqual(self.event(asked), Event.TIMEOUT)

    def test_endless_content(self) -> None:
        """Content is dropped; too much of it, or for too long, and the connection is cut."""
        asked = self.probe()
        socket = self.accept()
        socket.says(b"HTTP/1.1 200 OK\r\n\r\n")
        self.assertEqual(self.event(asked), Event.SUCCESS)
        socket.says(b"x" * DRAINED_BYTES)
        self.assertFalse(socket.aborted)
        socket.says(b"x")
        self.assertTrue(socket.aborted)
        self.at_rest()
        asked = self.probe()
        socket = self.accept()
        socket.says(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(3):
            self.reactor.advance(0.9)
            if not socket.aborted:
                socket.says(b"x")
        self.assertTrue(socket.aborted)

    def test_our_own_fault(self) -> None:
        """A gateway without file descriptors or ports learns nothing about the node."""
        for error in (net.ConnectBindError(24, "too many open files"), net.ConnectError(99, "no port")):
            asked = self.probe()
            self.refuse(error)
            self.assertIsNone(self.event(asked))

    def test_settings_that_cannot_be_sent(self) -> None:
        """A field name that is none shows nothing about the node."""
        asked = self.probe(req_headers=["not a name: 1"])
        self.assertIsNone(self.event(asked))
        self.assertEqual(self.reactor.tcpClients, [])

    def test_cancelled(self) -> None:
        """A probe that is cancelled ends at once."""
        asked = self.probe()
        socket = self.accept()
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        self.assertTrue(socket.aborted)
        self.at_rest()


class TCPTests(Case):
    def test_connects(self) -> None:
        """To connect is enough, and nothing is sent."""
        asked = self.probe(type="tcp")
        socket = self.accept()
        self.assertEqual((self.event(asked), socket.value()), (Event.SUCCESS, b""))
        self.reactor.advance(0)
        self.assertTrue(socket.lost)
        self.at_rest()

    def test_failures(self) -> None:
        """Refused is a TCP failure, no answer a timeout, and cancelling ends it."""
        asked = self.probe(type="tcp")
        self.refuse(net.ConnectionRefusedError())
        self.assertEqual(self.event(asked), Event.TCP_FAILURE)
        asked = self.probe(type="tcp")
        self.reactor.advance(2)
        self.assertEqual(self.event(asked), Event.TIMEOUT)
        asked = self.probe(type="tcp")
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        self.assertTrue(self.reactor.connectors[-1].stoppedConnecting)
        self.at_rest()


class HTTPSTests(TestCase):
    async def test_certificates(self) -> None:
        """An HTTPS probe wants a valid certificate for its Host, unless it is told not to."""
        site = Site(Resource())
        port: Any = reactor.listenSSL(0, site, certificate("up.example").options(), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        prober = Prober(reactor, trust_root=trustRootFromCertificates([public("up.example")]))
        self.addCleanup(prober.close)
        for more, event in (
            ({"host": "up.example"}, Event.SUCCESS),
            ({"host": "other.example"}, Event.TCP_FAILURE),
            ({"host": "other.example", "https_verify_certificate": False}, Event.SUCCESS),
        ):
            active = {"type": "https", "timeout": 30, "healthy": {"http_statuses": [404]}, **more}
            active["unhealthy"] = {"http_statuses": [500]}
            probe = prepared("127.0.0.1", port.getHost().port, active=active)
            result = await prober.probe(probe)
            self.assertEqual(result.event, event, (more, result))
