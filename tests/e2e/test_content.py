"""Large content on its way through a real gateway: it arrives whole, whatever happens around it."""

from __future__ import annotations

import hashlib
import http.client
import os
import socket
import threading
from typing import Any

from gateway.http1.conduit import WORTH_BYTES
from tests.e2e.gateway_process import LIMIT_S, wait_for
from tests.e2e.raw_upstream import Peer, RawUpstream, announced
from tests.e2e.test_proxying import ProxyCase

_CONTENT = os.urandom(1 << 20) * 8
_SIZES = (WORTH_BYTES - 1, WORTH_BYTES, WORTH_BYTES + 100_000, 1 << 20, (1 << 20) + 1, len(_CONTENT))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def hashes(upstream: RawUpstream, peer: Peer) -> None:
    """Answers with the digest of what it was sent, or with as many bytes as the target's last part says."""
    while (head := peer.head()) is not None:
        left = announced(head)
        if left:
            found = hashlib.sha256()
            while left and (data := peer.take()):
                found.update(data)
                left -= len(data)
            content = found.hexdigest().encode()
        else:
            content = _CONTENT[: int(head.split(b" ")[1].rpartition(b"/")[2])]
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content) + content)


class LargeContentTests(ProxyCase):
    def setUp(self) -> None:
        super().setUp()
        self.upstream = self.raw_upstream(hashes)
        self.serve("c", (self.upstream.port, 1))

    def connect(self) -> http.client.HTTPConnection:
        made = http.client.HTTPConnection("127.0.0.1", self.served.ports["proxy"], timeout=LIMIT_S)
        self.addCleanup(made.close)
        return made

    def plugins(self, **plugins: Any) -> None:
        """Put plugins on the route."""
        route = {"name": "c", "service_id": "c", "paths": ["/c*"], "plugins": plugins}
        status, answer = self.admin.call("PUT", "/apisix/admin/routes/c", route)
        self.assertEqual(status, 200, answer)

    def test_uploads(self) -> None:
        """One after the other on one connection, of any size, with small requests in between."""
        connection = self.connect()
        for size in _SIZES:
            connection.request("POST", "/c", body=_CONTENT[:size])
            self.assertEqual(connection.getresponse().read().decode(), _digest(_CONTENT[:size]), size)
            connection.request("GET", "/c/5")
            self.assertEqual(connection.getresponse().read(), _CONTENT[:5])
        self.assertEqual(self.upstream.connections, 1)

    def test_downloads(self) -> None:
        """Likewise."""
        connection = self.connect()
        for size in _SIZES:
            connection.request("GET", f"/c/{size}")
            self.assertEqual(_digest(connection.getresponse().read()), _digest(_CONTENT[:size]), size)
            connection.request("POST", "/c", body=b"x")
            self.assertEqual(connection.getresponse().read().decode(), _digest(b"x"))
        self.assertEqual(self.upstream.connections, 1)

    def test_pipelined(self) -> None:
        """A request that follows large content at once is the next request."""
        size = len(_CONTENT)
        post = b"POST /c HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + _CONTENT
        last = b"GET /c/3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        digest = _digest(_CONTENT).encode()
        got = self.raw(post + post + last)
        self.assertEqual(got.count(digest), 2)
        self.assertTrue(got.endswith(b"\r\n\r\n" + _CONTENT[:3]))

    def test_many_at_once(self) -> None:
        """Content of several clients does not mix."""
        wrong: list[int] = []

        def talk(number: int) -> None:
            connection = self.connect()
            data = bytes([number]) * (3 << 20)
            for _ in range(3):
                connection.request("POST", "/c", body=data)
                if connection.getresponse().read().decode() != _digest(data):
                    wrong.append(number)
                connection.request("GET", f"/c/{len(_CONTENT)}")
                if connection.getresponse().read() != _CONTENT:
                    wrong.append(number)

        threads = [threading.Thread(target=talk, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LIMIT_S)
        self.assertEqual(wrong, [])

    def test_looked_at(self) -> None:
        """Where a plugin looks at content, or changes it, it sees all of it."""
        self.plugins(**{"response-rewrite": {"filters": [{"regex": "^", "replace": "<", "scope": "once"}]}})
        connection = self.connect()
        connection.request("GET", f"/c/{WORTH_BYTES * 2}")
        self.assertEqual(
            _digest(connection.getresponse().read()), _digest(b"<" + _CONTENT[: WORTH_BYTES * 2])
        )
        self.plugins(**{"client-control": {"max_body_size": WORTH_BYTES * 2}})
        connection.request("POST", "/c", body=_CONTENT[: WORTH_BYTES * 2])
        self.assertEqual(connection.getresponse().read().decode(), _digest(_CONTENT[: WORTH_BYTES * 2]))
        connection.request("POST", "/c", headers={"Content-Length": str(WORTH_BYTES * 2 + 1)})
        self.assertEqual(connection.getresponse().status, 413)

    def test_counted(self) -> None:
        """The access log tells how much was sent."""
        connection = self.connect()
        connection.request("GET", f"/c/{len(_CONTENT)}")
        connection.getresponse().read()
        self.served.end()
        log = (self.served.data_dir / "access.log").read_text()
        self.assertIn(f'"GET /c/{len(_CONTENT)} HTTP/1.1" 200 {len(_CONTENT)} ', log)

    def test_a_client_that_leaves(self) -> None:
        """Half an upload is no request: the upstream's connection is cut, and others are served."""
        with socket.create_connection(
            ("127.0.0.1", self.served.ports["proxy"]), timeout=LIMIT_S
        ) as connection:
            connection.sendall(b"POST /c HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n" + _CONTENT)
        self.assertEqual(self.served.get("/c/3").body, _CONTENT[:3])

        def idle() -> bool:
            status, answer = self.admin.call("GET", "/api/status")
            return status == 200 and answer["value"]["in_flight"] == 0

        wait_for(idle, "the upload to be given up", self.served.logs)
        self.assertEqual(self.upstream.connections, 2)


class HostileUpstreamTests(ProxyCase):
    def test_more_than_was_said(self) -> None:
        """What an upstream sends behind large content is nobody's answer."""

        def chatty(upstream: RawUpstream, peer: Peer) -> None:
            while peer.head() is not None:
                head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(_CONTENT)
                peer.send(head + _CONTENT + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")

        upstream = self.raw_upstream(chatty)
        self.serve("h", (upstream.port, 1))
        for _ in range(3):
            self.assertEqual(_digest(self.served.get("/h").body), _digest(_CONTENT))
        self.assertEqual(upstream.connections, 3, "none of them is used again")

    def test_less_than_was_said(self) -> None:
        """A client is not told that content is complete that is not."""

        def stingy(upstream: RawUpstream, peer: Peer) -> None:
            peer.head()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(_CONTENT) + 1) + _CONTENT)
            peer.socket.shutdown(socket.SHUT_RDWR)

        self.serve("s", (self.raw_upstream(stingy).port, 1))
        connection = http.client.HTTPConnection("127.0.0.1", self.served.ports["proxy"], timeout=LIMIT_S)
        self.addCleanup(connection.close)
        connection.request("GET", "/s")
        answer = connection.getresponse()
        with self.assertRaises(http.client.IncompleteRead) as caught:
            answer.read()
        self.assertEqual(caught.exception.partial, _CONTENT)
