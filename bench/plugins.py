"""``python -m bench.plugins``: what plugins cost, as a ratio to the same route without them.

One load takes the routes of a gateway in turn, a quarter of a second each, the bare route between any two.
CPU time per request of the gateway's process tree is compared with the mean of the bare route's before and
after, so that the drift of a machine that does other work meets both alike. Where its objects come to lie
in memory matters as well, so the gateway is started several times: the median of all is printed, and that
of each start. A second bare route takes part like those with plugins: what it costs over the first is what
the machine cannot tell apart. Needs wrk and nginx. Loopback only, bounded in time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench import servers
from bench.processes import Server
from bench.slices import Slice, run

KEY = "bench-api-key"
COUNT: dict[str, Any] = {"count": 1_000_000_000, "time_window": 3600, "policy": "local"}
BARE = "bare"
AGAIN = "again"

Pair = tuple[Slice, float]
"""A slice, and what the bare route took beside it: CPU microseconds per request."""


def shapes(redis_port: int) -> dict[str, tuple[str, dict[str, Any]]]:
    """Name → what it is, and the plugins of its route."""
    found: dict[str, tuple[str, dict[str, Any]]] = {
        BARE: ("no plugin", {}),
        AGAIN: ("no plugin, a second route", {}),
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
    parser.add_argument("--starts", type=int, default=5, help="of the gateway")
    parser.add_argument("--seconds", type=int, default=40, help="of the load on each")
    parser.add_argument("--routes", type=int, default=200, help="routes besides the measured ones")
    parser.add_argument("--only", default="", help="names, such as key,count,both")
    parser.add_argument("--redis", type=int, default=0, help="port of a Redis on loopback")
    parser.add_argument("--set", action="append", default=[], metavar="GATEWAY_X_Y=VALUE", help="a setting")
    given = parser.parse_args()
    if given.seconds < 10 or not 0 < given.starts * given.seconds <= 1200:
        parser.error("at least 10 seconds for each start, and 1200 in all")
    return given


def main() -> int:
    """Measure and print. Returns 0, 1 if anything was answered wrongly, 2 if a tool is missing."""
    given = arguments()
    missing = [tool for tool in ("wrk", "nginx", "taskset") if not servers.installed(tool)]
    if missing:
        print(f"needed, and not installed: {', '.join(missing)}", file=sys.stderr)
        return 2
    only = {BARE, AGAIN, *given.only.split(",")} if given.only else None
    chosen = {name: shape for name, shape in shapes(given.redis).items() if only is None or name in only}
    environ = dict(pair.split("=", 1) for pair in given.set)
    found: list[dict[str, list[Pair]]] = []
    errors = 0
    for _ in range(given.starts):
        results, failed = one_start(chosen, given.seconds, given.routes, environ)
        found.append(results)
        errors += failed
    print(table(chosen, found))
    print(f"\n{errors} errors")
    return 1 if errors else 0


def one_start(
    chosen: dict[str, tuple[str, dict[str, Any]]], seconds: int, routes: int, environ: dict[str, str]
) -> tuple[dict[str, list[Pair]], int]:
    """Measure one gateway, as ``measure``."""
    started: list[Server] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        try:
            started.append(servers.upstream(directory, core=0).start())
            gateway = servers.gateway(directory, 1, started[0].port, routes=routes, environ=environ)
            started.append(gateway)
            add_routes(directory, {name: plugins for name, (_, plugins) in chosen.items()})
            return measure(list(chosen), gateway, seconds, directory)
        finally:
            for server in reversed(started):
                server.stop()


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
    names: list[str], gateway: Server, seconds: int, directory: Path
) -> tuple[dict[str, list[Pair]], int]:
    """The slices of every shape, each with its neighbours of the bare route, and the number of errors."""
    others = [name for name in names if name != BARE]
    turn = [f"/shape/{name}" for other in others for name in (BARE, other)]
    slices, errors = run(turn, f'["apikey"] = "{KEY}"', gateway, seconds, core=0, directory=directory)
    results: dict[str, list[Pair]] = {name: [] for name in names}
    # The first turn makes the counters and learns the heads.
    later = slices[len(turn) :]
    for before, mine, after in zip(later[::2], later[1::2], later[2::2], strict=False):
        bare_us = (before.cpu_us + after.cpu_us) / 2
        results[mine.path.rpartition("/")[2]].append((mine, bare_us))
        results[BARE].append((after, bare_us))
    return results, errors


def overhead(pairs: Iterable[Pair]) -> float:
    """The median of what slices cost over the bare route beside them, in percent."""
    return statistics.median(100 * (mine.cpu_us / max(0.001, bare_us) - 1) for mine, bare_us in pairs)


def table(chosen: dict[str, tuple[str, Any]], starts: list[dict[str, list[Pair]]]) -> str:
    """A Markdown table: medians of all slices, and of those of each start of the gateway."""
    lines = [
        "| route with | CPU µs/request | slices | over the bare route | each start, % |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    for name, (what, _) in chosen.items():
        pairs = [pair for results in starts for pair in results[name]]
        shares = ("", "")
        if name != BARE:
            each = ", ".join(f"{overhead(results[name]):.1f}" for results in starts)
            shares = (f"{overhead(pairs):.1f} %", each)
        cpu_us = statistics.median(mine.cpu_us for mine, _ in pairs)
        lines.append(f"| {what} | {cpu_us:.1f} | {len(pairs)} | {shares[0]} | {shares[1]} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
