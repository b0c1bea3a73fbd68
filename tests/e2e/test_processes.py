"""Settings that change, gateways that follow one another, and configuration that never stops changing."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests import certs
from tests.e2e.gateway_process import (
    LIMIT_S,
    AdminClient,
    EndToEndCase,
    GatewayProcess,
    environment,
    wait_for,
)
from tests.e2e.raw_upstream import OK, RawUpstream
from tests.e2e.test_tls import TLSCase

ACTIVATE = """
import os, sys
count = int(sys.argv[1])
# The test's descriptors are high enough not to be overwritten here.
for index, descriptor in enumerate(sys.argv[2:2 + count]):
    os.dup2(int(descriptor), 3 + index)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(count))
os.execvp(sys.argv[2 + count], sys.argv[2 + count:])
"""


class ActivatedGateway(GatewayProcess):
    """A gateway that is started with sockets, as systemd does it."""

    sockets: tuple[socket.socket, ...] = ()

    def command(self, *arguments: str) -> list[str]:
        descriptors = [str(one.fileno()) for one in self.sockets]
        return [
            sys.executable,
            "-c",
            ACTIVATE,
            str(len(descriptors)),
            *descriptors,
            *super().command(*arguments),
        ]


@contextmanager
def under_load(request: Callable[[], None], clients: int = 3) -> Iterator[list[int]]:
    """
    Do *request* again and again in threads. It raises what has failed; a client stops at that.

    Yields a list with one number: how often it went well so far.
    """
    stop = threading.Event()
    failures: list[BaseException] = []
    counts = [0]
    lock = threading.Lock()

    def client() -> None:
        try:
            while not stop.is_set():
                request()
                with lock:
                    counts[0] += 1
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield counts
    finally:
        stop.set()
        for thread in threads:
            thread.join(LIMIT_S)
    if failures:
        raise AssertionError(
            f"{len(failures)} clients failed, after {counts[0]} good requests"
        ) from failures[0]


def more(counts: list[int], number: int = 20) -> None:
    """Wait for so many more requests."""
    target = counts[0] + number
    wait_for(lambda: counts[0] >= target, "requests")


class ReloadCase(TLSCase):
    """A gateway whose gw.ini changes."""

    def setUp(self) -> None:
        EndToEndCase.setUp(self)
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.pair("x", certs.pair("a.test"))

    def pair(self, name: str, pair: certs.Pair) -> None:
        (self.directory / f"{name}.crt").write_text(pair.cert)
        (self.directory / f"{name}.key").write_text(pair.key)

    def settings(self, **more: str) -> str:
        proxy = {
            "tls_listen": "127.0.0.1:0",
            "tls_certificate": f"{self.directory}/x.crt",
            "tls_private_key": f"{self.directory}/x.key",
            "workers": self.workers,
            **more,
        }
        return "\n".join(["[proxy]", *(f"{key} = {value}" for key, value in proxy.items())])

    def run_with(self, text: str) -> None:
        self.served = self.gateway(settings=text, environ={"GATEWAY_PROXY_TLS_LISTEN": "127.0.0.1:0"}).start()

    def reload(self, text: str, says: str) -> None:
        """Change gw.ini, send SIGHUP, and wait for what the log says to it."""
        self.served.config.write_text(text)
        before = self.served.logs().count(says)
        os.kill(self.served.pid, signal.SIGHUP)
        wait_for(lambda: self.served.logs().count(says) > before, says, self.served.logs)

    def size(self, count: int) -> int:
        """The status of a request with so many more field lines."""
        fields = {f"X-{number}": "x" for number in range(count)}
        return self.served.get("/", headers=fields).status

    def settled(self, fact: Callable[[], bool]) -> None:
        """Workers are told at once, and follow in their turn."""
        wait_for(fact, "the new settings", self.served.logs)

    def check_applied(self) -> None:
        """Limits, log level and certificates take effect; what cannot is named and stays."""
        self.run_with(self.settings(max_headers="30"))
        self.assertEqual(self.size(40), 431)
        kept = http.client.HTTPConnection("127.0.0.1", self.served.ports["proxy"], timeout=LIMIT_S)
        self.addCleanup(kept.close)
        kept.request("GET", "/")
        kept.getresponse().read()
        second = certs.pair("a.test", tag="second")
        self.pair("x", second)
        text = self.settings(max_headers="80", engine="twisted", server_tokens="off")
        self.reload(f"{text}\n[log]\nlevel = warn\n", "these wait for a restart: [proxy] engine")
        self.settled(lambda: self.size(40) == 404)
        # The files of a certificate are read anew though the settings name the same.
        self.settled(lambda: self.serial("a.test") == second.serial)

        def seen_from_before() -> bool:
            kept.request("GET", "/")
            answer = kept.getresponse()
            answer.read()
            self.assertEqual(answer.status, 404)
            return answer.getheader("Server") == "gateway"

        self.settled(seen_from_before)
        logs = self.served.logs()
        self.reload(f"{self.settings(health_checks='off')}\n[log]\nlevel = warn\n", "[proxy] health_checks")
        # Level warn: what is applied is no longer told, what waits is.
        self.assertNotIn("settings read again", self.served.logs()[len(logs) :])


class ReloadTests(ReloadCase):
    def test_applied(self) -> None:
        """In one process."""
        self.check_applied()

    def test_wrong(self) -> None:
        """A file that is wrong changes nothing, and everything that is wrong is said."""
        self.run_with(self.settings(max_headers="30"))
        (self.directory / "x.key").write_text("no key")
        text = self.settings(max_headers="80", idle_timeout_s="soon")
        self.reload(f"{text}\n[nonsense]\n", "holds no PEM private key")
        for words in ("left as they were", "[proxy] idle_timeout_s", "[nonsense]: no such section"):
            self.assertIn(words, self.served.logs())
        self.assertEqual(self.size(40), 431)
        self.assertEqual(self.serial("a.test"), certs.pair("a.test").serial)

    def test_log_file(self) -> None:
        """The access log moves to another file, without a line lost."""
        first, second = self.directory / "first.log", self.directory / "second.log"
        self.run_with(self.settings() + f"\n[log]\naccess = {first}\naccess_flush_s = 0\n")
        self.served.get("/one")
        self.reload(self.settings() + f"\n[log]\naccess = {second}\naccess_flush_s = 0\n", "[log] access")
        self.settled(second.exists)
        self.served.get("/two")
        self.served.end()
        self.assertIn("GET /one ", first.read_text())
        self.assertIn("GET /two ", second.read_text())


class WorkersReloadTests(ReloadCase):
    workers = "2"

    def test_applied(self) -> None:
        """In every worker."""
        self.check_applied()

    def test_replaced_worker(self) -> None:
        """A worker that is started later has the new settings, too."""
        self.run_with(self.settings(max_headers="30"))
        self.reload(self.settings(max_headers="80"), "settings read again: [proxy] max_headers")
        self.settled(lambda: all(self.size(40) == 404 for _ in range(8)))
        admin = self.enterContext(AdminClient(self.served))

        def pids() -> list[Any]:
            return [row["pid"] for row in admin.call("GET", "/api/status")[1]["value"]["workers"]]

        before = pids()
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: all(pids()) and not set(before) & set(pids()), "other workers", self.served.logs)
        self.settled(lambda: all(self.size(40) == 404 for _ in range(8)))


class SuccessionCase(EndToEndCase):
    """One gateway follows another at the same sockets (socket activation)."""

    workers = "0"

    def listening(self) -> socket.socket:
        made = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.addCleanup(made.close)
        # Out of the way of the numbers they get in the gateway.
        moved = socket.socket(fileno=os.dup2(made.fileno(), made.fileno() + 100))
        self.addCleanup(moved.close)
        moved.set_inheritable(True)
        return moved

    def check_no_request_fails(self) -> None:
        """The old one stops, the new one starts, and not one request is refused or lost."""
        sockets = {"proxy": self.listening(), "admin": self.listening()}
        directory = Path(self.mktemp())

        def start() -> ActivatedGateway:
            made = ActivatedGateway(
                directory,
                environ={
                    "GATEWAY_PROXY_WORKERS": self.workers,
                    # Not bound: there are sockets for these.
                    "GATEWAY_PROXY_LISTEN": "127.0.0.1:1",
                    "GATEWAY_ADMIN_LISTEN": "127.0.0.1:2",
                    "LISTEN_FDNAMES": ":".join(sockets),
                },
            )
            made.sockets = tuple(sockets.values())
            made.descriptors = tuple(one.fileno() for one in made.sockets)
            self.gateways.append(made)
            self.addCleanup(made.cleanup)
            made.start()
            return made

        upstream = RawUpstream(OK)
        self.addCleanup(upstream.close)
        first = start()
        ports = {kind: one.getsockname()[1] for kind, one in sockets.items()}
        self.assertEqual({kind: first.ports[kind] for kind in ports}, ports)
        with AdminClient(first) as admin:
            nodes = [{"host": "127.0.0.1", "port": upstream.port, "weight": 1}]
            for path, body in (
                ("services/s", {"name": "s", "upstream": {"nodes": nodes}}),
                ("routes/r", {"name": "r", "service_id": "s", "paths": ["/*"]}),
            ):
                self.assertEqual(admin.call("PUT", f"/apisix/admin/{path}", body)[0], 200)

        def request() -> None:
            connection = http.client.HTTPConnection("127.0.0.1", ports["proxy"], timeout=LIMIT_S)
            try:
                connection.request("GET", "/x", headers={"Connection": "close"})
                answer = connection.getresponse()
                assert (answer.status, answer.read()) == (200, b"ok"), answer.status
            finally:
                connection.close()

        with under_load(request) as counts:
            more(counts)
            first.end()
            second = start()
            more(counts)
            self.assertEqual({kind: second.ports[kind] for kind in ports}, ports)
            self.assertEqual(second.admin("GET", "/apisix/admin/routes/r")[0], 200)
        second.end()


class SuccessionTests(SuccessionCase):
    def test_no_request_fails(self) -> None:
        """In one process."""
        self.check_no_request_fails()

    def test_wrong(self) -> None:
        """A socket that is for nothing stops the start, with the reason."""
        gateway = ActivatedGateway(Path(self.mktemp()), environ={"LISTEN_FDNAMES": "porxy"})
        gateway.sockets = (self.listening(),)
        ended = subprocess.run(
            gateway.command(),
            cwd=gateway.directory,
            env=environment(gateway.environ),
            pass_fds=[one.fileno() for one in gateway.sockets],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )
        self.assertEqual(ended.returncode, 1)
        self.assertIn("is no listener's address; name it one of admin, apisix", ended.stderr)


class WorkersSuccessionTests(SuccessionCase):
    workers = "2"

    def test_no_request_fails(self) -> None:
        """With workers, which share the sockets."""
        self.check_no_request_fails()


class ChurnTests(TLSCase):
    workers = "2"

    def test_no_request_fails(self) -> None:
        """While everything changes all the time, requests that nothing changed for are served."""
        upstream = RawUpstream(OK)
        self.addCleanup(upstream.close)
        nodes = [{"host": "127.0.0.1", "port": upstream.port, "weight": 1}]
        self.put("services/s", {"name": "s", "upstream": {"nodes": nodes}})
        self.put("routes/r", {"name": "r", "service_id": "s", "paths": ["/*"]})
        local = threading.local()

        def request() -> None:
            connection = getattr(local, "connection", None)
            if connection is None:
                connection = local.connection = http.client.HTTPConnection(
                    "127.0.0.1", self.served.ports["proxy"], timeout=LIMIT_S
                )
            connection.request("GET", "/x")
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, b"ok"), answer.status

        with under_load(request) as counts:
            for number in range(30):
                # The service, its route, and others come and go; what is asked for is always there.
                weight = 1 + number % 3
                self.put("services/s", {"name": "s", "upstream": {"nodes": [{**nodes[0], "weight": weight}]}})
                self.put("routes/r", {"name": "r", "service_id": "s", "paths": ["/*"], "priority": number})
                self.put(f"routes/o{number % 5}", {"name": "o", "service_id": "s", "paths": [f"/o{number}"]})
                if number % 5 == 4:
                    self.assertEqual(self.admin.call("DELETE", "/apisix/admin/routes/o0")[0], 200)
            more(counts)
