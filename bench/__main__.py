"""
``python -m bench [WHAT]``: see what the gateway costs on this machine.

Needs wrk, nginx and taskset. Loopback only; every run is bounded in time; what is started is stopped.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path

from bench import churn, content, idle, latency, routes, servers, side_by_side, soak, workers

PARTS = {
    "side": side_by_side,
    "routes": routes,
    "workers": workers,
    "latency": latency,
    "churn": churn,
    "idle": idle,
    "content": content,
    "soak": soak,
}


def main() -> int:
    """Measure and print. Returns 0, 1 if anything was answered wrongly, 2 if a tool is missing."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--write", type=Path, help="a Markdown file to put the result into")
    parts = parser.add_subparsers(dest="what", required=True)
    for name, module in PARTS.items():
        module.add_arguments(parts.add_parser(name, help=(module.__doc__ or "").strip().splitlines()[0]))
    given = parser.parse_args()
    # What was started is stopped, however this one ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    missing = [tool for tool in ("wrk", "nginx", "taskset", "openssl") if not servers.program(tool)]
    if missing:
        print(f"needed, and not installed: {', '.join(missing)}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        text, fine = PARTS[given.what].main(given, directory)
    print(text)
    if given.write:
        given.write.write_text(text + "\n")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
