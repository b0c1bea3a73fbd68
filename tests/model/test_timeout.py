from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.model import timeout
from gateway.model.schema import fill_scalars
from gateway.model.timeout import Timeout
from tests.model.shapes import announced


class TimeoutTests(SynchronousTestCase):
    def test_defaults(self) -> None:
        """Each limit that is left out is 60 seconds."""
        self.assertEqual(Timeout.parse({}), Timeout(60.0, 60.0, 60.0))
        self.assertEqual(Timeout.parse({"read": 5}), Timeout(60.0, 60.0, 5.0))

    def test_seconds(self) -> None:
        """Limits come as floats in seconds, in whatever way the number was written."""
        limits = Timeout.parse({"connect": 1, "send": 2.5, "read": 3})
        self.assertEqual(
            [type(value) for value in (limits.connect_s, limits.send_s, limits.read_s)], [float] * 3
        )
        self.assertEqual(limits, Timeout(1.0, 2.5, 3.0))

    def test_announced(self) -> None:
        """The default of each limit is announced, and stored (contract §6.4)."""
        full = {"connect": 60, "send": 60, "read": 60}
        self.assertEqual(announced(timeout.SCHEMA), full)
        self.assertEqual(fill_scalars(timeout.SCHEMA, {}), full)
