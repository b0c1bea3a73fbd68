"""Killed in the middle of writing: what was answered is there, and nothing is half there."""

from __future__ import annotations

import http.client
import signal
import threading
from pathlib import Path

from tests.e2e.gateway_process import LIMIT_S, AdminClient, EndToEndCase, GatewayProcess

ROUNDS = 4
WRITES_BEFORE_KILL = (1, 7, 20, 41)


class KilledWhileWritingTests(EndToEndCase):
    def test_no_answered_write_is_lost(self) -> None:
        """After kill -9 under writes, every answered write is served and every stored route is whole."""
        directory = Path(self.mktemp())
        answered: dict[str, str] = {}
        for number, writes in enumerate(WRITES_BEFORE_KILL[:ROUNDS]):
            gateway = self.started(directory)
            with AdminClient(gateway) as admin:
                if number == 0:
                    service = {"name": "s", "upstream": {"nodes": []}}
                    self.assertEqual(admin.call("PUT", "/apisix/admin/services/s", service)[0], 200)
                self.write_until_killed(gateway, admin, number, writes, answered)
        gateway = self.started(directory)
        with AdminClient(gateway) as admin:
            _, listed = admin.call("GET", "/apisix/admin/routes")
        stored = {route["id"]: route["desc"] for route in listed["list"]}
        for id, desc in answered.items():
            self.assertEqual(stored.get(id), desc)
            # 503: the route is served, and its upstream has no nodes.
            self.assertEqual(gateway.get(f"/{id}").status, 503)
        for route in listed["list"]:
            self.assertEqual((route["paths"], route["service_id"]), ([f"/{route['id']}"], "s"))
        self.assertGreaterEqual(len(answered), sum(WRITES_BEFORE_KILL))

    def started(self, directory: Path) -> GatewayProcess:
        gateway = self.gateway(directory=directory)
        return gateway.start()

    def write_until_killed(
        self, gateway: GatewayProcess, admin: AdminClient, number: int, writes: int, answered: dict[str, str]
    ) -> None:
        enough = threading.Event()

        def kill() -> None:
            enough.wait(LIMIT_S)
            gateway.end(signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        count = 0
        try:
            while True:
                id = f"r{number}-{count}"
                body = {"name": id, "desc": f"write {count}", "service_id": "s", "paths": [f"/{id}"]}
                status, answer = admin.call("PUT", f"/apisix/admin/routes/{id}", body)
                self.assertEqual(status, 200, answer)
                answered[id] = body["desc"]  # type: ignore[assignment]
                count += 1
                if count == writes:
                    enough.set()
        except (OSError, http.client.HTTPException):
            pass
        finally:
            enough.set()
            killer.join()
