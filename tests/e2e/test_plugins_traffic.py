"""Plugins that limit and direct traffic, in real gateways, with workers, with a real Redis."""

from __future__ import annotations

import http.client
import json
import os
import select
import selectors
import signal
import socket
import threading
import time
from collections import Counter
from typing import Any

from tests.counters.redis_server import RedisProcess
from tests.e2e.gateway_process import LIMIT_S, EndToEndCase, GatewayProcess, wait_for
from tests.e2e.raw_upstream import OK, Behaviour, Peer, RawUpstream, answering
from tests.e2e.test_workers import WorkersCase

COUNT: dict[str, Any] = {"count": 100, "time_window": 600, "rejected_code": 429, "policy": "local"}
HOST = {"Host": "a.test"}


def storm(port: int, path: str, count: int) -> Counter[int]:
    """Send *count* requests at the same time, each on a connection of its own, and count the statuses."""
    request = f"GET {path} HTTP/1.1\r\nHost: {HOST['Host']}\r\nConnection: close\r\n\r\n".encode()
    selector = selectors.DefaultSelector()
    found: Counter[int] = Counter()
    sockets = [socket.create_connection(("127.0.0.1", port), LIMIT_S) for _ in range(count)]
    try:
        for one in sockets:
            one.sendall(request)
        for one in sockets:
            one.setblocking(False)
            selector.register(one, selectors.EVENT_READ, bytearray())
        deadline = time.monotonic() + LIMIT_S
        while selector.get_map():
            for key, _ in selector.select(max(0.0, deadline - time.monotonic())):
                data = key.fileobj.recv(65536)  # type: ignore[union-attr]  # sockets alone
                key.data.extend(data)
                if not data:
                    selector.unregister(key.fileobj)
                    found[int(key.data[9:12] or 0)] += 1
            assert time.monotonic() < deadline, found
    finally:
        selector.close()
        for one in sockets:
            one.close()
    return found


def held(
    release: threading.Event, answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
) -> Behaviour:
    """Answer when *release* is set."""

    def behave(upstream: RawUpstream, peer: Peer) -> None:
        while (head := peer.head()) is not None:
            upstream.heads.append(head)
            release.wait(LIMIT_S)
            peer.send(answer)

    return behave


class TrafficCase(WorkersCase):
    """A gateway with two workers unless a test says otherwise."""

    def route(self, gateway: GatewayProcess, port: int, plugins: Any, name: str = "r") -> None:
        """``/<name>*`` goes to *port*, through these plugins."""
        service = {"name": name, "upstream": {"nodes": [{"host": "127.0.0.1", "port": port, "weight": 1}]}}
        route = {"name": name, "service_id": name, "paths": [f"/{name}*"], "plugins": plugins}
        for path, body in ((f"services/{name}", service), (f"routes/{name}", route)):
            status, answer = gateway.admin("PUT", f"/apisix/admin/{path}", body)
            self.assertEqual(status, 200, answer)

    def explain(self, gateway: GatewayProcess, url: str, **query: Any) -> dict[str, Any]:
        status, answer = gateway.admin("POST", "/api/explain", {"url": url, **query})
        self.assertEqual(status, 200, answer)
        value: dict[str, Any] = answer["value"]
        return value

    def decided(self, gateway: GatewayProcess, url: str) -> tuple[Any, ...]:
        """Status, who decides, and the reason code."""
        outcome = self.explain(gateway, url)["outcome"]
        return outcome["status"], outcome["decided_by"], outcome["reason"]


class LocalTests(TrafficCase):
    """Counters of one machine."""

    def test_exact(self) -> None:
        """Of 1,000 requests at the same time exactly 100 get through two workers; kill -9 changes nothing."""
        gateway = self.gateway().start()
        port = self.raw_upstream(OK).port
        self.route(gateway, port, {"limit-count": COUNT})
        proxy = gateway.ports["proxy"]
        self.assertEqual(storm(proxy, "/r", 1000), {200: 100, 429: 900})
        for pid in self.workers(gateway):
            os.kill(pid, signal.SIGKILL)
        self.workers(gateway)
        self.assertEqual(storm(proxy, "/r", 50), {429: 50})
        self.route(gateway, port, {"limit-count": {**COUNT, "window_type": "sliding"}}, "sliding")
        self.assertEqual(storm(proxy, "/sliding", 500), {200: 100, 429: 400})

    def test_one_process(self) -> None:
        """The same in one process."""
        gateway = self.gateway(environ={"GATEWAY_PROXY_WORKERS": "0"}).start()
        self.route(gateway, self.raw_upstream(OK).port, {"limit-count": COUNT})
        self.assertEqual(storm(gateway.ports["proxy"], "/r", 1000), {200: 100, 429: 900})

    def test_answers(self) -> None:
        """What clients are told: fields in each answer, and the words of the refusal."""
        gateway = self.gateway().start()
        limit = {**COUNT, "count": 1, "rejected_msg": "slow down"}
        self.route(gateway, self.raw_upstream(OK).port, {"limit-count": limit})
        first, second = gateway.get("/r"), gateway.get("/r")
        names = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")
        self.assertEqual([first.headers[name] for name in names], ["1", "0", "600"])
        self.assertEqual((second.status, second.body), (429, b'{"error_msg":"slow down"}\n'))
        self.assertEqual([second.headers[name] for name in names[:2]], ["1", "0"])
        self.assertLessEqual(float(second.headers["x-ratelimit-reset"]), 600)

    def test_fields(self) -> None:
        """The fields stand once in each answer, whoever else writes, removes or reads some, however often."""
        gateway = self.gateway(environ={"GATEWAY_PROXY_WORKERS": "0"}).start()
        own = b"HTTP/1.1 200 OK\r\nX-RateLimit-Limit: 7\r\nX-A: 1\r\nContent-Length: 2\r\n\r\nok"
        plain, limiting = self.raw_upstream(OK).port, self.raw_upstream(answering(own)).port
        limit = {"limit-count": COUNT}
        second = {"count": 50, "time_window": 60, "key": "$remote_addr second"}
        rules = {**COUNT, "rules": [{"count": 100, "time_window": 600, "key": "$remote_addr"}, second]}
        del rules["count"], rules["time_window"]
        changes = {"remove": ["X-RateLimit-Limit"], "set": {"X-Left": "$sent_http_x_ratelimit_remaining"}}
        removed = {**limit, "response-rewrite": {"headers": changes}}
        shown = {"x-ratelimit-limit": "100"}
        cases: dict[str, tuple[int, dict[str, Any], dict[str, str | None]]] = {
            "alone": (plain, limit, shown),
            "upstream": (limiting, limit, {**shown, "x-a": "1"}),
            "removed": (plain, removed, {"x-ratelimit-limit": None, "x-a": None}),
            "id": (plain, {**limit, "request-id": {}}, shown),
            "rules": (
                plain,
                {"limit-count": rules},
                {"x-1-ratelimit-limit": "100", "x-ratelimit-limit": None},
            ),
            "log": (plain, {**limit, "file-logger": {"path": "some.log"}}, shown),
        }
        for name, (port, plugins, _) in cases.items():
            self.route(gateway, port, plugins, name)
        connection = http.client.HTTPConnection("127.0.0.1", gateway.ports["proxy"], timeout=LIMIT_S)
        self.addCleanup(connection.close)
        for number in range(5):
            for name, (_, _, wanted) in cases.items():
                connection.request("GET", f"/{name}")
                response = connection.getresponse()
                response.read()
                pairs = [(field.lower(), value) for field, value in response.getheaders()]
                values = dict(pairs)
                self.assertEqual(len(values), len(pairs), pairs)
                self.assertEqual({field: values.get(field) for field in wanted}, wanted, (name, number))
                if name == "rules":
                    left = (values["x-1-ratelimit-remaining"], values["x-2-ratelimit-remaining"])
                    self.assertEqual(left, (str(99 - number), str(49 - number)))
                else:
                    self.assertEqual(values["x-ratelimit-remaining"], str(99 - number))
                if name == "removed":
                    self.assertEqual(values["x-left"], str(99 - number))
        connection.request("GET", "/log")
        self.assertEqual(connection.getresponse().status, 200)

        def logged() -> list[str]:
            log = gateway.directory / "some.log"
            lines = log.read_text().splitlines() if log.exists() else []
            return lines if len(lines) > 5 else []

        lines = [json.loads(line) for line in wait_for(logged, "six lines")]
        left = [line["response"]["headers"]["x-ratelimit-remaining"] for line in lines]
        self.assertEqual(left, [str(99 - number) for number in range(6)])

    def test_together(self) -> None:
        """No more than conn requests are in both workers; who leaves makes room, and so does who dies."""
        release = threading.Event()
        self.addCleanup(release.set)
        upstream = self.raw_upstream(held(release))
        gateway = self.gateway().start()
        self.serve(gateway, self.raw_upstream(OK).port)
        settings = {"conn": 4, "burst": 0, "default_conn_delay": 0.1, "key": "remote_addr", "policy": "local"}
        self.route(gateway, upstream.port, {"limit-conn": {**settings, "rejected_code": 429}}, "held")
        victim, other = self.workers(gateway)

        def enter(pid: int) -> http.client.HTTPConnection | None:
            """A request through this worker that is in; None if it was refused."""
            connection = self.connection_to(gateway, pid)
            before = len(upstream.heads)
            connection.request("GET", "/held")

            def decided() -> str:
                refused = select.select([connection.sock], [], [], 0)[0]
                return "in" if len(upstream.heads) > before else "out" if refused else ""

            if wait_for(decided, "an answer") == "in":
                return connection
            self.assertEqual(connection.getresponse().status, 429)
            return None

        inside = [enter(pid) for pid in (victim, victim, other, other)]
        self.assertNotIn(None, inside)
        self.assertEqual([enter(pid) for pid in (victim, other)], [None, None])
        assert inside[2] is not None
        inside[2].close()
        inside.append(wait_for(lambda: enter(other), "room where a client left"))
        self.assertIsNone(enter(other))
        os.kill(victim, signal.SIGKILL)
        for _ in range(2):
            inside.append(wait_for(lambda: enter(other), "room where a worker died"))
        self.assertIsNone(enter(other))


class RedisTests(TrafficCase):
    """Counters in a real Redis."""

    def settings(self, redis: RedisProcess, **more: Any) -> dict[str, Any]:
        return {**COUNT, "policy": "redis", "redis_host": "127.0.0.1", "redis_port": redis.port, **more}

    def test_exact(self) -> None:
        """Of 1,000 requests at the same time exactly 100 get through two gateways that share a Redis."""
        redis = RedisProcess(self)
        gateways = [self.gateway().start() for _ in range(2)]
        for gateway in gateways:
            settings = self.settings(redis, redis_timeout=30000)
            self.route(gateway, self.raw_upstream(OK).port, {"limit-count": settings})
        found: Counter[int] = Counter()

        def send(gateway: GatewayProcess) -> None:
            found.update(storm(gateway.ports["proxy"], "/r", 500))

        threads = [threading.Thread(target=send, args=(gateway,)) for gateway in gateways]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LIMIT_S)
        self.assertEqual(found, {200: 100, 429: 900})

    def test_killed(self) -> None:
        """A Redis that dies under load: 500, or through with degradation; back, it counts again."""
        redis = RedisProcess(self)
        gateway = self.gateway(environ={"GATEWAY_PLUGINS_REDIS_RETRY_S": "0.2"}).start()
        port = self.raw_upstream(OK).port
        settings = self.settings(redis, count=1000000, redis_timeout=30000)
        self.route(gateway, port, {"limit-count": settings}, "strict")
        self.route(gateway, port, {"limit-count": {**settings, "allow_degradation": True}}, "lenient")
        self.assertEqual(gateway.get("/strict").status, 200)
        self.assertEqual(gateway.get("/lenient").headers["x-ratelimit-remaining"], "999999")
        enough = threading.Event()
        seen: dict[str, Counter[int]] = {"/strict": Counter(), "/lenient": Counter()}

        def load(path: str) -> None:
            while not enough.is_set():
                seen[path][gateway.get(path).status] += 1

        threads = [threading.Thread(target=load, args=(path,)) for path in seen for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            wait_for(lambda: min(seen[path][200] for path in seen) > 20, "load")
            redis.kill()
            wait_for(lambda: seen["/strict"][500] > 20, "failures")
            redis.start()
            counted = seen["/strict"][200]
            wait_for(lambda: seen["/strict"][200] > counted + 50, "Redis to be used again")
        finally:
            enough.set()
            for thread in threads:
                thread.join(LIMIT_S)
        self.assertEqual(set(seen["/strict"]), {200, 500})
        self.assertEqual(set(seen["/lenient"]), {200})
        # Each worker finds out for itself, by its own retry, that Redis is back.
        wait_for(lambda: {gateway.get("/strict").status for _ in range(20)} == {200}, "all workers to use it")
        self.assertIn("is down", gateway.logs())
        self.assertNotIn("Traceback", gateway.logs())


class SplitTests(TrafficCase):
    """traffic-split and proxy-mirror."""

    def test_split(self) -> None:
        """Shares by weight, an upstream by its id, one in the settings, and an id that leads nowhere."""
        bodies = {
            name: answering(f"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{name}".encode()) for name in "abc"
        }
        ports = {name: self.raw_upstream(behaviour).port for name, behaviour in bodies.items()}
        gateway = self.gateway(environ={"GATEWAY_PROXY_WORKERS": "0"}).start()

        def nodes(name: str) -> dict[str, Any]:
            return {"nodes": [{"host": "127.0.0.1", "port": ports[name], "weight": 1}]}

        shares = [{"upstream_id": "extra", "weight": 3}, {"upstream": nodes("c"), "weight": 2}, {"weight": 1}]
        rules = [
            {
                "match": [{"vars": [["arg_x", "==", "lost"]]}],
                "weighted_upstreams": [{"upstream_id": "nothing"}],
            },
            {"weighted_upstreams": shares},
        ]
        self.route(gateway, ports["a"], {"traffic-split": {"rules": rules}})
        extra = {"name": "extra", **nodes("b")}
        status, answer = gateway.admin("PUT", "/apisix/admin/services/r/upstreams/extra", extra)
        self.assertEqual(status, 200, answer)
        found = Counter(gateway.get("/r").body for _ in range(12))
        self.assertEqual(found, {b"b": 6, b"c": 4, b"a": 2})
        lost = gateway.get("/r?x=lost")
        self.assertEqual(
            (lost.status, lost.body), (500, b"failed to fetch upstream info by upstream id: nothing")
        )

    def test_mirror(self) -> None:
        """Every request is copied, content included; a mirror that hangs or is gone changes no answer."""
        contents: list[bytes] = []

        def keeps(upstream: RawUpstream, peer: Peer) -> None:
            while (head := peer.head()) is not None:
                contents.append(b"%d" % peer.content(head))
                upstream.heads.append(head)
                peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        release = threading.Event()
        self.addCleanup(release.set)
        mirror, hanging = RawUpstream(keeps), self.raw_upstream(held(release))
        gateway = self.gateway(environ={"GATEWAY_PROXY_WORKERS": "0"}).start()
        upstream = self.raw_upstream(OK)
        for name, port in (("r", mirror.port), ("hangs", hanging.port)):
            plugins = {
                "proxy-mirror": {
                    "host": f"http://127.0.0.1:{port}",
                    "path": "/m",
                    "path_concat_mode": "prefix",
                }
            }
            self.route(gateway, upstream.port, plugins, name)
        content = b"x" * 200_000
        self.assertEqual(gateway.get("/r/a?b=c", method="POST", body=content).body, b"ok")
        wait_for(lambda: mirror.heads, "the copy")
        self.assertTrue(mirror.heads[0].startswith(b"POST /m/r/a?b=c HTTP/1.1\r\n"), mirror.heads)
        self.assertEqual(contents, [b"200000"])
        for _ in range(5):
            self.assertEqual(gateway.get("/hangs").body, b"ok")
        mirror.close()
        for _ in range(5):
            self.assertEqual(gateway.get("/r").body, b"ok")


class BreakerTests(TrafficCase):
    """api-breaker over two workers."""

    def test_opens(self) -> None:
        """Three bad answers open it in both workers, whichever they came through."""
        bad = answering(b"HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n")
        gateway = self.gateway().start()
        settings = {"break_response_code": 503, "break_response_body": "closed", "max_breaker_sec": 60}
        settings["unhealthy"] = {"http_statuses": [500], "failures": 3}
        self.route(gateway, self.raw_upstream(bad).port, {"api-breaker": settings})
        self.assertEqual([gateway.get("/r", headers=HOST).status for _ in range(3)], [500] * 3)
        # What was answered is counted a moment after that.
        wait_for(lambda: self.decided(gateway, "http://a.test/r")[0] == 503, "the third to be counted")
        self.assertEqual(storm(gateway.ports["proxy"], "/r", 8), {503: 8})
        self.assertEqual(gateway.get("/r/other", headers=HOST).status, 500)


class GroupTests(EndToEndCase):
    def test_group(self) -> None:
        """Two routes of one group share a count; another group member with other settings is refused."""
        gateway = self.gateway().start()
        service = {"name": "s", "upstream": {"nodes": [{"host": "127.0.0.1", "port": 1, "weight": 1}]}}
        self.assertEqual(gateway.admin("PUT", "/apisix/admin/services/s", service)[0], 200)

        def put(name: str, **change: Any) -> tuple[int, Any]:
            limit = {**COUNT, "count": 2, "group": "g", **change}
            route = {
                "name": name,
                "service_id": "s",
                "paths": [f"/{name}"],
                "plugins": {"limit-count": limit},
            }
            return gateway.admin("PUT", f"/apisix/admin/routes/{name}", route)

        self.assertEqual([put("a")[0], put("b")[0]], [200, 200])
        self.assertEqual([gateway.get(path).status for path in ("/a", "/b", "/a")], [502, 502, 429])
        status, answer = put("c", count=3)
        self.assertEqual(status, 400)
        self.assertIn("group conf mismatched", str(answer))
        self.assertEqual(put("c", count=3, group="h")[0], 200)
