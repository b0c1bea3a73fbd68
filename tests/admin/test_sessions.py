from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.admin.sessions import Sessions
from tests.admin.kit import FakeClock


class SessionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = FakeClock()
        self.sessions = Sessions(self.clock, 60)

    def test_life(self) -> None:
        """A session is its user's until it ends, by itself or because it is told to."""
        first, second = self.sessions.begin("u").encode(), self.sessions.begin("u").encode()
        self.assertNotEqual(first, second)
        self.assertEqual((self.sessions.user(first), self.sessions.user(b"x")), ("u", None))
        self.sessions.end(first)
        self.sessions.end(first)
        self.assertEqual((self.sessions.user(first), self.sessions.user(second)), (None, "u"))
        self.clock.now += 60
        self.assertIsNone(self.sessions.user(second))

    def test_all_of_a_user(self) -> None:
        """All sessions of one user can be ended, and nobody else's."""
        mine, other = self.sessions.begin("u").encode(), self.sessions.begin("v").encode()
        self.sessions.end_all("u")
        self.assertEqual((self.sessions.user(mine), self.sessions.user(other)), (None, "v"))

    def test_bounded(self) -> None:
        """There is a limit to how many there are; the oldest goes first."""
        self.patch(Sessions, "MAX", 3)
        names = [self.sessions.begin("u").encode() for _ in range(4)]
        self.assertEqual([self.sessions.user(name) for name in names], [None, "u", "u", "u"])
