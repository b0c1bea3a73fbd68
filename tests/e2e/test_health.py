"""Health checks over real sockets: a node that goes down is taken out, and comes back."""

from __future__ import annotations

from typing import Any

from tests.e2e.gateway_process import wait_for
from tests.e2e.raw_upstream import OK, RawUpstream
from tests.e2e.test_proxying import ProxyCase
from tests.ports import reserve

FAST: dict[str, Any] = {
    "active": {
        "type": "http",
        "http_path": "/health",
        "timeout": 5,
        "healthy": {"interval": 1, "successes": 1},
        "unhealthy": {"interval": 1, "tcp_failures": 1},
    }
}


class HealthTests(ProxyCase):
    def statuses(self) -> dict[int, str]:
        """Port → status, as ``GET /api/status`` has it."""
        status, answer = self.admin.call("GET", "/api/status")
        self.assertEqual(status, 200, answer)
        report = answer.get("value", answer)["health"]
        return {node["port"]: node["status"] for one in report for node in one["nodes"]}

    def test_out_and_back(self) -> None:
        """A node that stops listening gets no requests any more; when it listens again it does."""
        stays = self.raw_upstream(OK)
        goes = RawUpstream(OK, reserve(self))
        self.serve("n", (stays.port, 1), (goes.port, 1), checks=FAST)
        self.assertEqual(self.statuses(), {})
        self.served.get("/n")
        wait_for(lambda: any(b"/health" in head for head in goes.heads), "the first probe", self.served.logs)
        self.assertEqual(self.statuses(), {stays.port: "healthy", goes.port: "healthy"})
        goes.close()
        wait_for(
            lambda: self.statuses()[goes.port] == "unhealthy", "the node to be taken out", self.served.logs
        )
        for _ in range(6):
            answer = self.served.get("/n")
            self.assertEqual((answer.status, answer.headers.get("x-apisix-upstream-status")), (200, None))
        back = RawUpstream(OK, goes.port)
        self.addCleanup(back.close)
        wait_for(lambda: self.statuses()[goes.port] == "healthy", "the node to come back", self.served.logs)

        def served_again() -> bool:
            self.served.get("/n")
            return any(head.startswith(b"GET /n ") for head in back.heads)

        wait_for(served_again, "a request at the node that came back", self.served.logs)

    def test_live_requests(self) -> None:
        """With passive checks, failing requests take a node out before the next probe comes."""
        slow = {"active": {"healthy": {"interval": 3600}, "unhealthy": {"interval": 3600}}}
        checks = {**slow, "passive": {"unhealthy": {"tcp_failures": 1}}}
        stays = self.raw_upstream(OK)
        dead = self.dead_port()
        self.serve("n", (dead, 1), (stays.port, 1), checks=checks)
        for _ in range(4):
            self.assertEqual(self.served.get("/n").status, 200)
        self.assertEqual(self.statuses()[dead], "unhealthy")

    def test_every_type(self) -> None:
        """least_conn, ewma and chash serve real requests."""
        nodes = [self.raw_upstream(OK) for _ in range(2)]
        for kind in ("least_conn", "ewma", "chash"):
            more = {"key": "uri"} if kind == "chash" else {}
            self.serve(kind, *((one.port, 1) for one in nodes), type=kind, **more)
            statuses = {self.served.get(f"/{kind}/{n}").status for n in range(20)}
            self.assertEqual(statuses, {200}, kind)
        for one in nodes:
            for kind in (b"least_conn", b"ewma", b"chash"):
                self.assertTrue(any(kind in head for head in one.heads), kind)
