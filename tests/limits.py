"""How long tests wait for what must come. What they conclude, they conclude from what came."""

from __future__ import annotations

import time
from functools import cache

LIMIT_S = 240.0
"""Far more than anything here takes: a slow and busy machine must not fail a test."""


def cpu_s(usual_s: float) -> float:
    """So many seconds of CPU time, and in proportion more where the machine is slower than most."""
    return usual_s * _slowness()


@cache
def _slowness() -> float:
    began_s = time.process_time()
    for _ in range(10_000_000):
        pass
    return max(1.0, (time.process_time() - began_s) / 0.3)
