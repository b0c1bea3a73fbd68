"""What the garbage collector looks at, in a process of its own: it would be this one's for good."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.limits import LIMIT_S

ROOT = Path(__file__).resolve().parent.parent
_PROGRAM = """
import gc
from gateway.heap import settle
class Ring:
    def __init__(self): self.ring = self
kept = [Ring() for _ in range(1000)]
settle()
print(gc.get_freeze_count() >= 1000, len(gc.get_objects()) < 1000)
"""


class SettleTests(SynchronousTestCase):
    def test_settled(self) -> None:
        """What there is is kept out of collections, and what comes later is not."""
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM], cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S
        )
        self.assertEqual((done.stdout.split(), done.stderr), (["True", "True"], ""))
