"""Idle keep-alive connections: what each costs in memory."""

from __future__ import annotations

import argparse
import resource
import socket
import time
from pathlib import Path

from bench import servers
from bench.processes import Server, private_mb

_REQUEST = b"GET /plain HTTP/1.1\r\nHost: bench\r\nUser-Agent: bench/1\r\nAccept: */*\r\n\r\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    parser.add_argument("--connections", type=int, default=10_000)


def main(given: argparse.Namespace, directory: Path) -> tuple[str, bool]:
    """Open connections, send one request on each, and look at the gateway's own memory."""
    wanted = given.connections + 200
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < wanted:
        return f"the limit of open files is {hard}, and {wanted} are needed", False
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    started: list[Server] = []
    clients: list[socket.socket] = []
    try:
        upstream = servers.upstream(directory, core=0)
        started.append(upstream.start())
        environ = {"GATEWAY_PROXY_IDLE_TIMEOUT_S": "600", "GATEWAY_LOG_ACCESS": "off"}
        gateway = servers.gateway(directory, 1, upstream.port, environ=environ)
        started.append(gateway)
        _ask(gateway.port, 500, [])
        time.sleep(1)
        before = private_mb(gateway.pid)
        answered = _ask(gateway.port, given.connections, clients)
        time.sleep(1)
        after = private_mb(gateway.pid)
    finally:
        for client in clients:
            client.close()
        for server in reversed(started):
            server.stop()
    return (
        f"{answered} idle connections: {after - before:.0f} MB of memory in user space, "
        f"{(after - before) * 1024 / max(1, answered):.1f} KB each ({before:.0f} MB before)",
        answered == given.connections,
    )


def _ask(port: int, count: int, kept: list[socket.socket]) -> int:
    """One request on each of *count* connections, which are kept. Returns how many were answered."""
    answered = 0
    for _ in range(count):
        client = socket.create_connection(("127.0.0.1", port), 10)
        client.sendall(_REQUEST)
        answered += client.recv(65536).startswith(b"HTTP/1.1 200 ")
        kept.append(client)
    return answered
