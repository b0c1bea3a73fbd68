"""Latency at a fixed rate, counted from the moment each request was due.

A generator that waits for an answer before it sends the next request does not see the queue in front of
a server that is stuck. This one sends when it is time to, on another connection if need be.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench import servers
from bench.processes import Server
from bench.side_by_side import LOAD_CORE, SERVER_CORE
from bench.tokens import mint


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    parser.add_argument("--rate", type=int, default=1000, help="requests a second")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--peers", default="haproxy,envoy")


def main(given: argparse.Namespace, directory: Path) -> tuple[str, bool]:
    """Measure W1 on one server after the other."""
    started: list[Server] = []
    lines = [
        "| server | p50 ms | p99 ms | p99.9 ms | most ms | failed |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    fine = True
    cores = os.sched_getaffinity(0)
    try:
        upstream = servers.upstream(directory, core=LOAD_CORE)
        started.append(upstream.start())
        measured = [servers.gateway(directory, SERVER_CORE, upstream.port, routes=1000)]
        started += measured
        for peer in given.peers.split(","):
            if peer and servers.program(peer):
                measured.append(servers.PEERS[peer](directory, SERVER_CORE, upstream.port).start())
                started.append(measured[-1])
        os.sched_setaffinity(0, {LOAD_CORE})
        for server in measured:
            generator = Generator(server.port)
            asyncio.run(generator.run(given.rate, 1))
            generator = Generator(server.port)
            asyncio.run(generator.run(given.rate, given.seconds))
            fine = fine and not generator.failed
            cells = [f"{ms:.1f}" for ms in parts_ms(generator.took_s)]
            lines.append(f"| {server.name} | {' | '.join(cells)} | {generator.failed} |")
    finally:
        os.sched_setaffinity(0, cores)
        for server in reversed(started):
            server.stop()
    return f"{given.rate} requests/s (W1), {given.seconds} s each\n\n" + "\n".join(lines), fine


def parts_ms(took_s: Sequence[float]) -> list[float]:
    """p50, p99, p99.9 and the most, in milliseconds."""
    took = sorted(took_s)
    return [
        took[min(len(took) - 1, int(len(took) * part))] * 1000 if took else 0.0
        for part in (0.5, 0.99, 0.999, 1)
    ]


class Generator:
    """
    Attributes:
        took_s: From when a request was due to the end of its answer. failed: Answers other than 200.
    """

    def __init__(self, port: int, path: str = "/jwt") -> None:
        self.took_s: list[float] = []
        self.failed = 0
        self._port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._request = (
            f"GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {mint()}\r\n\r\n"
        ).encode()

    async def run(self, rate: int, seconds: int) -> None:
        """Send at *rate* for *seconds*, and wait for all answers."""
        tasks = []
        start = time.monotonic()
        for number in range(rate * seconds):
            due = start + number / rate
            wait = due - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            tasks.append(asyncio.create_task(self._one(due)))
            if number % rate == 0:
                tasks = [task for task in tasks if not task.done()]
        await asyncio.gather(*tasks)
        for _, writer in self._idle:
            writer.close()

    async def _one(self, due: float) -> None:
        try:
            reader, writer = (
                self._idle.pop() if self._idle else await asyncio.open_connection("127.0.0.1", self._port)
            )
            writer.write(self._request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
        except (OSError, EOFError, ValueError):
            self.failed += 1
            return
        self.took_s.append(time.monotonic() - due)
        self.failed += not head.startswith(b"HTTP/1.1 200 ")
        self._idle.append((reader, writer))


if __name__ == "__main__":
    # For those who measure while they do something else: PORT RATE SECONDS.
    known = Generator(int(sys.argv[1]), "/plain")
    asyncio.run(known.run(int(sys.argv[2]), int(sys.argv[3])))
    print(json.dumps({"parts_ms": parts_ms(known.took_s), "failed": known.failed}))
