"""
One load that changes its route several times a second, and what each slice of time cost the server.

A machine that does other work has good and bad seconds. Runs of a second each meet them by chance; short
slices, one after the other on the same connections, meet them alike.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from bench.processes import Server, cpu_seconds
from bench.workloads import CONNECTIONS, read

SLICE_S = 0.23
"""Not a part of a second: what happens once a second would meet the same route each time."""
GUARD_S = 0.02
"""At the start of a slice, not counted: answers that are under way are still those of the one before."""

START_S = 0.7
"""From the start of the load on: connections are made and the first heads learnt."""

# wrk's threads have a Lua state each; there is one thread. What is counted are requests sent, which in a
# closed loop are those answered but for the connections' number.
_SCRIPT = """
local ffi = require("ffi")
ffi.cdef[[ typedef struct { long s; long ns; } moment; int clock_gettime(int clock, moment *at); ]]
local at = ffi.new("moment")
local paths, header = { %(paths)s }, { %(header)s }
local start, slice, guard = %(start).6f, %(slice).6f, %(guard).6f
local threads, heads = {}, {}
counts = {}

function setup(thread) table.insert(threads, thread) end

function init()
  for number, path in ipairs(paths) do heads[number] = wrk.format("GET", path, header) end
end

function request()
  ffi.C.clock_gettime(1, at)
  local since = tonumber(at.s) + tonumber(at.ns) * 1e-9 - start
  if since < 0 then return heads[1] end
  local number = math.floor(since / slice)
  if since - number * slice >= guard then counts[number + 1] = (counts[number + 1] or 0) + 1 end
  return heads[number %% #heads + 1]
end

function done()
  local all = threads[1]:get("counts")
  for number = 1, #all do io.write("slice ", number - 1, " ", all[number], "\\n") end
end
"""


@frozen
class Slice:
    """
    What one slice of the load came to.

    Attributes:
        path: What was asked for. cpu_us: Microseconds of the server's CPU per request.
    """

    path: str
    cpu_us: float


def run(
    paths: Sequence[str], header: str, server: Server, seconds: int, *, core: int, directory: Path
) -> tuple[list[Slice], int]:
    """
    Load *server* for *seconds* with the *paths* in turn, a slice each; *header* is the inside of a Lua table.

    Returns the slices in order, and the number of errors.
    """
    start = time.monotonic() + START_S
    script = directory / "slices.lua"
    script.write_text(
        _SCRIPT
        % {
            "paths": ", ".join(f'"{path}"' for path in paths),
            "header": header,
            "start": start,
            "slice": SLICE_S,
            "guard": GUARD_S,
        }
    )
    command = ["taskset", "-c", str(core), "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s"]
    load = subprocess.Popen(
        [*command, "-s", str(script), f"http://127.0.0.1:{server.port}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    used: list[float] = []
    try:
        for number in range(int((seconds - START_S) / SLICE_S) - 1):
            begin = start + number * SLICE_S
            time.sleep(max(0.0, begin + GUARD_S - time.monotonic()))
            before = cpu_seconds(server.pid)
            time.sleep(max(0.0, begin + SLICE_S - time.monotonic()))
            used.append(cpu_seconds(server.pid) - before)
        report, _ = load.communicate(timeout=60)
    finally:
        load.kill()
        load.wait()
    counts = {
        int(number): int(count)
        for _, number, count in (line.split() for line in report.splitlines() if line.startswith("slice "))
    }
    slices = [
        Slice(paths[number % len(paths)], cpu_s * 1e6 / counts[number]) for number, cpu_s in enumerate(used)
    ]
    return slices, read(report, 0.0).errors
