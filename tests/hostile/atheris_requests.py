"""
The requests of ``tests.hostile.fuzz``, thought of by atheris, which watches the lines they reach.

    python -m pip install atheris
    python -m tests.hostile.atheris_requests [corpus directory] [-max_total_time=600]

It starts from the requests of ``tests.hostile.smuggling``, and ends at the first row of bytes that has two
readings, or that meets a bug. Not one of the tests: it runs for as long as one lets it, and atheris is
no dependency.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path


def main() -> None:
    """Fuzz until something is found."""
    import atheris

    with atheris.instrument_imports(include=["gateway.http1", "gateway.proxy"]):
        from tests.hostile.fuzz import Fuzzed, check, lean, twisted_web
    from tests.hostile.smuggling import CHUNKS, NEXT, REFUSED

    servers = (Fuzzed(lean), Fuzzed(twisted_web))

    def one_input(data: bytes) -> None:
        check(servers, data[1:], min(data[0], len(data) - 1) if data else 0)

    with tempfile.TemporaryDirectory() as seeds:
        for number, data in enumerate((NEXT, *(case.data for case in (*REFUSED, *CHUNKS)))):
            Path(seeds, str(number)).write_bytes(b"\x10" + data)
        # New finds go to the first directory that is named: the caller's, if there is one.
        atheris.Setup([*sys.argv, seeds], one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
