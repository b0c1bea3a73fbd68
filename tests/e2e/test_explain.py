"""``/api/explain`` of refusals that depend on what was before: real gateways, with and without workers."""

from __future__ import annotations

import threading

from tests.counters.redis_server import RedisProcess
from tests.e2e.gateway_process import LIMIT_S, wait_for
from tests.e2e.raw_upstream import OK
from tests.e2e.test_plugins_traffic import COUNT, TrafficCase, held, storm


class LimitsTests(TrafficCase):
    """The counters that count for live requests are the ones that are told."""

    def limits(self, workers: int) -> None:
        gateway = self.gateway(environ={"GATEWAY_PROXY_WORKERS": str(workers)}).start()
        release = threading.Event()
        self.addCleanup(release.set)
        good, bad, slow = (
            self.raw_upstream(OK),
            self.raw_upstream(held(release, b"HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n")),
            self.raw_upstream(held(release)),
        )
        self.route(gateway, good.port, {"limit-count": {**COUNT, "count": 3}})
        bucket = {"rate": 0.001, "burst": 0, "key": "remote_addr", "rejected_code": 429, "policy": "local"}
        self.route(gateway, good.port, {"limit-req": bucket}, "bucket")
        one = {
            "conn": 1,
            "burst": 0,
            "default_conn_delay": 0.1,
            "key": "remote_addr",
            "policy": "local",
        }
        self.route(gateway, slow.port, {"limit-conn": one}, "held")
        breaker = {"break_response_code": 502, "unhealthy": {"http_statuses": [500], "failures": 1}}
        self.route(gateway, bad.port, {"api-breaker": breaker}, "breaks")
        self.route(gateway, good.port, {"public-api": {"uri": "/apisix/prometheus/metrics"}}, "public")

        # limit-count: nothing taken by asking; then none is left.
        self.assertEqual(gateway.get("/r").headers["x-ratelimit-remaining"], "2")
        for _ in range(20):
            told = self.explain(gateway, "/r")
        self.assertRegex(told["plugins"][0]["detail"], r"^2 of 3 left for \d+ s$")
        self.assertEqual(told["outcome"]["reason"], "proxied")
        self.assertEqual(gateway.get("/r").headers["x-ratelimit-remaining"], "1")
        self.assertEqual([gateway.get("/r").status for _ in range(2)], [200, 429])
        outcome = self.explain(gateway, "/r")["outcome"]
        self.assertEqual(
            (outcome["status"], outcome["decided_by"], outcome["reason"]),
            (429, "plugin:limit-count", "limit_count_exceeded"),
        )
        self.assertRegex(outcome["detail"], r"^none of 3 left for \d+ s$")
        other = self.explain(gateway, "/r", client_ip="192.0.2.1")
        self.assertEqual(other["plugins"][0]["detail"], "all 3 left")

        self.assertEqual([gateway.get("/bucket").status for _ in range(2)], [200, 429])
        self.assertEqual(self.decided(gateway, "/bucket"), (429, "plugin:limit-req", "limit_req_exceeded"))

        inside = self.connection(gateway)
        inside.request("GET", "/held")
        # So many at the same time, that it stays open for minutes.
        many = threading.Thread(target=storm, args=(gateway.ports["proxy"], "/breaks", 8))
        many.start()
        wait_for(lambda: slow.heads and len(bad.heads) == 8, "requests that are in")
        self.assertEqual(self.decided(gateway, "/held"), (503, "plugin:limit-conn", "limit_conn_exceeded"))
        self.assertEqual(self.decided(gateway, "http://a.test/breaks")[2], "proxied")
        release.set()
        self.assertEqual(inside.getresponse().status, 200)
        many.join(LIMIT_S)
        wait_for(lambda: self.decided(gateway, "/held")[2] == "proxied", "room")
        wait_for(lambda: self.decided(gateway, "http://a.test/breaks")[0] == 502, "the breaker to open")
        self.assertEqual(gateway.get("/breaks", headers={"Host": "a.test"}).status, 502)
        outcome = self.explain(gateway, "http://a.test/breaks")["outcome"]
        self.assertEqual((outcome["status"], outcome["reason"]), (502, "breaker_open"))
        self.assertRegex(outcome["detail"], r"^the breaker is open for [\d.]+ s more$")

        self.assertEqual(self.decided(gateway, "/public"), (200, "plugin:public-api", "public_api"))
        self.assertNotIn("Traceback", gateway.logs())

    def test_one_process(self) -> None:
        """Where one process serves and explains."""
        self.limits(0)

    def test_one_worker(self) -> None:
        """Where a worker serves, and the first process explains."""
        self.limits(1)

    def test_two_workers(self) -> None:
        """Where two workers serve."""
        self.limits(2)


class RedisTests(TrafficCase):
    def test_redis(self) -> None:
        """Counters in Redis are read, not taken from; while it is down that is told as the 500 it is."""
        redis = RedisProcess(self)
        gateway = self.gateway().start()
        settings = {
            **COUNT,
            "count": 2,
            "policy": "redis",
            "redis_host": "127.0.0.1",
            "redis_port": redis.port,
            "redis_timeout": 30000,
        }
        self.route(gateway, self.raw_upstream(OK).port, {"limit-count": settings})
        for _ in range(5):
            self.assertEqual(self.explain(gateway, "/r")["plugins"][0]["detail"], "all 2 left")
        self.assertEqual(redis.command("dbsize"), "0")
        self.assertEqual([gateway.get("/r").status for _ in range(3)], [200, 200, 429])
        self.assertEqual(self.decided(gateway, "/r"), (429, "plugin:limit-count", "limit_count_exceeded"))
        redis.kill()
        wait_for(lambda: self.decided(gateway, "/r")[0] == 500, "Redis to be missed")
        self.assertEqual(self.decided(gateway, "/r"), (500, "plugin:limit-count", "limit_unavailable"))
