"""``[proxy] workers = 2``: real processes that share a listening address, and what happens when one ends."""

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

from tests import certs
from tests.e2e import test_guide
from tests.e2e.gateway_process import (
    LIMIT_S,
    AdminClient,
    EndToEndCase,
    GatewayProcess,
    exchange,
    wait_for,
)
from tests.e2e.raw_upstream import OK, Behaviour, Peer, RawUpstream
from tests.ports import reserve

PAIRS = 300
WORKERS = {"GATEWAY_PROXY_WORKERS": "2"}
LOST = b"404 Route Not Found"


def gone(pid: int) -> bool:
    """Whether no such process runs; remains that nobody has reaped do not run."""
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True


def children(pid: int) -> set[int]:
    """The ids of a process's children."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(") ")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.add(int(stat.parent.name))
    return found


class WorkersCase(EndToEndCase):
    """A gateway with two workers."""

    def gateway(self, **more: Any) -> GatewayProcess:
        made = super().gateway(environ={**WORKERS, **more.pop("environ", {})}, **more)
        self.addCleanup(self.leave_nothing, made)
        return made

    def leave_nothing(self, gateway: GatewayProcess) -> None:
        """Workers that lost their parent in a failed test; runs before the gateway itself is ended."""
        if gateway.pid and gateway.running():
            for pid in children(gateway.pid):
                os.kill(pid, signal.SIGKILL)

    def raw_upstream(self, behaviour: Behaviour) -> RawUpstream:
        made = RawUpstream(behaviour)
        self.addCleanup(made.close)
        return made

    def serve(self, gateway: GatewayProcess, port: int) -> None:
        """``/r*`` goes to *port*."""
        service = {"name": "s", "upstream": {"nodes": [{"host": "127.0.0.1", "port": port, "weight": 1}]}}
        for path, body in (
            ("services/s", service),
            ("routes/r", {"name": "r", "service_id": "s", "paths": ["/r*"]}),
        ):
            self.assertEqual(gateway.admin("PUT", f"/apisix/admin/{path}", body)[0], 200)

    def status(self, gateway: GatewayProcess) -> dict[str, Any]:
        status, answer = gateway.admin("GET", "/api/status")
        self.assertEqual(status, 200)
        value: dict[str, Any] = answer["value"]
        return value

    def pids(self, gateway: GatewayProcess) -> list[int]:
        """The process ids of those that serve; 0 stands for a slot that is empty."""
        return [row["pid"] if row["serving"] else 0 for row in self.status(gateway)["workers"]]

    def connection(self, gateway: GatewayProcess) -> http.client.HTTPConnection:
        made = http.client.HTTPConnection("127.0.0.1", gateway.ports["proxy"], timeout=LIMIT_S)
        self.addCleanup(made.close)
        return made

    def connection_to(self, gateway: GatewayProcess, pid: int) -> http.client.HTTPConnection:
        """A kept connection that this worker accepted."""
        for _ in range(200):
            made = self.connection(gateway)
            self.assertEqual(exchange(made, "GET", "/r", headers={}).status, 200)
            if self.owner(made) == pid:
                return made
            made.close()
        raise AssertionError(f"no connection to {pid} in 200")

    def owner(self, connection: http.client.HTTPConnection) -> int:
        """The process at the other end of a connection."""
        host, port = connection.sock.getsockname()
        theirs = f"{self.packed(host)}:{port:04X}"
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[2] == theirs:
                inode = f"socket:[{fields[9]}]"
                for link in Path("/proc").glob("[0-9]*/fd/*"):
                    try:
                        if os.readlink(link) == inode:
                            return int(link.parts[2])
                    except OSError:
                        continue
        return 0

    @staticmethod
    def packed(host: str) -> str:
        """As the kernel writes it in /proc/net/tcp."""
        return f"{int.from_bytes(socket.inet_aton(host), 'little'):08X}"


class WorkersGuideTests(WorkersCase, test_guide.GuideTests):
    """README's walk-through, served by workers."""

    def test_wrong_tokens(self) -> None:
        """A token is checked by both workers."""
        gateway = self.gateway().start()
        said = self.steps(gateway, self.upstream().port, ("token", *test_guide.WRITES, *test_guide.READS))
        self.assertIn("jwt-auth-consumer-cred", said["with a token"])
        owners = set()
        for _ in range(40):
            connection = self.connection(gateway)
            self.assertEqual(exchange(connection, "GET", "/anything/jwt-auth", headers={}).status, 401)
            owners.add(self.owner(connection))
        self.assertEqual(owners, set(self.pids(gateway)))


class ReadYourWritesTests(WorkersCase):
    """An answered write is being served, whichever worker is asked."""

    def test_no_stale_answer(self) -> None:
        """A route that was moved is found there by the next connections, and nowhere else: 300 times."""
        gateway = self.gateway().start()
        self.serve(gateway, self.raw_upstream(OK).port)
        kept = [self.connection_to(gateway, pid) for pid in self.pids(gateway)]
        stale = []
        with AdminClient(gateway) as admin:
            for number in range(PAIRS):
                body = {"name": "moving", "paths": [f"/moving/{number}"], "service_id": "s"}
                status, answer = admin.call("PUT", "/apisix/admin/routes/moving", body)
                self.assertEqual(status, 200, answer)
                if gateway.get(f"/moving/{number}").status != 200:
                    stale.append(f"new {number}")
                if gateway.get(f"/moving/{number - 1}").status != 404:
                    stale.append(f"old {number}")
                # And on connections that are known to lead to each of the two.
                for connection in kept:
                    if exchange(connection, "GET", f"/moving/{number}", headers={}).status != 200:
                        stale.append(f"kept {number}")
        self.assertEqual(stale, [])

    def test_restarted_worker(self) -> None:
        """A worker that is started later serves everything that was written before and meanwhile."""
        gateway = self.gateway().start()
        self.serve(gateway, self.raw_upstream(OK).port)
        with AdminClient(gateway) as admin:
            for number in range(20):
                if number % 5 == 0:
                    os.kill(
                        next(pid for pid in wait_for(lambda: self.full(gateway), "workers")), signal.SIGKILL
                    )
                body = {"name": "moving", "paths": [f"/moving/{number}"], "service_id": "s"}
                self.assertEqual(admin.call("PUT", "/apisix/admin/routes/moving", body)[0], 200)
                for _ in range(4):
                    self.assertEqual(gateway.get(f"/moving/{number}").status, 200, number)
        wait_for(lambda: self.full(gateway), "workers")
        self.assertEqual({row["served_revision"] for row in self.status(gateway)["workers"]}, {23})

    def full(self, gateway: GatewayProcess) -> list[int]:
        pids = self.pids(gateway)
        return pids if all(pids) else []


class DeathTests(WorkersCase):
    """Workers that end."""

    def test_the_others_do_not_notice(self) -> None:
        """After kill -9 of one worker under load no connection to the other fails, and it is replaced."""
        gateway = self.gateway().start()
        self.serve(gateway, self.raw_upstream(OK).port)
        victim, other = self.pids(gateway)
        connections = [self.connection_to(gateway, other) for _ in range(4)]
        failures: list[BaseException] = []
        counts = [0] * len(connections)
        enough = threading.Event()

        def load(index: int) -> None:
            try:
                while not enough.is_set():
                    answer = exchange(connections[index], "GET", "/r", headers={})
                    if answer.status != 200:
                        raise AssertionError(answer.status)
                    counts[index] += 1
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=load, args=(index,)) for index in range(len(connections))]
        for thread in threads:
            thread.start()
        try:
            wait_for(lambda: min(counts) > 20, "load")
            wait_for(lambda: len(children(gateway.pid)) == 3, "the spare worker")
            spares = children(gateway.pid) - {victim, other}
            os.kill(victim, signal.SIGKILL)
            found = wait_for(lambda: self.replaced(gateway, victim), "a new worker")
            # One that was there already: no start of Python was waited for.
            self.assertEqual((found[1], {found[0]}), (other, spares))
            before = min(counts)
            wait_for(lambda: min(counts) > before + 20, "load")
        finally:
            enough.set()
            for thread in threads:
                thread.join(LIMIT_S)
        self.assertEqual(failures, [])
        self.assertEqual([row["restarts"] for row in self.status(gateway)["workers"]], [1, 0])
        self.assertIn("ended: signal 9", gateway.logs())

    def replaced(self, gateway: GatewayProcess, victim: int) -> list[int]:
        pids = self.pids(gateway)
        return pids if victim not in pids and all(pids) else []

    def test_both(self) -> None:
        """When both end at once, connections wait for those that replace them: none is refused."""
        gateway = self.gateway().start()
        self.serve(gateway, self.raw_upstream(OK).port)
        wait_for(lambda: len(children(gateway.pid)) == 3, "the spare worker")
        for pid in self.pids(gateway):
            os.kill(pid, signal.SIGKILL)
        for _ in range(10):
            self.assertEqual(gateway.get("/r").status, 200)

    def test_told_to_stop(self) -> None:
        """SIGTERM to one worker: it ends its request in flight, and another has its place already."""
        release = threading.Event()
        self.addCleanup(release.set)
        upstream = self.raw_upstream(slow(release))
        gateway = self.gateway().start()
        self.serve(gateway, upstream.port)
        victim = self.pids(gateway)[0]
        connection = self.connection_to(gateway, victim)
        connection.request("GET", "/r/slow")
        wait_for(lambda: any(b"/slow" in head for head in upstream.heads), "the request")
        os.kill(victim, signal.SIGTERM)
        wait_for(lambda: self.replaced(gateway, victim), "a new worker")
        self.assertEqual(gateway.get("/r").status, 200)
        self.assertFalse(gone(victim))
        release.set()
        self.assertEqual(connection.getresponse().read(), b"ok")
        wait_for(lambda: gone(victim), "the worker to end")

    def test_hanging(self) -> None:
        """A worker that hangs holds a write no longer than the timeout, and is replaced."""
        gateway = self.gateway(environ={"GATEWAY_PROXY_WORKER_TIMEOUT_S": "4"}).start()
        self.serve(gateway, self.raw_upstream(OK).port)
        victim = self.pids(gateway)[1]
        os.kill(victim, signal.SIGSTOP)
        started = time.monotonic()
        body = {"name": "r", "service_id": "s", "paths": ["/after*"]}
        self.assertEqual(gateway.admin("PUT", "/apisix/admin/routes/r", body)[0], 200)
        took_s = time.monotonic() - started
        self.assertGreater(took_s, 2)
        self.assertLess(took_s, 20)
        wait_for(lambda: gone(victim), "the worker to end")
        for _ in range(10):
            self.assertEqual(gateway.get("/after").status, 200)
        started = time.monotonic()
        self.assertEqual(gateway.admin("PUT", "/apisix/admin/routes/r", body)[0], 200)
        self.assertLess(time.monotonic() - started, 3.6)

    def test_hanging_unnoticed(self) -> None:
        """A worker that hangs is replaced even if nobody changes anything; /api/status tells meanwhile."""
        gateway = self.gateway(environ={"GATEWAY_PROXY_WORKER_TIMEOUT_S": "0.5"}).start()
        victim = self.pids(gateway)[0]
        os.kill(victim, signal.SIGSTOP)
        wait_for(lambda: self.replaced(gateway, victim), "a new worker")


def slow(release: threading.Event) -> Behaviour:
    """Answer at once, but ``…/slow`` when *release* is set."""

    def behave(upstream: RawUpstream, peer: Peer) -> None:
        while (head := peer.head()) is not None:
            upstream.heads.append(head)
            if b"/slow" in head:
                release.wait(LIMIT_S)
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    return behave


class StopTests(WorkersCase):
    """The end of the first process."""

    def test_drained(self) -> None:
        """SIGTERM lets the request in flight end, takes no new ones, and leaves no process."""
        release = threading.Event()
        self.addCleanup(release.set)
        upstream = self.raw_upstream(slow(release))
        gateway = self.gateway().start()
        self.serve(gateway, upstream.port)
        connection = self.connection(gateway)
        connection.request("GET", "/r/slow")
        wait_for(lambda: upstream.heads, "the request")
        wait_for(lambda: self.status(gateway)["in_flight"] == 1, "the worker to tell of it")
        port, all_of_them = gateway.ports["proxy"], children(gateway.pid)
        os.kill(gateway.pid, signal.SIGTERM)

        def refused() -> bool:
            with socket.socket() as probe:
                probe.settimeout(LIMIT_S)
                return probe.connect_ex(("127.0.0.1", port)) != 0

        wait_for(refused, "the listeners to close")
        self.assertTrue(gateway.running())
        release.set()
        self.assertEqual(connection.getresponse().read(), b"ok")
        wait_for(lambda: not gateway.running(), "the gateway to end", gateway.logs)
        self.assertEqual([pid for pid in all_of_them if not gone(pid)], [])
        self.assertFalse((gateway.data_dir / "ports.json").exists())
        self.assertNotIn("Traceback", gateway.logs())

    def test_grace_period(self) -> None:
        """A request that does not end within the grace period is cut."""
        release = threading.Event()
        self.addCleanup(release.set)
        upstream = self.raw_upstream(slow(release))
        gateway = self.gateway(environ={"GATEWAY_GATEWAY_SHUTDOWN_GRACE_S": "0.3"}).start()
        self.serve(gateway, upstream.port)
        connection = self.connection(gateway)
        connection.request("GET", "/r/slow")
        wait_for(lambda: upstream.heads, "the request")
        started = time.monotonic()
        gateway.end()
        # The upstream would be waited for a minute.
        self.assertLess(time.monotonic() - started, 30)
        with self.assertRaises((OSError, http.client.HTTPException)):
            connection.getresponse()

    def test_killed(self) -> None:
        """kill -9 of the first process leaves none behind, and the next start serves the same address."""
        gateway = self.gateway(environ={"GATEWAY_PROXY_LISTEN": f"127.0.0.1:{reserve(self)}"}).start()
        self.serve(gateway, self.raw_upstream(OK).port)
        wait_for(lambda: len(children(gateway.pid)) == 3, "the spare worker")
        workers = children(gateway.pid)
        gateway.end(signal.SIGKILL)
        wait_for(lambda: all(gone(pid) for pid in workers), "the workers to end")
        gateway.start()
        self.assertEqual(gateway.get("/r").status, 200)

    def test_logs(self) -> None:
        """The access log has a whole line for each request of each worker; SIGHUP opens it anew in all."""
        gateway = self.gateway(environ={"GATEWAY_LOG_ACCESS_FLUSH_S": "0.01"}).start()
        self.serve(gateway, self.raw_upstream(OK).port)
        connections = [self.connection_to(gateway, pid) for pid in self.pids(gateway)]
        path, moved = gateway.data_dir / "access.log", gateway.data_dir / "access.log.1"
        path.rename(moved)
        os.kill(gateway.pid, signal.SIGHUP)

        def opened() -> bool:
            exchange(connections[0], "GET", "/r/first", headers={})
            exchange(connections[1], "GET", "/r/second", headers={})
            text = path.read_text() if path.exists() else ""
            return "/r/first" in text and "/r/second" in text

        wait_for(opened, "the new file")
        for _ in range(100):
            for connection in connections:
                exchange(connection, "GET", "/r/many", headers={})
        gateway.end()
        lines = [line for line in path.read_text().splitlines() if "/r/many" in line]
        self.assertEqual(len(lines), 200)
        self.assertRegex(gateway.logs(), r"worker 1 \(process [0-9]+\): ")


class StartTests(WorkersCase):
    """Starting with workers."""

    def test_port_in_use(self) -> None:
        """A port that another gateway with workers shares is not shared with this one: it does not start."""
        first = self.gateway().start()
        second = self.gateway(environ={"GATEWAY_PROXY_LISTEN": f"127.0.0.1:{first.ports['proxy']}"})
        ended = second.run()
        self.assertEqual(ended.returncode, 1, ended.stdout + ended.stderr)
        self.assertIn(str(first.ports["proxy"]), ended.stdout + ended.stderr)
        self.assertNotIn("Traceback", ended.stderr)

    def test_https_and_ipv6(self) -> None:
        """Every address is shared, those for HTTPS too."""
        shown = certs.pair("127.0.0.1")
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        (directory / "x.crt").write_text(shown.cert)
        (directory / "x.key").write_text(shown.key)
        gateway = self.gateway(
            environ={
                "GATEWAY_PROXY_LISTEN": "127.0.0.1:0, [::1]:0",
                "GATEWAY_PROXY_TLS_LISTEN": "127.0.0.1:0",
                "GATEWAY_PROXY_TLS_CERTIFICATE": str(directory / "x.crt"),
                "GATEWAY_PROXY_TLS_PRIVATE_KEY": str(directory / "x.key"),
                "GATEWAY_STATUS_LISTEN": "127.0.0.1:0",
            }
        ).start()
        self.assertEqual({"admin", "proxy", "proxy_2", "proxy_tls", "status"} - set(gateway.ports), set())
        tls = ssl.create_default_context(cafile=str(directory / "x.crt"))
        ports = gateway.ports
        for made, path, status in (
            (http.client.HTTPConnection("::1", ports["proxy_2"], timeout=LIMIT_S), "/", 404),
            (http.client.HTTPSConnection("127.0.0.1", ports["proxy_tls"], context=tls), "/", 404),
            (http.client.HTTPConnection("127.0.0.1", ports["status"], timeout=LIMIT_S), "/status/ready", 200),
        ):
            self.addCleanup(made.close)
            self.assertEqual(exchange(made, "GET", path, headers={}).status, status)

    def test_secrets(self) -> None:
        """Neither the command line of a worker nor any file holds a credential's secret."""
        gateway = self.gateway().start()
        secret = "the-shared-secret-of-jack-0123456789"
        credential = {"name": "c", "plugins": {"jwt-auth": {"key": "k", "secret": secret}}}
        self.assertEqual(gateway.admin("PUT", "/apisix/admin/consumers/jack", {"username": "jack"})[0], 200)
        status, _ = gateway.admin("PUT", "/apisix/admin/consumers/jack/credentials/c", credential)
        self.assertEqual(status, 200)
        os.kill(self.pids(gateway)[0], signal.SIGKILL)
        wait_for(lambda: all(self.pids(gateway)), "workers")
        for pid in children(gateway.pid):
            self.assertNotIn(secret.encode(), Path(f"/proc/{pid}/cmdline").read_bytes())
            self.assertNotIn(secret.encode(), Path(f"/proc/{pid}/environ").read_bytes())
        gateway.end()
        for path in gateway.directory.rglob("*"):
            if path.is_file():
                self.assertNotIn(secret.encode(), path.read_bytes(), path.name)
