"""One worker process against two: requests a second.

The load generator and the upstream need cores, too. With two cores in all none would be left for a second
worker, so each worker gets a fixed share of a core and no more (``bench.quota``): then the workers are what
is short, however many there are. Without a share what is printed is no more than a lower bound.
"""

from __future__ import annotations

import argparse
import os
import statistics
from pathlib import Path

from bench import servers
from bench.processes import Server, cpu_seconds, family
from bench.quota import Quota
from bench.workloads import run, workloads


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--share", type=float, default=0.2, help="of a core, for each worker; 0: no limit")


def main(given: argparse.Namespace, directory: Path) -> tuple[str, bool]:
    """Measure W1 on two gateways in turn, nothing pinned."""
    workload = workloads()["W1"]
    started: list[Server] = []
    quotas: list[Quota] = []
    rates, shares = [], []
    errors = 0
    try:
        upstream = servers.upstream(directory, core=None)
        started.append(upstream.start())
        pair = []
        for count in (1, 2):
            environ = {"GATEWAY_PROXY_WORKERS": str(count)}
            name = f"workers{count}"
            pair.append(servers.gateway(directory, None, upstream.port, environ=environ, name=name))
            started.append(pair[-1])
        for server in pair:
            if given.share:
                quotas += [Quota(pid, given.share) for pid in family(server.pid)[1:]]
            run(workload, server, 1, core=None, directory=directory)
        for number in range(given.rounds):
            rate, cores = {}, {}
            for server in pair if number % 2 == 0 else reversed(pair):
                before = cpu_seconds(server.pid)
                result = run(workload, server, given.seconds, core=None, directory=directory)
                cores[server.name] = (cpu_seconds(server.pid) - before) / given.seconds
                rate[server.name] = result.rate
                errors += result.errors
            rates.append(rate["workers2"] / rate["workers1"])
            per_core = {name: rate[name] / cores[name] for name in rate}
            shares.append((per_core["workers2"] / per_core["workers1"], cores["workers1"], cores["workers2"]))
    finally:
        for server in reversed(started):
            server.stop()
        for quota in quotas:
            quota.end()
    per_core, one, two = (statistics.median(share[place] for share in shares) for place in range(3))
    return (
        f"Two workers ÷ one, W1, requests/s: {statistics.median(rates):.2f} "
        f"({min(rates):.2f}–{max(rates):.2f}). "
        f"They got {one:.2f} and {two:.2f} cores of {os.cpu_count()}, which load and upstream share"
        f"{f', at most {given.share:g} each' if given.share else ''}; "
        f"requests per CPU second, two ÷ one: {per_core:.2f}; {errors} errors",
        not errors,
    )
