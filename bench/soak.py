"""
Memory over a long mixed run: good, refused, large and broken requests, and many tokens.

What is remembered of heads and tokens fills for a while; smaller memories (``--set
GATEWAY_PROXY_KNOWN_HEADS=1000``) are full sooner, and what grows then is something else.
"""

from __future__ import annotations

import argparse
import socket
import time
from pathlib import Path

from bench import servers
from bench.processes import Server, private_mb
from bench.side_by_side import LOAD_CORE, SERVER_CORE
from bench.workloads import Workload, run, workloads


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--set", action="append", default=[], metavar="GATEWAY_X_Y=VALUE", help="a setting")


def main(given: argparse.Namespace, directory: Path) -> tuple[str, bool]:
    """Load, and read the memory after each round."""
    started: list[Server] = []
    known = workloads()
    mix = [known[name] for name in ("W0", "W1", "W2", "W3", "W4", "TLS")]
    mix.append(Workload("401", "no token", "/jwt"))
    environ = dict(pair.split("=", 1) for pair in given.set)
    samples: list[tuple[float, float]] = []
    requests = 0
    try:
        upstream = servers.upstream(directory, core=LOAD_CORE)
        started.append(upstream.start())
        gateway = servers.gateway(directory, SERVER_CORE, upstream.port, routes=1000, environ=environ)
        started.append(gateway)
        begun = time.monotonic()
        while time.monotonic() - begun < given.seconds:
            for workload in mix:
                requests += run(workload, gateway, 1, core=LOAD_CORE, directory=directory).requests
            _break_off(gateway.port)
            samples.append((time.monotonic() - begun, private_mb(gateway.pid)))
    finally:
        for server in reversed(started):
            server.stop()
    later = samples[len(samples) // 2 :]
    return (
        f"{requests} requests in {samples[-1][0]:.0f} s: {samples[0][1]:.1f} MB after the first round, "
        f"{samples[-1][1]:.1f} MB after the last; slope over the second half "
        f"{_slope(later) * 60:+.2f} MB/min",
        True,
    )


def _break_off(port: int) -> None:
    """Clients that leave in the middle: of a head, of content, of an answer."""
    for text in (
        b"GET /plain HT",
        b"POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\nabc",
        b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n",
        b"no request at all\r\n\r\n",
    ):
        for _ in range(50):
            client = socket.create_connection(("127.0.0.1", port), 10)
            client.sendall(text)
            client.close()


def _slope(samples: list[tuple[float, float]]) -> float:
    """Least squares, per second."""
    count = len(samples)
    if count < 2:
        return 0.0
    mean_x = sum(x for x, _ in samples) / count
    mean_y = sum(y for _, y in samples) / count
    spread = sum((x - mean_x) ** 2 for x, _ in samples)
    return sum((x - mean_x) * (y - mean_y) for x, y in samples) / spread if spread else 0.0
