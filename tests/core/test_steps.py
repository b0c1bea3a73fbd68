"""Work in steps."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.core.steps import Steps, at_once


class StepTests(SynchronousTestCase):
    def test_at_once(self) -> None:
        """All steps are done, and what was made is returned; what a step raises comes through."""
        done: list[int] = []

        def work(fails: bool) -> Steps[str]:
            for number in range(3):
                done.append(number)
                yield
            if fails:
                raise ValueError("no")
            return "made"

        self.assertEqual((at_once(work(False)), done), ("made", [0, 1, 2]))
        self.assertRaises(ValueError, at_once, work(True))
