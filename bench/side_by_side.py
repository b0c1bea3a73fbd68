"""The gateway and its peers side by side, in interleaved rounds.

Every server is pinned to one core, the load and the upstream to another. What counts is the ratio of CPU time
per request within a round; its median over the rounds is printed. Needs wrk and nginx; HAProxy
and Envoy are measured where they are installed (``BENCH_ENVOY`` may name the program). Loopback only,
bounded in time.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from bench import servers
from bench.processes import Server, memory_mb
from bench.workloads import Result, Workload, run, workloads

SERVER_CORE, LOAD_CORE = 1, 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    parser.add_argument("--workloads", default="W0,W1,W2,W3,W4,TLS")
    parser.add_argument("--peers", default="nginx,haproxy,envoy")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2, help="per run")
    parser.add_argument("--routes", type=int, default=1000, help="routes besides the measured ones")
    parser.add_argument("--set", action="append", default=[], metavar="GATEWAY_X_Y=VALUE", help="a setting")


def main(given: argparse.Namespace, directory: Path) -> tuple[str, bool]:
    """Measure. Returns the table, and whether everything was answered as it should be."""
    peers = [name for name in given.peers.split(",") if name and servers.program(name)]
    known = workloads()
    chosen = [known[name] for name in given.workloads.split(",")]
    environ = dict(pair.split("=", 1) for pair in given.set)
    started: list[Server] = []
    try:
        upstream = servers.upstream(directory, core=LOAD_CORE)
        started.append(upstream.start())
        gateway = servers.gateway(directory, SERVER_CORE, upstream.port, routes=given.routes, environ=environ)
        started.append(gateway)
        measured = [gateway]
        for peer in peers:
            measured.append(servers.PEERS[peer](directory, SERVER_CORE, upstream.port).start())
            started.append(measured[-1])
        results = measure(chosen, measured, given.rounds, given.seconds, directory)
        text = table(chosen, measured, results)
        memory = ", ".join(f"{server.name} {memory_mb(server.pid):.0f} MB" for server in measured)
    finally:
        for server in reversed(started):
            server.stop()
    fine = not any(result.errors for runs in results.values() for result in runs)
    return f"{text}\n\nMemory after the load: {memory}.", fine


Results = dict[tuple[str, str], list[Result]]


def measure(
    chosen: list[Workload], measured: list[Server], rounds: int, seconds: int, directory: Path
) -> Results:
    """Every workload against every server, round by round, the order turned round each time."""
    results: Results = {(w.name, s.name): [] for w in chosen for s in measured}
    for workload in chosen:
        for server in measured:
            run(workload, server, 1, core=LOAD_CORE, directory=directory)
        for number in range(rounds):
            for server in measured if number % 2 == 0 else reversed(measured):
                result = run(workload, server, seconds, core=LOAD_CORE, directory=directory)
                results[workload.name, server.name].append(result)
    return results


def table(chosen: list[Workload], measured: list[Server], results: Results) -> str:
    """A Markdown table: medians, and the median ratio of the gateway to each peer."""
    lines = [
        "| load | server | CPU µs/request | requests/s | p99 ms | errors | gateway ÷ peer, CPU (min–max) |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for workload in chosen:
        ours = results[workload.name, "gateway"]
        for server in measured:
            runs = results[workload.name, server.name]
            ratios = [mine.cpu_us / max(0.001, its.cpu_us) for mine, its in zip(ours, runs, strict=True)]
            spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"
            ratio = "" if server.name == "gateway" else spread
            lines.append(
                f"| {workload.name}: {workload.what} | {server.name} "
                f"| {statistics.median(r.cpu_us for r in runs):.0f} "
                f"| {statistics.median(r.rate for r in runs):.0f} "
                f"| {statistics.median(r.p99_ms for r in runs):.1f} "
                f"| {sum(r.errors for r in runs)} | {ratio} |"
            )
    return "\n".join(lines)
