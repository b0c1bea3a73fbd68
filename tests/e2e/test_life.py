"""A running gateway: writes that are served at once, stops, crashes, the daemon."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
from pathlib import Path
from typing import Any

from tests.e2e.gateway_process import LIMIT_S, AdminClient, EndToEndCase, GatewayProcess, exchange

PAIRS = 300


def service(port: int) -> dict[str, Any]:
    """An upstream on loopback."""
    nodes = [{"host": "127.0.0.1", "port": port, "weight": 1}]
    return {"name": "s", "upstream": {"type": "roundrobin", "scheme": "http", "nodes": nodes}}


class Case(EndToEndCase):
    """What the tests below share."""

    def configure(self, gateway: GatewayProcess, upstream: int) -> None:
        """One service, one route that needs no token, and one that does."""
        for path, body in (
            ("services/s", service(upstream)),
            ("routes/open", {"name": "open", "paths": ["/anything/*"], "service_id": "s"}),
            (
                "routes/closed",
                {"name": "c", "paths": ["/closed"], "service_id": "s", "plugins": {"jwt-auth": {}}},
            ),
        ):
            status, answer = gateway.admin("PUT", f"/apisix/admin/{path}", body)
            self.assertEqual(status, 200, answer)

    def serves(self, gateway: GatewayProcess) -> None:
        """The configuration above is being served."""
        self.assertEqual(gateway.get("/anything/x?y=z").json["args"], {"y": "z"})
        self.assertEqual(gateway.get("/closed").status, 401)
        self.assertEqual(gateway.get("/nowhere").status, 404)

    def refused(self, port: int) -> None:
        """Nobody listens there."""
        with socket.socket() as probe:
            probe.settimeout(LIMIT_S)
            self.assertNotEqual(probe.connect_ex(("127.0.0.1", port)), 0)


class ReadYourWritesTests(Case):
    """An answered write is being served."""

    def test_no_stale_answer(self) -> None:
        """A route that was moved is found there by the next request, and nowhere else: hundreds of times."""
        gateway = self.gateway().start()
        self.configure(gateway, self.upstream().port)
        proxy = http.client.HTTPConnection("127.0.0.1", gateway.ports["proxy"], timeout=LIMIT_S)
        self.addCleanup(proxy.close)
        stale = []
        with AdminClient(gateway) as admin:
            for number in range(PAIRS):
                body = {"name": "moving", "paths": [f"/moving/{number}"], "service_id": "s"}
                status, answer = admin.call("PUT", "/apisix/admin/routes/moving", body)
                self.assertEqual(status, 200, answer)
                found = exchange(proxy, "GET", f"/moving/{number}", headers={})
                # httpbin has no such page: a 404 of its own, in HTML, says the route was found.
                if b"404 Route Not Found" in found.body:
                    stale.append(number)
                left = exchange(proxy, "GET", f"/moving/{number - 1}", headers={})
                if b"404 Route Not Found" not in left.body:
                    stale.append(-number)
        self.assertEqual(stale, [])


class RestartTests(Case):
    """What was answered is not lost."""

    def test_killed(self) -> None:
        """After kill -9 the next start serves the same, with the same token."""
        gateway = self.gateway().start()
        upstream = self.upstream().port
        self.configure(gateway, upstream)
        self.serves(gateway)
        token = gateway.token
        self.assertEqual(gateway.end(signal.SIGKILL), -signal.SIGKILL)
        gateway.start()
        self.assertEqual(gateway.token, token)
        self.serves(gateway)
        self.assertEqual(gateway.admin("GET", "/apisix/admin/routes/open")[0], 200)

    def test_stopped(self) -> None:
        """SIGTERM ends it: nobody listens, ports.json and the pid file are gone, no error is logged."""
        gateway = self.gateway().start()
        self.configure(gateway, self.upstream().port)
        self.serves(gateway)
        ports = dict(gateway.ports)
        self.assertIn(gateway.end(), (0, -signal.SIGTERM))
        for port in ports.values():
            self.refused(port)
        self.assertFalse((gateway.data_dir / "ports.json").exists())
        self.assertFalse(gateway.pidfile.exists())
        self.assertNotIn("Traceback", gateway.logs())
        gateway.start()
        self.serves(gateway)

    def test_access_log(self) -> None:
        """After a stop the access log has a line for each request."""
        gateway = self.gateway().start()
        self.configure(gateway, self.upstream().port)
        self.serves(gateway)
        gateway.end()
        lines = (gateway.data_dir / "access.log").read_text().splitlines()
        self.assertEqual(len(lines), 3)
        for line, words in zip(lines, (" 200 ", " 401 ", " 404 "), strict=True):
            self.assertIn(words, line)
        self.assertTrue(lines[2].endswith("route_not_found"), lines[2])

    def test_one_at_a_time(self) -> None:
        """A second gateway on the same data directory does not start, and the first goes on."""
        gateway = self.gateway().start()
        self.configure(gateway, self.upstream().port)
        second = self.gateway(
            environ={"GATEWAY_GATEWAY_DATA_DIR": str(gateway.data_dir)}, directory=Path(self.mktemp())
        )
        ended = second.run()
        self.assertEqual(ended.returncode, 1, ended.stdout + ended.stderr)
        self.assertNotIn("Traceback", ended.stderr)
        self.serves(gateway)


class DaemonTests(Case):
    """In the background."""

    def test_daemon(self) -> None:
        """It comes back at once, keeps a pid file and a log, serves, and ends on SIGTERM."""
        gateway = self.gateway(daemon=True).start()
        self.assertEqual(int(gateway.pidfile.read_text()), gateway.pid)
        self.assertNotEqual(gateway.pid, os.getpid())
        self.configure(gateway, self.upstream().port)
        self.serves(gateway)
        log = gateway.logfile.read_text()
        self.assertRegex(log, rf"Admin API on https://127\.0\.0\.1:{gateway.ports['admin']}\b")
        self.assertRegex(log, rf"Data plane on http://127\.0\.0\.1:{gateway.ports['proxy']}\b")
        # The token was said at the terminal, not in the log.
        self.assertIn(gateway.token, gateway.output.read_text())
        self.assertNotIn(gateway.token, log)
        gateway.end()
        self.assertFalse(gateway.pidfile.exists())
        self.assertNotIn("Traceback", gateway.logfile.read_text())
        self.assertIsNotNone(re.search("Server Shut Down", gateway.logfile.read_text()))

    def test_log_level(self) -> None:
        """Below [log] level nothing is logged."""
        gateway = self.gateway(daemon=True, settings="[log]\nlevel = error\n").start()
        self.assertEqual(gateway.get("/").status, 404)
        gateway.end()
        self.assertEqual(gateway.logfile.read_text(), "")
