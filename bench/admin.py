"""``python -m bench.admin``: what the Admin API costs with a few resources and with many.

A gateway is filled with services, routes, and consumers with a credential each, ten writes at a time.
Before and after that the same calls are timed, one at a time: a PUT of a route and the time until it is
served, lists, an explanation. Loopback only; one process, one core.
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
from bench.processes import free_port, memory_mb

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


def timed(work: Callable[[], object], times: int) -> float:
    """The median of several runs, in milliseconds."""
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken) * 1000


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


def figures(client: Client, port: int, times: int) -> dict[str, float]:
    """The calls that are compared."""
    admin = "/apisix/admin"
    numbers = iter(range(1_000_000))

    def put() -> None:
        body = {"name": "p", "service_id": "s0", "paths": [f"/p/{next(numbers)}"]}
        client(("PUT", f"{admin}/routes/one", body))

    return {
        "PUT of a route": timed(put, times),
        "PUT of a route, and a request to it": timed(lambda: served(client, port, next(numbers)), times),
        "GET of a route": timed(lambda: client(("GET", f"{admin}/routes/r1", None)), times),
        "list of all routes": timed(lambda: client(("GET", f"{admin}/routes", None)), max(3, times // 10)),
        "list of one service's routes": timed(
            lambda: client(("GET", f"{admin}/routes?service_id=s1", None)), times
        ),
        "page of 50, searched": timed(
            lambda: client(("GET", f"{admin}/routes?search=r77&page=1&page_size=50", None)),
            max(3, times // 5),
        ),
        "explain": timed(lambda: client(("GET", "/api/explain?url=/a/3/x", None)), times),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.admin", description=__doc__)
    parser.add_argument("--routes", type=int, default=10_000)
    parser.add_argument("--services", type=int, default=1_000)
    parser.add_argument("--consumers", type=int, default=5_000)
    parser.add_argument("--times", type=int, default=50, help="how often each call is made")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        gateway = servers.gateway(directory, 1, free_port(), routes=0, environ={})
        try:
            ports = json.loads((directory / "gateway" / "ports.json").read_text())
            client = Client(ports["admin"])
            for group in resources(10, 2, 5):
                for call in group:
                    client(call)
            few = figures(client, ports["proxy"], given.times)
            empty_mb = memory_mb(gateway.pid)
            loads = []
            with ThreadPoolExecutor(10) as pool:
                for group in resources(given.routes, given.services, given.consumers):
                    started = time.perf_counter()
                    list(pool.map(client, group))
                    loads.append((len(group), time.perf_counter() - started))
            many = figures(client, ports["proxy"], given.times)
            full_mb = memory_mb(gateway.pid)
        finally:
            gateway.stop()
    print(f"| call | with 10 routes, ms | with {given.routes:,}, ms | ratio |\n| --- | ---: | ---: | ---: |")
    for name, before in few.items():
        print(f"| {name} | {before:.1f} | {many[name]:.1f} | {many[name] / before:.1f} |")
    for what, (count, seconds) in zip(("services", "routes", "consumers", "credentials"), loads, strict=True):
        print(f"{count:,} {what}: {seconds:.1f} s, {count / seconds:.0f} writes/s")
    print(f"memory: {empty_mb:.0f} MB, then {full_mb:.0f} MB")


if __name__ == "__main__":
    main()
