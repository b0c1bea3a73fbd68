"""One route against ten thousand: what finding the route costs."""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from bench import servers
from bench.processes import Server
from bench.side_by_side import LOAD_CORE, SERVER_CORE
from bench.workloads import run, workloads


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    parser.add_argument("--routes", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=2)


def main(given: argparse.Namespace, directory: Path) -> tuple[str, bool]:
    """Measure W1 on two gateways in turn."""
    workload = workloads()["W1"]
    started: list[Server] = []
    ratios = []
    errors = 0
    try:
        upstream = servers.upstream(directory, core=LOAD_CORE)
        started.append(upstream.start())
        pair = []
        for name, count in (("few", 0), ("many", given.routes)):
            pair.append(servers.gateway(directory, SERVER_CORE, upstream.port, routes=count, name=name))
            started.append(pair[-1])
        for server in pair:
            run(workload, server, 1, core=LOAD_CORE, directory=directory)
        for number in range(given.rounds):
            cost = {}
            for server in pair if number % 2 == 0 else reversed(pair):
                result = run(workload, server, given.seconds, core=LOAD_CORE, directory=directory)
                cost[server.name] = result.cpu_us
                errors += result.errors
            ratios.append(cost["many"] / cost["few"])
    finally:
        for server in reversed(started):
            server.stop()
    return (
        f"{given.routes} routes ÷ 1 route, W1, CPU per request: {statistics.median(ratios):.2f} "
        f"({min(ratios):.2f}–{max(ratios):.2f}) over {given.rounds} rounds; {errors} errors",
        not errors,
    )
