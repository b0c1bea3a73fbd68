"""``python -m bench.admin``: what the Admin API costs with a few resources and with many.

One gateway gets a handful of resources; another is filled with services, routes, and consumers with a
credential each, ten writes at a time. Then the same calls are timed on both, in turns: a PUT of a route, and
the time until it is served, lists, an explanation. CPU time is told: it holds on a busy machine. Loopback
only; one process and one core each.
"""

from __future__ import annotations

import argparse
import http.client
import json
import ssl
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import local
from typing import Any

from bench import servers
from bench.processes import Server, cpu_seconds, free_port, memory_mb

Call = tuple[str, str, Any]


class Client:
    """Kept connections to one Admin API, one a thread."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._context = ssl._create_unverified_context()
        self._local = local()

    def __call__(self, call: Call) -> Any:
        method, path, body = call
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = http.client.HTTPSConnection(
                "127.0.0.1", self._port, context=self._context
            )
        headers = {"X-API-KEY": servers.TOKEN, "Content-Type": "application/json"}
        content = None if body is None else json.dumps(body)
        mark = "&" if "?" in path else "?"
        connection.request(method, f"{path}{mark}gateway_group_id=default", content, headers)
        response = connection.getresponse()
        raw = response.read()
        if response.status != 200:
            raise RuntimeError(f"{method} {path}: {response.status} {raw[:300]!r}")
        return json.loads(raw)


def resources(routes: int, services: int, consumers: int) -> Iterator[Sequence[Call]]:
    """The writes, in groups whose members may go out together."""
    node = {"host": "127.0.0.1", "port": 9, "weight": 1}
    admin = "/apisix/admin"
    yield [
        ("PUT", f"{admin}/services/s{n}", {"name": f"s{n}", "upstream": {"nodes": [node]}})
        for n in range(services)
    ]
    yield [
        (
            "PUT",
            f"{admin}/routes/r{n}",
            {"name": f"r{n}", "service_id": f"s{n % services}", "paths": [f"/a/{n}/*"]},
        )
        for n in range(routes)
    ]
    yield [("PUT", f"{admin}/consumers/c{n}", {"username": f"c{n}"}) for n in range(consumers)]
    yield [
        (
            "PUT",
            f"{admin}/consumers/c{n}/credentials/k",
            {"name": "k", "plugins": {"key-auth": {"key": f"key-{n}"}}},
        )
        for n in range(consumers)
    ]


def served(client: Client, port: int, number: int) -> None:
    """Put a route and ask for it: it must be there at once."""
    path = f"/fresh/{number}"
    client(("PUT", "/apisix/admin/routes/fresh", {"name": "f", "service_id": "s0", "paths": [path]}))
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path)
    status = connection.getresponse().status
    connection.close()
    if status == 404:
        raise RuntimeError("an answered write was not served")


def calls(client: Client, port: int) -> dict[str, Callable[[], object]]:
    """The calls that are compared."""
    admin = "/apisix/admin"
    numbers = iter(range(1_000_000))

    def put() -> None:
        body = {"name": "p", "service_id": "s0", "paths": [f"/p/{next(numbers)}"]}
        client(("PUT", f"{admin}/routes/one", body))

    def get(path: str) -> Callable[[], object]:
        return lambda: client(("GET", path, None))

    return {
        "PUT of a route": put,
        "PUT of a route, and a request to it": lambda: served(client, port, next(numbers)),
        "GET of a route": get(f"{admin}/routes/r1"),
        "list of all routes": get(f"{admin}/routes"),
        "list of one service's routes": get(f"{admin}/routes?service_id=s1"),
        "page of 50, searched": get(f"{admin}/routes?search=r77&page=1&page_size=50"),
        "explain": get("/api/explain?url=/a/3/x"),
    }


def load(client: Client, pid: int, groups: Iterator[Sequence[Call]]) -> list[tuple[int, float, float]]:
    """Make the writes, ten at a time. Returns of each group: how many, CPU seconds, seconds."""
    taken = []
    with ThreadPoolExecutor(10) as pool:
        for group in groups:
            before, begun = cpu_seconds(pid), time.perf_counter()
            list(pool.map(client, group))
            taken.append((len(group), cpu_seconds(pid) - before, time.perf_counter() - begun))
    return taken


def started(directory: Path) -> tuple[Server, Client, int]:
    """A gateway, a client of its Admin API, and the port of its data plane."""
    directory.mkdir()
    gateway = servers.gateway(directory, 1, free_port(), routes=0, environ={})
    ports = json.loads((directory / "gateway" / "ports.json").read_text())
    return gateway, Client(ports["admin"]), ports["proxy"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.admin", description=__doc__)
    parser.add_argument("--routes", type=int, default=10_000)
    parser.add_argument("--services", type=int, default=1_000)
    parser.add_argument("--consumers", type=int, default=5_000)
    parser.add_argument("--times", type=int, default=50, help="how often each call is made")
    given = parser.parse_args()
    running: list[Server] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        try:
            small, few, few_port = started(Path(name) / "few")
            running.append(small)
            large, many, many_port = started(Path(name) / "many")
            running.append(large)
            load(few, small.pid, resources(10, 2, 5))
            loads = load(many, large.pid, resources(given.routes, given.services, given.consumers))
            pairs = zip(calls(few, few_port).items(), calls(many, many_port).values(), strict=True)
            rows: list[tuple[str, float, float]] = []
            for (what, one), other in pairs:
                taken: tuple[list[float], list[float]] = ([], [])
                # In turns: the machine's noise meets both alike.
                for _ in range(given.times):
                    for work, gateway, into in zip((one, other), running, taken, strict=True):
                        before = cpu_seconds(gateway.pid)
                        work()
                        into.append((cpu_seconds(gateway.pid) - before) * 1000)
                rows.append((what, statistics.median(taken[0]), statistics.median(taken[1])))
            memory = [memory_mb(gateway.pid) for gateway in running]
        finally:
            for gateway in running:
                gateway.stop()
    print(f"| call | with 10 routes, CPU ms | with {given.routes:,}, CPU ms | ratio |")
    print("| --- | ---: | ---: | ---: |")
    for call, few_ms, many_ms in rows:
        print(f"| {call} | {few_ms:.1f} | {many_ms:.1f} | {many_ms / few_ms:.1f} |")
    names = ("services", "routes", "consumers", "credentials")
    for what, (count, cpu_s, clock_s) in zip(names, loads, strict=True):
        each = cpu_s / count * 1000
        rate = count / clock_s
        print(f"{count:,} {what}: {each:.1f} CPU ms a write; {clock_s:.1f} s, {rate:.0f} writes/s")
    print(f"memory: {memory[0]:.0f} MB and {memory[1]:.0f} MB")


if __name__ == "__main__":
    main()
