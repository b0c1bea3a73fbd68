"""Tunnels and events over real sockets: WebSocket with a real library, other protocols, ends and limits."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import ssl
import threading
import time
from pathlib import Path
from typing import Any

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Subprotocol

from tests import certs
from tests.e2e.gateway_process import LIMIT_S, AdminClient, wait_for
from tests.e2e.raw_upstream import Peer, RawUpstream
from tests.e2e.test_proxying import HELD, ProxyCase, new_peak, peak

LARGE = 1 << 26
TALK = Subprotocol("talk")
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
ASK = b"GET %s HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: echo\r\n\r\n"


def chat(connection: ServerConnection) -> None:
    """Sends everything back, until it is told to close."""
    try:
        for message in connection:
            if message == "close":
                connection.close(4001, "as you wish")
                return
            connection.send(message)
    except ConnectionClosed:
        pass


def echo(upstream: RawUpstream, peer: Peer) -> None:
    """Changes the protocol; says ``hello``, then everything back, and ``bye`` at the end."""
    head = peer.head()
    if head is None:
        return
    upstream.heads.append(head)
    peer.send(SWITCH + b"hello")
    while data := peer.take():
        peer.send(data)
    peer.send(b"bye")


def floods(upstream: RawUpstream, peer: Peer) -> None:
    """Changes the protocol, sends ``LARGE`` bytes, and reads as many."""
    peer.head()
    peer.send(SWITCH)
    piece = b"x" * (1 << 16)
    for _ in range(LARGE >> 16):
        peer.send(piece)
    seen = 0
    while seen < LARGE and (data := peer.take()):
        seen += len(data)
    peer.send(b"%d" % seen)


class TunnelCase(ProxyCase):
    def setUp(self) -> None:
        super().setUp()
        self.port = self.served.ports["proxy"]

    def route(self, name: str, port: int, **more: Any) -> None:
        """A route ``/<name>*`` to a node, with tunnels."""
        self.serve(name, (port, 1))
        body = {"name": name, "service_id": name, "paths": [f"/{name}*"], "enable_websocket": True, **more}
        status, answer = self.admin.call("PUT", f"/apisix/admin/routes/{name}", body)
        self.assertEqual(status, 200, answer)

    def chat(self) -> int:
        """The port of a WebSocket server."""
        server = serve(chat, "127.0.0.1", 0, subprotocols=[TALK], max_size=None)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()

        def end() -> None:
            server.shutdown()
            thread.join(LIMIT_S)

        self.addCleanup(end)
        port: int = server.socket.getsockname()[1]
        return port

    def connection(self) -> socket.socket:
        made = socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT_S)
        self.addCleanup(made.close)
        return made

    def opened(self, name: str, more: bytes = b"") -> tuple[socket.socket, bytes]:
        """A tunnel by hand: the connection, and the head of the answer. ``hello`` was read, too."""
        made = self.connection()
        made.sendall(ASK % name.encode() + more)
        answer = self.until(made, b"hello" + more)
        return made, answer.partition(b"\r\n\r\n")[0]

    def until(self, connection: socket.socket, end: bytes) -> bytes:
        read = b""
        while not read.endswith(end):
            data = connection.recv(65536)
            self.assertTrue(data, read)
            read += data
        return read

    def rest(self, connection: socket.socket) -> bytes:
        parts = []
        try:
            while data := connection.recv(65536):
                parts.append(data)
        except ConnectionResetError:
            pass
        return b"".join(parts)

    def logged(self, path: str) -> str:
        """The line of the access log for *path*."""

        def look() -> str | None:
            log = self.served.data_dir / "access.log"
            lines = log.read_text().splitlines() if log.exists() else []
            return next((line for line in lines if f"GET {path} " in line), None)

        line: str = wait_for(look, f"a log line for {path}", self.served.logs)
        return line


class WebSocketTests(TunnelCase):
    def test_messages(self) -> None:
        """Text, binary and large messages, pings and the close handshake pass as they are."""
        self.route("chat", self.chat())
        url = f"ws://127.0.0.1:{self.port}/chat?a=1"
        with connect(url, subprotocols=[TALK], max_size=None) as client:
            self.assertEqual(client.subprotocol, "talk")
            for message in ("hi", b"\0\xff", "", os.urandom(3_000_000)):
                client.send(message)
                self.assertEqual(client.recv(LIMIT_S), message)
            self.assertTrue(client.ping().wait(LIMIT_S))
            client.send("close")
            with self.assertRaises(ConnectionClosed) as closed:
                client.recv(LIMIT_S)
            received = closed.exception.rcvd
            assert received is not None
            self.assertEqual((received.code, received.reason), (4001, "as you wish"))
        line = self.logged("/chat?a=1")
        self.assertRegex(line, r'" 101 [0-9]{7} .* upstream ok$')

    def test_refused(self) -> None:
        """Plugins see the request first; what they answer, or the upstream, is an ordinary answer."""
        self.route("chat", self.chat(), plugins={"key-auth": {}})
        with self.assertRaises(InvalidStatus) as refused:
            connect(f"ws://127.0.0.1:{self.port}/chat")
        self.assertEqual(refused.exception.response.status_code, 401)
        self.route("chat", self.chat())
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT_S)
        self.addCleanup(connection.close)
        for _ in range(2):
            # 426 from the WebSocket server: the connection goes on.
            connection.request("GET", "/chat")
            answer = connection.getresponse()
            answer.read()
            self.assertEqual(answer.status, 426)

    def test_over_tls(self) -> None:
        """A client's TLS ends here; what is within it is passed on."""
        shown = certs.pair("a.test")
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        (directory / "x.crt").write_text(shown.cert)
        (directory / "x.key").write_text(shown.key)
        self.served = self.gateway(
            environ={
                "GATEWAY_PROXY_TLS_LISTEN": "127.0.0.1:0",
                "GATEWAY_PROXY_TLS_CERTIFICATE": str(directory / "x.crt"),
                "GATEWAY_PROXY_TLS_PRIVATE_KEY": str(directory / "x.key"),
                "GATEWAY_PROXY_WORKERS": "1",
            }
        ).start()
        self.admin = self.enterContext(AdminClient(self.served))
        self.route("chat", self.chat())
        context = ssl.create_default_context(cafile=str(directory / "x.crt"))
        url = f"wss://127.0.0.1:{self.served.ports['proxy_tls']}/chat"
        with connect(url, ssl=context, server_hostname="a.test", subprotocols=[TALK]) as client:
            for message in ("hi", os.urandom(700_000)):
                client.send(message)
                self.assertEqual(client.recv(LIMIT_S), message)
        self.assertRegex(self.logged("/chat"), r'" 101 .* upstream ok$')


class OtherProtocolTests(TunnelCase):
    def test_raw(self) -> None:
        """Any protocol: what each side says early, ends of one direction, the fields that pass."""
        upstream = self.raw_upstream(echo)
        self.route("echo", upstream.port)
        connection, head = self.opened("/echo", more=b"early")
        lines = {line.lower() for line in head.split(b"\r\n")}
        self.assertIn(b"http/1.1 101 switching protocols", lines)
        self.assertLessEqual({b"connection: upgrade", b"upgrade: echo"}, lines)
        sent = upstream.heads[0].lower()
        self.assertIn(b"\r\nconnection: keep-alive, upgrade\r\n", sent + b"\r\n")
        self.assertIn(b"\r\nupgrade: echo", sent)
        self.assertIn(b"\r\nx-forwarded-for: 127.0.0.1", sent)
        connection.shutdown(socket.SHUT_WR)
        # The upstream still has something to say to a client that has no more to say.
        self.assertEqual(self.rest(connection), b"bye")
        self.assertRegex(self.logged("/echo"), r'" 101 13 .* upstream ok$')

    def test_upstream_ends_first(self) -> None:
        """A client still gets its last word out after the upstream had its own."""
        heard: list[bytes] = []

        def behave(upstream: RawUpstream, peer: Peer) -> None:
            peer.head()
            peer.send(SWITCH + b"hello")
            peer.socket.shutdown(socket.SHUT_WR)
            while data := peer.take():
                heard.append(data)

        self.route("last", self.raw_upstream(behave).port)
        connection, _ = self.opened("/last")
        self.assertEqual(self.rest(connection), b"")
        connection.sendall(b"last word")
        connection.close()
        wait_for(lambda: b"".join(heard) == b"last word", "the last word")
        self.assertRegex(self.logged("/last"), r'" 101 5 .* upstream ok$')

    def test_not_asked_for(self) -> None:
        """Without the flag, or for what is not passed on, the upstream sees an ordinary request."""
        seen = self.raw_upstream(_plain)
        self.serve("off", (seen.port, 1))
        self.route("on", seen.port)
        for ask in (
            ASK % b"/off",
            (ASK % b"/on").replace(b"Upgrade: echo", b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk"),
            (ASK % b"/on").replace(b"keep-alive, Upgrade", b"keep-alive"),
            (ASK % b"/on").replace(b"HTTP/1.1", b"HTTP/1.0"),
        ):
            connection = self.connection()
            connection.sendall(ask)
            self.assertIn(b" 200 OK\r\n", self.until(connection, b"plain"), ask)
        self.assertEqual(len(seen.heads), 4)
        for head in seen.heads:
            self.assertNotIn(b"upgrade", head.lower())

    def test_service(self) -> None:
        """The upstream that changes to nothing in particular is answered for with 502."""

        def behave(upstream: RawUpstream, peer: Peer) -> None:
            peer.head()
            peer.send(b"HTTP/1.1 101 Switching Protocols\r\n\r\nhello")

        self.route("bad", self.raw_upstream(behave).port)
        connection = self.connection()
        connection.sendall(ASK % b"/bad")
        self.assertIn(b" 502 Bad Gateway\r\n", connection.recv(65536))
        self.assertRegex(self.logged("/bad"), "upstream upstream_bad_response$")

    def test_back_pressure(self) -> None:
        """Whoever reads slowly holds the other side back: little is held in between."""
        self.route("flood", self.raw_upstream(floods).port)
        before = new_peak(self.served)
        connection = self.connection()
        connection.sendall(ASK % b"/flood")
        time.sleep(0.3)  # Let it fill what can be filled; nothing is concluded from how far it gets.
        data = b""
        while b"\r\n\r\n" not in data:
            data += connection.recv(65536)
        got = len(data.partition(b"\r\n\r\n")[2])
        while got < LARGE:
            taken = len(connection.recv(1 << 18))
            self.assertTrue(taken, got)
            got += taken
        piece = b"y" * (1 << 16)
        for _ in range(LARGE >> 16):
            connection.sendall(piece)
        self.assertEqual(self.rest(connection), b"%d" % LARGE)
        self.assertLess(peak(self.served) - before, HELD)


class LifeTests(TunnelCase):
    def test_idle(self) -> None:
        """A tunnel through which nothing passes for ``timeout.read`` is closed, both sides."""
        ended = threading.Event()

        def behave(upstream: RawUpstream, peer: Peer) -> None:
            try:
                echo(upstream, peer)
            finally:
                ended.set()

        times = {"connect": 5, "send": 5, "read": 2}
        self.route("idle", self.raw_upstream(behave).port, timeout=times)
        connection, _ = self.opened("/idle")
        opened_s = time.monotonic()
        sent = 0
        while time.monotonic() - opened_s < 3:
            # What passes in one direction keeps the other alive.
            time.sleep(0.1)
            connection.sendall(b"x")
            self.until(connection, b"x")
            sent += 1
        self.assertEqual(self.rest(connection), b"")
        self.assertTrue(ended.wait(LIMIT_S))
        self.assertRegex(self.logged("/idle"), rf'" 101 {len("hello") + sent} .* gateway tunnel_idle$')

    def test_upstream_cut(self) -> None:
        """When the upstream's connection is cut, so is the client's."""

        def behave(upstream: RawUpstream, peer: Peer) -> None:
            peer.head()
            peer.send(SWITCH + b"hello")
            peer.take()
            peer.reset()

        self.route("cut", self.raw_upstream(behave).port)
        connection, _ = self.opened("/cut")
        connection.sendall(b"x")
        self.assertEqual(self.rest(connection), b"")
        self.assertRegex(self.logged("/cut"), r'" 101 5 .* upstream upstream_closed$')

    def test_changes_and_stop(self) -> None:
        """Tunnels outlive changes of their route and its end; a stop waits its grace, then cuts them."""
        self.served.cleanup()
        self.served = self.gateway(environ={"GATEWAY_GATEWAY_SHUTDOWN_GRACE_S": "3"}).start()
        self.admin = self.enterContext(AdminClient(self.served))
        self.port = self.served.ports["proxy"]
        self.route("life", self.raw_upstream(echo).port)
        connection, _ = self.opened("/life")
        self.route("life", self.raw_upstream(echo).port, priority=7)
        for path in ("routes/life", "services/life"):
            connection.sendall(path.encode())
            self.until(connection, path.encode())
            self.assertEqual(self.admin.call("DELETE", f"/apisix/admin/{path}")[0], 200)
        os.kill(self.served.pid, signal.SIGTERM)
        # While it waits the tunnel still works.
        connection.sendall(b"still here")
        self.until(connection, b"still here")
        self.assertEqual(self.rest(connection), b"")
        wait_for(lambda: not self.served.running(), "the gateway to end", self.served.logs)
        self.assertRegex(self.logged("/life"), r'" 101 [0-9]+ .* gateway shutting_down$')


class EventTests(TunnelCase):
    def test_as_they_come(self) -> None:
        """Server-sent events reach the client when they are sent, not when there are many."""
        go = threading.Semaphore(0)

        def behave(upstream: RawUpstream, peer: Peer) -> None:
            peer.head()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
            for number in range(3):
                go.acquire(timeout=LIMIT_S)
                peer.send(b"data: %d\n\n" % number)

        self.serve("events", (self.raw_upstream(behave).port, 1))
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT_S)
        self.addCleanup(connection.close)
        connection.request("GET", "/events")
        response = connection.getresponse()
        self.assertEqual(response.getheader("content-type"), "text/event-stream")
        for number in range(3):
            # Each is sent only after the one before has arrived.
            go.release()
            self.assertEqual(response.readline() + response.readline(), b"data: %d\n\n" % number)
        self.assertEqual(response.read(), b"")


def _plain(upstream: RawUpstream, peer: Peer) -> None:
    while (head := peer.head()) is not None:
        upstream.heads.append(head)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain")
