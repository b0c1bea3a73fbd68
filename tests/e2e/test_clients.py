"""Clients that ask for too much, are too slow, or do not read: each limit with its answer."""

from __future__ import annotations

import select
import socket
import struct

from tests.e2e.gateway_process import LIMIT_S, wait_for
from tests.e2e.raw_upstream import OK, answering, silent
from tests.e2e.test_proxying import HELD, ProxyCase, new_peak, peak

HEAD = b"POST /s HTTP/1.1\r\nHost: a\r\n"


SMALL = {
    "GATEWAY_PROXY_MAX_REQUEST_LINE_BYTES": "256",
    "GATEWAY_PROXY_MAX_HEADER_BYTES": "1024",
    "GATEWAY_PROXY_MAX_HEADERS": "10",
    "GATEWAY_PROXY_MAX_BODY_BYTES": "1000",
    "GATEWAY_PROXY_IDLE_TIMEOUT_S": "4",
    "GATEWAY_PROXY_HEADER_TIMEOUT_S": "2",
    "GATEWAY_PROXY_BODY_TIMEOUT_S": "2",
    "GATEWAY_PROXY_SEND_TIMEOUT_S": "1",
    "GATEWAY_LOG_ACCESS_FLUSH_S": "0",
}
"""Small limits and short patience."""


class ClientCase(ProxyCase):
    """Clients on sockets of their own."""

    def reasons(self, count: int) -> list[str]:
        """The reason codes of the access log's lines, once there are *count*."""
        log = self.served.data_dir / "access.log"
        lines = wait_for(
            lambda: len(found := log.read_text().splitlines()) >= count and found, f"{count} lines"
        )
        return [line.split()[-1] for line in lines]

    def connect(self) -> socket.socket:
        made = socket.create_connection(("127.0.0.1", self.served.ports["proxy"]), timeout=LIMIT_S)
        self.addCleanup(made.close)
        return made


class LimitTests(ClientCase):
    environ = SMALL

    def test_each_limit(self) -> None:
        """Every limit and time has its status and its reason code, and the connection ends."""
        upstream = self.raw_upstream(OK)
        self.serve("s", (upstream.port, 1))
        chunked = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
        cases = (
            (b"GET /" + b"a" * 300, b"414", "request_line_too_long"),
            (HEAD + b"A: " + b"a" * 2000 + b"\r\n\r\n", b"431", "head_too_large"),
            (HEAD + b"A: b\r\n" * 10 + b"\r\n", b"431", "head_too_large"),
            (HEAD + b"Content-Length: 1001\r\n\r\n", b"413", "body_too_large"),
            (chunked + b"3e9\r\n" + b"a" * 1001, b"413", "body_too_large"),
            (chunked + b"1;" + b"a" * 300, b"400", "bad_request"),
            (HEAD, b"408", "client_head_timeout"),
            (HEAD + b"Content-Length: 3\r\n\r\nab", b"408", "client_body_timeout"),
            (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n", b"501", "transfer_coding_not_supported"),
            (b"GET /s HTTP/2.0\r\nHost: a\r\n\r\n", b"505", "version_not_supported"),
        )
        for data, status, _ in cases:
            self.assertRegex(self.raw(data), rb"^HTTP/1\.1 %b " % status, data[:60])
        self.assertEqual(self.raw(b""), b"")
        self.assertEqual(self.reasons(len(cases)), [reason for _, _, reason in cases])
        self.assertEqual(self.served.get("/s").status, 200)

    def test_the_refusal_can_be_read(self) -> None:
        """A client that sends far too much before it reads still gets to know why it was refused."""
        self.assertRegex(self.raw(HEAD + b"A: " + b"a" * 500_000), rb"^HTTP/1\.1 431 ")

    def test_unread_answers(self) -> None:
        """A client that sends requests and reads no answer costs no memory, delays nobody, and is cut off."""
        size = 100_000  # Few answers fill what the system keeps for a client that does not read.
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size
        large = self.raw_upstream(answering(answer))
        self.serve("large", (large.port, 1))
        before = new_peak(self.served)
        greedy = self.connect()
        greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        greedy.settimeout(1)
        with self.assertRaises(OSError):
            while True:  # Until nothing more is taken, or the connection is cut.
                greedy.send(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n" * 2000)
        self.assertEqual(self.served.get("/none").status, 404)
        self.assertLess(peak(self.served) - before, HELD)
        ended = select.poll()
        ended.register(greedy, 0)  # Hang-ups and errors are told of without being asked for.

        def cut() -> bool:
            try:
                greedy.send(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n" * 2000)  # It may only have been slow.
            except TimeoutError:
                pass
            except OSError:
                return True
            return bool(ended.poll(0))

        wait_for(cut, "the end of the connection")


class TwistedWebLimitTests(LimitTests):
    """The same over twisted.web."""

    environ = {**SMALL, "GATEWAY_PROXY_ENGINE": "twisted"}


class VanishingTests(ClientCase):
    def test_connecting_takes_too_long(self) -> None:
        """A node that swallows every packet is given up after timeout.connect: 504; others are served."""
        full = socket.create_server(("127.0.0.1", 0), backlog=0)
        self.addCleanup(full.close)
        port = full.getsockname()[1]
        for _ in range(4):
            filling = socket.socket()
            self.addCleanup(filling.close)
            filling.setblocking(False)
            filling.connect_ex(("127.0.0.1", port))
        self.serve("hole", (port, 1), timeout={"connect": 0.3, "send": 1, "read": 1})
        self.serve("fine", (self.raw_upstream(OK).port, 1))
        waiting = self.connect_and_ask(b"/hole")
        self.assertEqual(self.served.get("/fine").status, 200)
        self.assertTrue(waiting.recv(1 << 16).startswith(b"HTTP/1.1 504 "))

    def connect_and_ask(self, path: bytes) -> socket.socket:
        made = self.connect()
        made.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        return made

    def test_a_client_that_vanishes(self) -> None:
        """A client that resets its connection frees what waits for it: the request upstream ends too."""
        upstream = self.raw_upstream(silent)
        self.serve("s", (upstream.port, 1))
        client = self.connect_and_ask(b"/s")
        wait_for(lambda: upstream.heads, "the request upstream")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        wait_for(lambda: self.admin.call("GET", "/api/status")[1]["value"]["in_flight"] == 0, "no request")
