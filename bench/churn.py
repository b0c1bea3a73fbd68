"""Configuration changes under load: fifty a second, and no request may fail.

Every other change moves a route that is being asked for to another service and back, in the middle of the
traffic; the others guard a path, and are followed by a request without credentials that must see it.

With ``--requests`` the traffic comes at a fixed rate, each request counted from when it was due, first
without changes and then with them: what changes cost those who only want to be served.
"""

from __future__ import annotations

import argparse
import http.client
import json
import subprocess
import sys
import time
from pathlib import Path

from bench import servers
from bench.processes import Server
from bench.side_by_side import LOAD_CORE, SERVER_CORE
from bench.workloads import read


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--rate", type=int, default=50, help="changes a second")
    parser.add_argument("--routes", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--requests", type=int, default=0, help="requests a second; 0: what wrk can do")


def main(given: argparse.Namespace, directory: Path) -> tuple[str, bool]:
    """Load a gateway and change its configuration meanwhile."""
    started: list[Server] = []
    try:
        upstream = servers.upstream(directory, core=LOAD_CORE)
        started.append(upstream.start())
        gateway = servers.gateway(
            directory,
            SERVER_CORE,
            upstream.port,
            routes=given.routes,
            environ={"GATEWAY_PROXY_WORKERS": str(given.workers)},
        )
        started.append(gateway)
        with servers.Admin(servers.admin_port(directory)) as admin:
            admin.put("services/other", {"name": "other", "upstream": {"nodes": [_node(upstream.port)]}})
            if given.requests:
                return _at_a_rate(given, admin, gateway.port, directory)
            report = directory / "wrk.txt"
            with report.open("wb") as out:
                load = subprocess.Popen(
                    [
                        *("taskset", "-c", str(LOAD_CORE), "wrk", "-t1", "-c32", "--latency"),
                        *(f"-d{given.seconds}s", f"http://127.0.0.1:{gateway.port}/plain"),
                    ],
                    stdout=out,
                )
                done, late, stale = _change(given, admin, gateway.port, load)
                load.wait()
    finally:
        for server in reversed(started):
            server.stop()
    result = read(report.read_text(), 0.0)
    fine = not result.errors and not stale
    return (
        f"{done} changes in {given.seconds} s ({late} of them late) while {result.requests} requests were "
        f"served ({result.rate:.0f}/s, p99 {result.p99_ms:.1f} ms): {result.errors} failed requests, "
        f"{stale} stale answers",
        fine,
    )


def _at_a_rate(
    given: argparse.Namespace, admin: servers.Admin, port: int, directory: Path
) -> tuple[str, bool]:
    lines = [
        f"{given.requests} requests/s and {given.rate} changes/s, {given.routes} routes, "
        f"workers = {given.workers}, {given.seconds} s each",
        "",
        "| | p50 ms | p99 ms | p99.9 ms | most ms | failed | changes | stale |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    fine = True
    for name, changing in (("(warming up)", False), ("without changes", False), ("with changes", True)):
        report = directory / "latency.json"
        with report.open("wb") as out:
            load = subprocess.Popen(
                [
                    *("taskset", "-c", str(LOAD_CORE), sys.executable, "-m", "bench.latency"),
                    *(str(port), str(given.requests), str(given.seconds)),
                ],
                cwd=servers.ROOT,
                stdout=out,
            )
            done, _, stale = _change(given, admin, port, load) if changing else (0, 0, 0)
            load.wait()
        told = json.loads(report.read_text())
        cells = " | ".join(f"{ms:.1f}" for ms in told["parts_ms"])
        lines.append(f"| {name} | {cells} | {told['failed']} | {done} | {stale} |")
        fine = fine and not told["failed"] and not stale
    return "\n".join(line for line in lines if "warming" not in line), fine


def _node(port: int) -> dict[str, object]:
    return {"host": "127.0.0.1", "port": port, "weight": 1}


def _change(
    given: argparse.Namespace, admin: servers.Admin, port: int, load: subprocess.Popen[bytes]
) -> tuple[int, int, int]:
    """Change until the load ends. Returns changes, late ones, and stale answers."""
    client = http.client.HTTPConnection("127.0.0.1", port)
    done = late = stale = 0
    due = time.monotonic()
    while load.poll() is None:
        wait = due - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        else:
            late += wait < -1 / given.rate
        due += 2 / given.rate
        service = ("bench", "other")[done % 2]
        admin.put("routes/open", {"name": "open", "service_id": service, "paths": ["/*"]})
        # Who asks for it before the change would be let in.
        path = f"/fresh/{done}"
        guarded = {"name": "fresh", "service_id": service, "paths": [path], "plugins": {"jwt-auth": {}}}
        admin.put("routes/fresh", guarded)
        client.request("GET", path)
        answer = client.getresponse()
        answer.read()
        stale += answer.status != 401
        done += 2
    client.close()
    return done, late, stale
