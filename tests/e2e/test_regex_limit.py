"""Regular expressions that some texts make slow, in real gateways, while others are served."""

from __future__ import annotations

import os
import signal
import threading
import time
import urllib.request
from typing import Any

from tests.e2e.gateway_process import LIMIT_S, EndToEndCase, wait_for
from tests.e2e.raw_upstream import OK, RawUpstream

ATTACK = "a" * 4000 + "!"
SETTINGS = """
[plugins]
regex_timeout_ms = {limit_ms}
[proxy]
workers = {workers}
max_headers = {max_headers}
[log]
access_flush_s = 0
access_format = $uri $status $reason
"""


class RegexLimitTests(EndToEndCase):
    def setUp(self) -> None:
        super().setUp()
        self.node = RawUpstream(OK)
        self.addCleanup(self.node.close)

    def serve(self, workers: int) -> None:
        listen = {"GATEWAY_METRICS_LISTEN": "127.0.0.1:0"}
        settings = SETTINGS.format(limit_ms=20, workers=workers, max_headers=100)
        self.served = self.gateway(settings=settings, environ=listen).start()
        upstream = {"nodes": [{"host": "127.0.0.1", "port": self.node.port, "weight": 1}]}
        self.put("services/s", {"name": "s", "upstream": upstream})
        self.put("global_rules/prometheus", {"plugins": {"prometheus": {}}})
        self.route("free")
        for name, rule in (("nested", "(a+)+$"), ("choice", "(a|aa)+$"), ("other", "(b|bb)+$")):
            self.route(name, {"uri-blocker": {"block_rules": [rule]}})

    def put(self, path: str, document: Any) -> None:
        status, answer = self.served.admin("PUT", f"/apisix/admin/{path}", document)
        self.assertEqual(status, 200, answer)

    def route(self, name: str, plugins: Any = None) -> None:
        document = {"name": name, "service_id": "s", "paths": [f"/{name}/*"], "plugins": plugins or {}}
        self.put(f"routes/{name}", document)

    def told(self, text: str) -> list[str]:
        return [line for line in self.served.logs().splitlines() if text in line]

    def attacked(self, count: int) -> tuple[list[int], float]:
        """The statuses of attacks, and the longest that another request took meanwhile, in seconds."""
        statuses: list[int] = []

        def attack() -> None:
            statuses.extend(self.served.get(f"/choice/{ATTACK}").status for _ in range(count))

        attacker = threading.Thread(target=attack)
        attacker.start()
        longest_s = 0.0
        while attacker.is_alive():
            started_s = time.monotonic()
            self.assertEqual(self.served.get("/free/x").status, 200)
            longest_s = max(longest_s, time.monotonic() - started_s)
        attacker.join()
        return statuses, longest_s

    def check(self) -> None:
        for path in ("/free/x", "/nested/x", "/choice/x"):
            self.assertEqual(self.served.get(path).status, 200, path)
        for path in ("/nested/ba", "/choice/ba"):
            self.assertEqual(self.served.get(path).status, 403, path)
        answer, longest_s = self.attacked(20)
        self.assertEqual(answer, [500] * 20)
        self.assertLess(longest_s, 2.0)
        self.assertEqual(self.served.get(f"/nested/{ATTACK}").status, 500)

        access = self.served.data_dir / "access.log"
        line = f"/choice/{ATTACK} 500 regex_timeout"
        wait_for(lambda: access.read_text().count(line) == 20, "the lines of the access log")
        said = wait_for(lambda: self.told("(a|aa)+$"), "a line in the log", self.served.logs)
        self.assertLessEqual(len(said), max(1, self.workers))
        self.assertIn("plugin uri-blocker of route/choice", said[0])
        self.assertIn("20 ms", said[0])
        self.assertEqual(self.told("Traceback"), [])
        self.assertIn('reason="regex_timeout"', self.metrics())

        status, told = self.served.admin("POST", "/api/explain", {"url": f"/choice/{ATTACK}"})
        outcome = told.get("value", told)["outcome"]
        self.assertEqual((status, outcome["status"], outcome["reason"]), (200, 500, "regex_timeout"))

        # Patterns that are compiled already follow the settings.
        self.served.config.write_text(SETTINGS.format(limit_ms=40, workers=self.workers, max_headers=30))
        os.kill(self.served.pid, signal.SIGHUP)
        wait_for(lambda: self.told("settings read again: "), "the new settings")
        # A worker follows in its turn; a pattern is told of once a minute, so it must not be too early.
        many = {f"X-{number}": "x" for number in range(40)}
        wait_for(lambda: self.served.get("/free/x", headers=many).status == 431, "whoever serves to follow")
        wait_for(lambda: self.served.get("/other/" + "b" * 4000 + "!").status == 500, "an attack")
        wait_for(lambda: any("40 ms" in line for line in self.told("(b|bb)+$")), "another line in the log")

    def metrics(self) -> str:
        port = self.served.ports["metrics"]
        url = f"http://127.0.0.1:{port}/apisix/prometheus/metrics"
        with urllib.request.urlopen(url, timeout=LIMIT_S) as answer:
            text: str = answer.read().decode()
        return text

    workers = 0

    def test_one_process(self) -> None:
        """Attacks are answered 500, others as ever; the log and the metrics say why, and so does explain."""
        self.serve(self.workers)
        self.check()

    def test_workers(self) -> None:
        """So it is with workers."""
        self.workers = 1
        self.serve(self.workers)
        self.check()
