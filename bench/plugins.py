"""``python -m bench.plugins``: what plugins cost, as a ratio to the same route without them.

One gateway, interleaved rounds: the bare route is measured before and after each route with plugins, and CPU
time per request of the gateway's process tree is compared with the mean of the two, so that the drift of a
machine that does other work meets both alike. The median over the rounds is printed. Needs wrk and nginx.
Loopback only, bounded in time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench import servers
from bench.processes import Server
from bench.workloads import Result, Workload, run

KEY = "bench-api-key"
COUNT: dict[str, Any] = {"count": 1_000_000_000, "time_window": 3600, "policy": "local"}
BARE = "bare"

Pair = tuple[Result, float]
"""A run, and what the bare route took beside it: CPU microseconds per request."""


def shapes(redis_port: int) -> dict[str, tuple[str, dict[str, Any]]]:
    """Name → what it is, and the plugins of its route."""
    found: dict[str, tuple[str, dict[str, Any]]] = {
        BARE: ("no plugin", {}),
        "key": ("key-auth", {"key-auth": {}}),
        "count": ("limit-count", {"limit-count": COUNT}),
        "both": (
            "key-auth and limit-count",
            {"key-auth": {}, "limit-count": {**COUNT, "key": "consumer_name"}},
        ),
        "req": (
            "limit-req",
            {
                "limit-req": {
                    "rate": 1e9,
                    "burst": 1e9,
                    "key": "remote_addr",
                    "policy": "local",
                    "nodelay": True,
                }
            },
        ),
        "conn": (
            "limit-conn",
            {
                "limit-conn": {
                    "conn": 10000,
                    "burst": 0,
                    "default_conn_delay": 0.1,
                    "key": "remote_addr",
                    "policy": "local",
                }
            },
        ),
        "split": ("traffic-split", {"traffic-split": {"rules": [{"weighted_upstreams": [{"weight": 1}]}]}}),
        "breaker": ("api-breaker", {"api-breaker": {"break_response_code": 502}}),
    }
    if redis_port:
        there = {"policy": "redis", "redis_host": "127.0.0.1", "redis_port": redis_port}
        found["redis"] = ("limit-count in Redis", {"limit-count": {**COUNT, **there}})
    return found


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.plugins", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=int, default=1, help="per run")
    parser.add_argument("--routes", type=int, default=200, help="routes besides the measured ones")
    parser.add_argument("--only", default="", help="names, such as key,count,both")
    parser.add_argument("--redis", type=int, default=0, help="port of a Redis on loopback")
    parser.add_argument("--set", action="append", default=[], metavar="GATEWAY_X_Y=VALUE", help="a setting")
    given = parser.parse_args()
    if given.rounds * given.seconds > 600:
        parser.error("at most 600 seconds per plugin")
    return given


def main() -> int:
    """Measure and print. Returns 0, 1 if anything was answered wrongly, 2 if a tool is missing."""
    given = arguments()
    missing = [tool for tool in ("wrk", "nginx", "taskset") if not servers.installed(tool)]
    if missing:
        print(f"needed, and not installed: {', '.join(missing)}", file=sys.stderr)
        return 2
    only = [BARE, *filter(None, given.only.split(","))]
    chosen = {name: shape for name, shape in shapes(given.redis).items() if len(only) == 1 or name in only}
    environ = dict(pair.split("=", 1) for pair in given.set)
    started: list[Server] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        try:
            started.append(servers.upstream(directory, core=0).start())
            gateway = servers.gateway(directory, 1, started[0].port, routes=given.routes, environ=environ)
            started.append(gateway)
            add_routes(directory, {name: plugins for name, (_, plugins) in chosen.items()})
            results = measure(list(chosen), gateway, given.rounds, given.seconds, directory)
        finally:
            for server in reversed(started):
                server.stop()
    print(table(chosen, results))
    return 1 if any(result.errors for runs in results.values() for result, _ in runs) else 0


def add_routes(directory: Path, routes: dict[str, dict[str, Any]]) -> None:
    """A route for each shape, and a consumer with a key."""
    port = json.loads((directory / "gateway" / "ports.json").read_text())["admin"]
    with servers.Admin(port) as admin:
        admin.put("consumers/caller", {"username": "caller"})
        credential = {"name": "caller", "plugins": {"key-auth": {"key": KEY}}}
        admin.put("consumers/caller/credentials/caller", credential)
        for name, plugins in routes.items():
            route = {"name": name, "service_id": "bench", "paths": [f"/shape/{name}"], "plugins": plugins}
            admin.put(f"routes/shape-{name}", route)


def measure(
    names: list[str], gateway: Server, rounds: int, seconds: int, directory: Path
) -> dict[str, list[Pair]]:
    """Every shape in every round between two runs of the bare route, the order turned round each time."""
    header = f'wrk.headers["apikey"] = "{KEY}"\n'
    loads = {name: Workload(f"shape-{name}", name, f"/shape/{name}", header) for name in names}

    def one(name: str, seconds: int) -> Result:
        return run(loads[name], gateway, seconds, core=0, directory=directory)

    for name in names:
        one(name, 1)
    results: dict[str, list[Pair]] = {name: [] for name in names}
    before = one(BARE, seconds)
    for number in range(rounds):
        for name in names if number % 2 == 0 else reversed(names):
            if name == BARE:
                continue
            mine = one(name, seconds)
            after = one(BARE, seconds)
            results[name].append((mine, (before.cpu_us + after.cpu_us) / 2))
            results[BARE].append((after, after.cpu_us))
            before = after
    return results


def table(chosen: dict[str, tuple[str, Any]], results: dict[str, list[Pair]]) -> str:
    """
    A Markdown table: medians; the median of what each round says of the overhead; and, for machines that do
    other work too, the overhead of the least disturbed run over the least disturbed one of the bare route.
    """
    lines = [
        "| route with | CPU µs/request | least | requests/s | errors | over the bare route | by the least |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    least_bare = min(run.cpu_us for run, _ in results[BARE])
    for name, (what, _) in chosen.items():
        runs = [mine for mine, _ in results[name]]
        least = min(run.cpu_us for run in runs)
        over = statistics.median(
            100 * (mine.cpu_us / max(0.001, bare_us) - 1) for mine, bare_us in results[name]
        )
        shares = ("", "") if name == BARE else (f"{over:.1f} %", f"{100 * (least / least_bare - 1):.1f} %")
        lines.append(
            f"| {what} | {statistics.median(r.cpu_us for r in runs):.1f} | {least:.1f} "
            f"| {statistics.median(r.rate for r in runs):.0f} | {sum(r.errors for r in runs)} "
            f"| {shares[0]} | {shares[1]} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
