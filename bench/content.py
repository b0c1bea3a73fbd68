"""Large content in constant memory: 1 GiB up and down; slow peers that hold neither memory nor others."""

from __future__ import annotations

import argparse
import http.client
import socket
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path

from bench import servers
from bench.processes import Server, private_mb

_PIECE = b"x" * (1 << 18)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    parser.add_argument("--mib", type=int, default=1024)


def main(given: argparse.Namespace, directory: Path) -> tuple[str, bool]:
    """Send, fetch, and dawdle."""
    started: list[Server] = []
    size = given.mib << 20
    lines = ["| | MB/s | most memory above the start, MB |", "| --- | ---: | ---: |"]
    with Sink() as sink:
        try:
            upstream = servers.upstream(directory, core=0)
            started.append(upstream.start())
            gateway = servers.gateway(directory, 1, upstream.port)
            started.append(gateway)
            node = {"host": "127.0.0.1", "port": sink.port, "weight": 1}
            with servers.Admin(servers.admin_port(directory)) as admin:
                admin.put("services/sink", {"name": "sink", "upstream": {"nodes": [node]}})
                admin.put("routes/up", {"name": "up", "service_id": "sink", "paths": ["/up*"]})
            (directory / "files").mkdir()
            with (directory / "files" / "large").open("wb") as file:
                file.truncate(size)
            port = gateway.port
            fetch(port, "/plain")
            parts: list[tuple[str, Callable[[], int]]] = [
                (f"{given.mib} MiB up", lambda: send(port, "/up", size)),
                (f"{given.mib} MiB down", lambda: fetch(port, "/files/large")),
            ]
            for name, part in parts:
                with Watch(gateway.pid) as watch:
                    moved = part()
                assert moved == size, (name, moved)
                lines.append(f"| {name} | {moved / watch.took_s / 1e6:.0f} | {watch.most_mb:.1f} |")
            alone = ask_often(port)
            with Watch(gateway.pid) as watch, dawdle(port, "/files/large"):
                beside = ask_often(port)
            lines.append(f"| 20 clients that do not read, for {watch.took_s:.1f} s | | {watch.most_mb:.1f} |")
            sink.reading.clear()
            with Watch(gateway.pid) as watch:
                stuck = [start_upload(port, "/up", size) for _ in range(20)]
                for one in stuck:
                    fill(one)
                beside_upload = ask_often(port)
                for one in stuck:
                    one.close()
            sink.reading.set()
            lines.append(f"| 20 uploads that the upstream does not read | | {watch.most_mb:.1f} |")
        finally:
            sink.reading.set()
            for server in reversed(started):
                server.stop()
    lines.append("")
    lines.append(
        f"Median time of other requests: {alone:.2f} ms alone, {beside:.2f} ms beside the slow clients, "
        f"{beside_upload:.2f} ms beside the stuck uploads."
    )
    return "\n".join(lines), True


class Watch:
    """
    Watches a process tree's memory while something runs.

    Attributes:
        most_mb: Above what it was at the start. took_s: How long it ran.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.most_mb = 0.0
        self.took_s = 0.0

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            self.most_mb = max(self.most_mb, private_mb(self._pid) - self._before)

    def __enter__(self) -> Watch:
        self._before = private_mb(self._pid)
        self._started = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.took_s = time.monotonic() - self._started
        self._stop.set()
        self._thread.join()


class Sink:
    """
    An upstream that takes content and answers when it has it all.

    Attributes:
        port: Where. reading: While it is clear, nothing is read.
    """

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.reading = threading.Event()
        self.reading.set()

    def __enter__(self) -> Sink:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        data = b""
        buffer = bytearray(1 << 20)
        try:
            while b"\r\n\r\n" not in data:
                data += connection.recv(65536)
            head, _, rest = data.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            taken = len(rest)
            while taken < length:
                self.reading.wait()
                got = connection.recv_into(buffer)
                if not got:
                    return
                taken += got
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        except (OSError, ValueError):
            pass
        finally:
            connection.close()


def send(port: int, path: str, size: int) -> int:
    """Upload *size* bytes; returns how many were sent."""
    client = start_upload(port, path, size)
    sent = 0
    while sent < size:
        piece = _PIECE[: size - sent]
        client.sendall(piece)
        sent += len(piece)
    answer = client.recv(65536)
    client.close()
    assert answer.startswith(b"HTTP/1.1 200 "), answer[:100]
    return sent


def start_upload(port: int, path: str, size: int) -> socket.socket:
    """The head of an upload."""
    client = socket.create_connection(("127.0.0.1", port), 60)
    client.sendall(f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Length: {size}\r\n\r\n".encode())
    return client


def fill(client: socket.socket) -> None:
    """Send until nothing more is taken for a while."""
    client.settimeout(0.2)
    try:
        while True:
            client.sendall(_PIECE)
    except OSError:
        pass


def fetch(port: int, path: str) -> int:
    """Download; returns the number of bytes."""
    client = http.client.HTTPConnection("127.0.0.1", port)
    client.request("GET", path)
    answer = client.getresponse()
    buffer = bytearray(1 << 20)
    size = 0
    while got := answer.readinto(buffer):
        size += got
    client.close()
    assert answer.status == 200, answer.status
    return size


class dawdle:
    """20 clients that ask for something large and read none of it."""

    def __init__(self, port: int, path: str) -> None:
        self._port, self._path = port, path
        self._clients: list[socket.socket] = []

    def __enter__(self) -> dawdle:
        for _ in range(20):
            client = socket.create_connection(("127.0.0.1", self._port), 10)
            client.sendall(f"GET {self._path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
            self._clients.append(client)
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients:
            client.close()


def ask_often(port: int) -> float:
    """Median milliseconds of 500 small requests in a row."""
    client = http.client.HTTPConnection("127.0.0.1", port)
    took = []
    for _ in range(500):
        started = time.monotonic()
        client.request("GET", "/plain")
        client.getresponse().read()
        took.append(time.monotonic() - started)
    client.close()
    return statistics.median(took) * 1000
