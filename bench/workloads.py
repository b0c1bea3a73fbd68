"""The loads, driven by wrk: one connection set, one request shape each."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from attrs import frozen

from bench.processes import Server, cpu_seconds
from bench.tokens import mint

CONNECTIONS = 64
UPLOAD = 1 << 20
MANY_TOKENS = 10_000


@frozen
class Result:
    """
    One run against one server.

    Attributes:
        requests: Answered. rate: Per second. cpu_us: Microseconds of CPU of the server per request.
        p99_ms: The 99th percentile of latency. errors: Answers that are not 2xx, and broken connections.
    """

    requests: int
    rate: float
    cpu_us: float
    p99_ms: float
    errors: int


@frozen
class Workload:
    """A request shape. *script* is Lua for wrk, made once."""

    name: str
    what: str
    path: str
    script: str = ""
    connections: int = CONNECTIONS
    tls: bool = False


def workloads() -> dict[str, Workload]:
    """All of them, by name."""
    token = mint()
    bearer = f'wrk.headers["Authorization"] = "Bearer {token}"\n'
    lines = "\n".join(f'"{mint(number)}",' for number in range(MANY_TOKENS))
    many = (
        f"local tokens = {{\n{lines}\n}}\nlocal n = 0\n"
        "function request()\n  n = n % #tokens + 1\n"
        '  return wrk.format("GET", "/jwt", {["Authorization"] = "Bearer " .. tokens[n]})\nend\n'
    )
    upload = f"wrk.method = 'POST'\nwrk.body = string.rep('x', {UPLOAD})\n"
    all_of_them = (
        Workload("W0", "no authentication", "/plain"),
        Workload("W1", "an HS256 token, the same each time", "/jwt", bearer),
        Workload("W2", "an answer of 64 KiB", "/large"),
        Workload("W3", "a request of 1 MiB", "/sink", upload, 16),
        Workload("W4", f"{MANY_TOKENS} tokens in turn", "/jwt", many),
        Workload("TLS", "W1 over TLS, kept connections", "/jwt", bearer, tls=True),
    )
    return {one.name: one for one in all_of_them}


_SCALE = {"us": 0.001, "ms": 1.0, "s": 1000.0}


def run(workload: Workload, server: Server, seconds: int, *, core: int | None, directory: Path) -> Result:
    """Load *server* for *seconds*, and read the CPU time it took."""
    command = [
        *([] if core is None else ["taskset", "-c", str(core)]),
        "wrk",
        "-t1",
        f"-c{workload.connections}",
        f"-d{seconds}s",
        "--latency",
    ]
    if workload.script:
        script = directory / f"{workload.name}.lua"
        if not script.exists():
            script.write_text(workload.script)
        command += ["-s", str(script)]
    before = cpu_seconds(server.pid)
    origin = f"https://127.0.0.1:{server.tls_port}" if workload.tls else f"http://127.0.0.1:{server.port}"
    url = origin + workload.path
    done = subprocess.run([*command, url], capture_output=True, text=True, timeout=seconds + 60, check=True)
    used = cpu_seconds(server.pid) - before
    return read(done.stdout, used)


def read(report: str, cpu_s: float) -> Result:
    """Read wrk's report."""

    def number(pattern: str) -> float:
        found = re.search(pattern, report)
        return float(found.group(1)) if found else 0.0

    requests = int(number(r"(\d+) requests in"))
    slow = re.search(r"99%\s+([\d.]+)(us|ms|s)", report)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", report)
    errors = int(number(r"Non-2xx or 3xx responses: (\d+)")) + sum(
        map(int, broken.groups() if broken else ())
    )
    return Result(
        requests=requests,
        rate=number(r"Requests/sec:\s+([\d.]+)"),
        cpu_us=cpu_s * 1e6 / max(1, requests),
        p99_ms=float(slow.group(1)) * _SCALE[slow.group(2)] if slow else 0.0,
        errors=errors,
    )
