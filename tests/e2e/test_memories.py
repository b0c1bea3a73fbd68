"""What a gateway remembers makes it faster and changes nothing: one that forgets all says the same."""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterable
from random import Random
from typing import Any

from gateway.testing import tokens
from tests.e2e.gateway_process import LIMIT_S, EndToEndCase, GatewayProcess
from tests.e2e.raw_upstream import Peer, RawUpstream

SECRET = "a secret that is long enough for HS256"
FORGETFUL = {
    "GATEWAY_PROXY_KNOWN_HEADS": "0",
    "GATEWAY_PROXY_UPSTREAM_KNOWN_HEADS": "0",
    "GATEWAY_PLUGINS_JWT_AUTH_TOKEN_CACHE": "0",
    # Its counters are shared, so none is at hand.
    "GATEWAY_PROXY_WORKERS": "1",
}
ROUTES = 40
TIMES = 3
"""What comes for the second time is remembered, for the third time known."""

ANSWERS = {
    b"plain": b"HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok",
    b"dated": b"HTTP/1.1 200 OK\r\nDate: Fri, 27 Nov 2026 08:00:00 GMT\r\nContent-Length: 2\r\n\r\nok",
    b"limits": b"HTTP/1.1 200 OK\r\nX-RateLimit-Limit: 7\r\nX-A: 1\r\nX-A: 2\r\nContent-Length: 2\r\n\r\nok",
    b"chunks": b"HTTP/1.1 200 OK\r\nX-A: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"none": b"HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n",
    b"large": b"HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 70000\r\n\r\n" + b"x" * 70000,
    b"failed": b"HTTP/1.1 503 Away\r\nX-A: 1\r\nContent-Length: 2\r\n\r\nno",
}
_KIND = re.compile(rb"kind=(\w+)")
_CHANGING = re.compile(r"^(date|x-request-id|x-forwarded-port|x-(\w+-)?ratelimit-reset)$")


def behave(upstream: RawUpstream, peer: Peer) -> None:
    """Answer as the query asks."""
    while (head := peer.head()) is not None:
        peer.content(head)
        upstream.heads.append(head)
        found = _KIND.search(head)
        assert found is not None, head
        answer = ANSWERS[found[1]]
        peer.send(answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if head.startswith(b"HEAD") else answer)


def plugins(random: Random) -> dict[str, Any]:
    """Plugins that read and write fields, some at a time."""
    limit = {
        "count": random.choice([4, 1000]),
        "time_window": 600,
        "policy": "local",
        "key": random.choice(["remote_addr", "http_x_a", "consumer_name"]),
        "show_limit_quota_header": random.random() < 0.8,
        "rejected_code": 429,
    }
    names = ["X-RateLimit-Limit", "X-A", "X-B", "Server", "Content-Type"]
    rewrite: dict[str, Any] = {
        "headers": {
            "set": {random.choice(names): "$sent_http_x_ratelimit_remaining"},
            "remove": random.sample(names, 1),
        }
    }
    if random.random() < 0.2:
        rewrite["status_code"] = 201
    if random.random() < 0.2:
        rewrite["body"] = "new"
    pool: dict[str, Any] = {
        "limit-count": limit,
        "response-rewrite": rewrite,
        "cors": {"expose_headers": "X-A"},
        "request-id": {"include_in_response": random.random() < 0.5},
        "echo": {"headers": {"X-B": "echo"}, "after_body": "."},
        "proxy-rewrite": {"headers": {"set": {"X-Name": "$consumer_name", "X-A": "2"}}},
        "gzip": {"types": "*", "min_length": 1},
        random.choice(["key-auth", "jwt-auth"]): {"hide_credentials": random.random() < 0.5},
    }
    return {name: config for name, config in pool.items() if random.random() < 0.4}


class MemoryTests(EndToEndCase):
    timeout = 3 * LIMIT_S

    def started(self, environ: dict[str, str]) -> tuple[GatewayProcess, RawUpstream]:
        upstream = RawUpstream(behave)
        self.addCleanup(upstream.close)
        gateway = self.gateway(environ=environ).start()
        self.put(gateway, "consumers/jack", {"username": "jack"})
        credentials = {"key-auth": {"key": "jacks-key"}, "jwt-auth": {"key": "jack", "secret": SECRET}}
        for name, config in credentials.items():
            self.put(gateway, f"consumers/jack/credentials/{name}", {"name": name, "plugins": {name: config}})
        service = {"upstream": {"nodes": [{"host": "127.0.0.1", "port": upstream.port, "weight": 1}]}}
        self.put(gateway, "services/s", {"name": "s", **service})
        return gateway, upstream

    def put(self, gateway: GatewayProcess, path: str, body: dict[str, Any]) -> None:
        status, answer = gateway.admin("PUT", f"/apisix/admin/{path}", body)
        self.assertEqual(status, 200, answer)

    def test_same(self) -> None:
        """Whatever plugins a route has, both answer alike, and send alike upstream, each time."""
        random = Random(20261127)
        sides = [self.started(environ) for environ in ({"GATEWAY_PROXY_WORKERS": "0"}, FORGETFUL)]
        connections = []
        for gateway, _ in sides:
            connection = http.client.HTTPConnection("127.0.0.1", gateway.ports["proxy"], timeout=LIMIT_S)
            self.addCleanup(connection.close)
            connections.append(connection)
        token = tokens.mint({"key": "jack"}, SECRET.encode())
        good = {"Host": "a.test", "apikey": "jacks-key", "Authorization": f"Bearer {token}", "X-A": "1"}
        everybody = {"limit-count": {"count": 1000, "time_window": 600, "policy": "local"}}
        for number in range(ROUTES):
            chosen = plugins(random)
            if number == ROUTES // 2:
                for gateway, _ in sides:
                    self.put(gateway, "global_rules/limit-count", {"plugins": everybody})
            for gateway, _ in sides:
                route = {"name": f"r{number}", "service_id": "s", "paths": [f"/{number}"], "plugins": chosen}
                self.put(gateway, f"routes/r{number}", route)
            for method, kind, headers in self.requests(random, good):
                for turn in range(TIMES):
                    found = []
                    for connection, (_, upstream) in zip(connections, sides, strict=True):
                        sent = len(upstream.heads)
                        body = b"content" if method == "POST" else None
                        connection.request(method, f"/{number}?kind={kind}", body, headers)
                        found.append((*self.answer(connection), self.sent(upstream, sent)))
                    self.assertEqual(found[0], found[1], (chosen, method, kind, headers, turn))
        for gateway, _ in sides:
            self.assertEqual(gateway.admin("GET", "/api/status")[1]["value"]["bugs"], 0)

    def requests(self, random: Random, good: dict[str, str]) -> list[tuple[str, str, dict[str, str]]]:
        """Some requests of a client: method, what the upstream is to answer, fields."""
        kinds = random.sample(sorted(kind.decode() for kind in ANSWERS), 3)
        found = [("GET", "plain", good)]
        for kind in kinds:
            method = random.choice(["GET", "GET", "HEAD", "POST"])
            headers = random.choice(
                [good, {"Accept-Encoding": "gzip", **good}, {"Host": "a.test", "Origin": "http://a.test"}]
            )
            found.append((method, kind, headers))
        return found

    def answer(self, connection: http.client.HTTPConnection) -> tuple[Any, ...]:
        """Status, phrase, fields but for the values that are never the same, and content."""
        response = connection.getresponse()
        body = response.read()
        return response.status, response.reason, _steady(response.getheaders()), body

    def sent(self, upstream: RawUpstream, since: int) -> list[tuple[str, list[tuple[str, str]]]]:
        """What the upstream was sent, but for its address and the values that are never the same."""
        heads = []
        for head in upstream.heads[since:]:
            first, *lines = head.decode("latin-1").split("\r\n")
            heads.append((first, _steady(tuple(line.split(": ", 1)) for line in lines)))
        return heads


def _steady(pairs: Iterable[tuple[str, ...]]) -> list[tuple[str, str]]:
    return [(name, "" if _CHANGING.match(name.lower()) else value) for name, value in pairs]
