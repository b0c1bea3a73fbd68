"""The static keys of the apisix dialect."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.admin.static_keys import StaticKeys


class StaticKeyTests(SynchronousTestCase):
    def test_roles(self) -> None:
        """Each key has its role; nothing else has one, and nothing opens what has no key."""
        keys = StaticKeys("admin-key", "viewer-key", "default")
        self.assertEqual(keys.role(b"admin-key"), "admin")
        self.assertEqual(keys.role(b"viewer-key"), "viewer")
        for key in (b"", b"admin-ke", b"admin-key ", b"ADMIN-KEY"):
            self.assertIsNone(keys.role(key))
        self.assertIsNone(StaticKeys(None, None, "default").role(b""))
        self.assertIsNone(StaticKeys("a", "", "default").role(b""))

    def test_anonymous(self) -> None:
        """Nobody calls without a key, unless that is asked for."""
        self.assertIsNone(StaticKeys("a", None, "default").anonymous)
        anonymous = StaticKeys("a", None, "g", required=False).anonymous
        assert anonymous is not None
        self.assertEqual((anonymous.group, anonymous.is_admin), ("g", False))

    def test_hidden(self) -> None:
        """The keys themselves are not kept."""
        keys = StaticKeys("admin-key", None, "default")
        self.assertNotIn("admin-key", repr(vars(keys)))
