"""Proxying over real sockets: balance, failures, large and slow content, broken requests."""

from __future__ import annotations

import contextlib
import http.client
import socket
import subprocess
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.e2e.gateway_process import LIMIT_S, AdminClient, EndToEndCase, GatewayProcess, wait_for
from tests.e2e.raw_upstream import OK, Behaviour, RawUpstream, answering, once, silent, streams
from tests.hostile.smuggling import REFUSED
from tests.ports import reserve

LARGE = 1 << 28
"""Bytes of a large body: far more than the gateway may hold of it."""
HELD = 24 << 20
"""Bytes of memory a large body may cost: buffers, and what Python's allocator keeps."""


def peak(gateway: GatewayProcess) -> int:
    """The most memory the gateway has used so far, in bytes."""
    for line in Path(f"/proc/{gateway.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    raise AssertionError("no VmHWM")


def new_peak(gateway: GatewayProcess) -> int:
    """Forget what the gateway used before, its start above all, where the system can; then as ``peak``."""
    with contextlib.suppress(FileNotFoundError):  # A kernel without page monitoring.
        Path(f"/proc/{gateway.pid}/clear_refs").write_text("5")
    return peak(gateway)


class ProxyCase(EndToEndCase):
    """
    A gateway, and upstreams that a test describes.

    Attributes:
        environ: ``GATEWAY_`` variables for it.
    """

    environ: Mapping[str, str] = {}

    def setUp(self) -> None:
        super().setUp()
        self.served = self.gateway(environ=self.environ).start()
        self.admin = self.enterContext(AdminClient(self.served))

    def raw_upstream(self, behaviour: Behaviour) -> RawUpstream:
        made = RawUpstream(behaviour)
        self.addCleanup(made.close)
        return made

    def dead_port(self) -> int:
        """A port that refuses connections for as long as the test runs."""
        return reserve(self)

    def serve(self, name: str, *nodes: tuple[int, int], **upstream: Any) -> None:
        """A service for (port, weight) nodes, and the route ``/<name>*`` to it."""
        some = [{"host": "127.0.0.1", "port": port, "weight": weight} for port, weight in nodes]
        service = {"name": name, "upstream": {"nodes": some, **upstream}}
        route = {"name": name, "service_id": name, "paths": [f"/{name}*"]}
        for path, body in ((f"services/{name}", service), (f"routes/{name}", route)):
            status, answer = self.admin.call("PUT", f"/apisix/admin/{path}", body)
            self.assertEqual(status, 200, answer)

    def raw(self, data: bytes) -> bytes:
        """Send bytes on a fresh connection; everything that comes back until it closes."""
        with socket.create_connection(
            ("127.0.0.1", self.served.ports["proxy"]), timeout=LIMIT_S
        ) as connection:
            connection.sendall(data)
            parts = []
            while part := connection.recv(65536):
                parts.append(part)
            return b"".join(parts)


class BalanceTests(ProxyCase):
    def test_weights(self) -> None:
        """Requests are spread over the nodes exactly by weight, from the first on."""
        upstreams = [self.raw_upstream(OK) for _ in range(3)]
        self.serve("w", *((one.port, weight) for one, weight in zip(upstreams, (3, 2, 1), strict=True)))
        connection = http.client.HTTPConnection("127.0.0.1", self.served.ports["proxy"], timeout=LIMIT_S)
        self.addCleanup(connection.close)
        for _ in range(12):
            connection.request("GET", "/w")
            connection.getresponse().read()
        self.assertEqual([len(one.heads) for one in upstreams], [6, 4, 2])
        self.assertEqual([one.connections for one in upstreams], [1, 1, 1])

    def test_a_dead_node(self) -> None:
        """A node that refuses connections costs no request, not even a POST."""
        alive = self.raw_upstream(OK)
        self.serve("d", (self.dead_port(), 1), (alive.port, 1))
        statuses = Counter(self.served.get("/d").status for _ in range(4))
        statuses[self.served.get("/d", method="POST").status] += 1
        self.assertEqual((statuses, len(alive.heads)), ({200: 5}, 5))

    def test_a_node_that_closes(self) -> None:
        """A PUT with little content is sent again, whole, to another node; a POST is not."""
        closing, alive = self.raw_upstream(once(b"")), self.raw_upstream(streams)
        self.serve("p", (closing.port, 1), (alive.port, 1))
        answers = [self.served.get("/p", method="PUT", body=b"x" * 3000) for _ in range(2)]
        self.assertEqual([(a.status, a.body) for a in answers], [(200, b"3000")] * 2)
        statuses = sorted(self.served.get("/p", method="POST", body=b"x").status for _ in range(2))
        self.assertEqual(statuses, [200, 502])


class FailureTests(ProxyCase):
    def status(self, behaviour: Behaviour | None, **upstream: Any) -> tuple[int, str | None]:
        port = self.dead_port() if behaviour is None else self.raw_upstream(behaviour).port
        self.serve("f", (port, 1), **upstream)
        answer = self.served.get("/f")
        return answer.status, answer.headers.get("x-apisix-upstream-status")

    def test_upstreams_that_fail(self) -> None:
        """Each way for an upstream to fail has its status, and the gateway serves on after each."""
        short = {"connect": 5, "send": 5, "read": 0.3}
        self.assertEqual(self.status(None), (502, "502"))
        self.assertEqual(self.status(once(b"", reset=True)), (502, "502"))
        self.assertEqual(self.status(once(b"")), (502, "502"))
        self.assertEqual(self.status(once(b"nonsense\r\n\r\n")), (502, "502"))
        self.assertEqual(self.status(once(b"HTTP/1.1 200 OK\r\nContent-")), (502, "502"))
        self.assertEqual(self.status(silent, timeout=short), (504, "504"))
        self.assertEqual(self.status(OK), (200, None))

    def test_cut_content(self) -> None:
        """An answer that breaks off reaches the client as one that breaks off."""
        self.serve("f", (self.raw_upstream(once(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")).port, 1))
        self.assertRaises(http.client.IncompleteRead, self.served.get, "/f")

    def test_no_nodes(self) -> None:
        """An upstream without nodes is 503; nodes that all weigh nothing are 502."""
        self.serve("f")
        self.assertEqual(self.served.get("/f").status, 503)
        port = self.raw_upstream(OK).port
        self.serve("f", (port, 0), (self.dead_port(), 0))
        self.assertEqual(self.served.get("/f").status, 502)


class FieldTests(ProxyCase):
    def test_towards_the_upstream(self) -> None:
        """The upstream is told about the client; forged and hop-by-hop fields do not arrive."""
        upstream = self.raw_upstream(OK)
        self.serve("h", (upstream.port, 1))
        self.raw(
            b"GET /h?x=%2F&y=a+b HTTP/1.1\r\nHost: Example.com:9080\r\nX-Forwarded-For: 9.9.9.9\r\n"
            b"X-Real-IP: 8.8.8.8\r\nX-Forwarded-Proto: https\r\nForwarded: for=1.1.1.1\r\n"
            b"X-Consumer-Username: root\r\nX-Hop: 1\r\nX-Stays: 2\r\nConnection: X-Hop, close\r\n\r\n"
        )
        line, *fields = upstream.heads[0].decode().split("\r\n")
        self.assertEqual(line, "GET /h?x=%2F&y=a+b HTTP/1.1")
        self.assertEqual(
            dict(field.split(": ", 1) for field in fields),
            {
                "Host": "Example.com:9080",
                "X-Stays": "2",
                # From loopback, which is trusted for this field alone unless gw.ini says otherwise.
                "X-Real-IP": "8.8.8.8",
                "X-Forwarded-For": "9.9.9.9, 8.8.8.8",
                "X-Forwarded-Proto": "http",
                "X-Forwarded-Host": "Example.com:9080",
                "X-Forwarded-Port": "9080",
            },
        )

    def test_cookies_stay_apart(self) -> None:
        """A cookie one client's answer set never goes out with another client's request."""
        upstream = self.raw_upstream(
            answering(b"HTTP/1.1 200 OK\r\nSet-Cookie: id=secret\r\nContent-Length: 0\r\n\r\n")
        )
        self.serve("c", (upstream.port, 1))
        self.assertEqual(self.served.get("/c").headers["set-cookie"], "id=secret")
        self.served.get("/c")
        self.assertNotIn(b"cookie", upstream.heads[1].lower())

    def test_encodings_pass(self) -> None:
        """Compressed content passes as it is, and redirects are the client's to follow."""
        body = b"\x1f\x8bnot really gzip"
        response = (
            b"HTTP/1.1 302 Found\r\nLocation: /c\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s"
        )
        upstream = self.raw_upstream(answering(response % (len(body), body)))
        self.serve("c", (upstream.port, 1))
        answer = self.served.get("/c")
        self.assertEqual(
            (answer.status, answer.body, answer.headers["content-encoding"]), (302, body, "gzip")
        )
        self.assertNotIn(
            b"accept-encoding", upstream.heads[0].lower().replace(b"accept-encoding: identity", b"")
        )


class LargeContentTests(ProxyCase):
    def setUp(self) -> None:
        super().setUp()
        self.serve("bytes", (self.raw_upstream(streams).port, 1))
        self.served.get("/bytes/1")
        self.before = new_peak(self.served)

    def curl(self, *arguments: str) -> str:
        """Real curl against the data plane; the last argument is the path."""
        url = f"http://127.0.0.1:{self.served.ports['proxy']}{arguments[-1]}"
        done = subprocess.run(
            ["curl", "-sS", *arguments[:-1], url], capture_output=True, text=True, timeout=LIMIT_S, check=True
        )
        return done.stdout

    def test_download(self) -> None:
        """A large download passes in constant memory."""
        got = self.curl("-o", "/dev/null", "-w", "%{http_code} %{size_download}", f"/bytes/{LARGE}")
        self.assertEqual(got, f"200 {LARGE}")
        self.assertLess(peak(self.served) - self.before, HELD)

    def test_upload(self) -> None:
        """A large upload passes in constant memory, with its length known and without."""
        path = Path(self.mktemp())
        with path.open("wb") as file:
            file.truncate(LARGE)
        self.assertEqual(self.curl("-T", str(path), "/bytes"), str(LARGE))
        self.assertLess(peak(self.served) - self.before, HELD)

    def test_slow_reader(self) -> None:
        """A client that does not read holds neither memory nor other clients."""
        with socket.create_connection(
            ("127.0.0.1", self.served.ports["proxy"]), timeout=LIMIT_S
        ) as connection:
            connection.sendall(b"GET /bytes/%d HTTP/1.1\r\nHost: a\r\n\r\n" % LARGE)
            connection.recv(1)
            for _ in range(20):
                self.assertEqual(self.served.get("/bytes/1").body, b"x")
            self.assertLess(peak(self.served) - self.before, HELD)

    def test_client_that_leaves(self) -> None:
        """A download whose client leaves is given up, and logged as such."""
        connection = socket.create_connection(("127.0.0.1", self.served.ports["proxy"]), timeout=LIMIT_S)
        connection.sendall(b"GET /bytes/%d HTTP/1.1\r\nHost: a\r\n\r\n" % LARGE)
        connection.recv(1)
        connection.close()

        def idle() -> bool:
            status, answer = self.admin.call("GET", "/api/status")
            return status == 200 and answer["value"]["in_flight"] == 0

        wait_for(idle, "the download to be given up", self.served.logs)


class StrictnessTests(ProxyCase):
    def test_broken_requests(self) -> None:
        """A request that could mean two things is refused, and nothing of it reaches an upstream."""
        upstream = self.raw_upstream(OK)
        self.serve("s", (upstream.port, 1))
        for case in REFUSED:
            said = self.raw(case.data.replace(b"/x", b"/s"))
            self.assertRegex(said, rb"^HTTP/1\.[01] %d " % case.status, case.name)
        self.assertEqual(upstream.heads, [])
        self.assertEqual(self.served.get("/s").status, 200)
