"""Tests for gateway.core.hosts."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.core.hosts import HostPattern, split_port


class HostPatternTests(SynchronousTestCase):
    def test_covers(self) -> None:
        """A pattern lets in the hosts its words say; the port counts only if the pattern has one."""
        for text, host, port, want in [
            ("foo.com", "foo.com", None, True),
            ("Foo.COM", "foo.com", "8080", True),
            ("foo.com.", "foo.com", None, True),
            ("foo.com", "a.foo.com", None, False),
            ("*.foo.com", "a.foo.com", None, True),
            ("*.foo.com", "a.b.foo.com", "1", True),
            ("*.foo.com", ".foo.com", None, True),
            ("*.foo.com", "foo.com", None, False),
            ("*foo.com", "barfoo.com", None, True),
            ("*", "", None, True),
            ("*", "x", "1", True),
            ("foo.com:8080", "foo.com", "8080", True),
            ("foo.com:8080", "foo.com", None, False),
            ("*.foo.com:8080", "a.foo.com", "8080", True),
            ("*.foo.com:8080", "a.foo.com", "80", False),
            ("[::1]", "[::1]", "9080", True),
            ("[::1]:80", "[::1]", "80", True),
            ("[::1]:80", "[::1]", None, False),
        ]:
            self.assertEqual(HostPattern.parse(text).covers(host, port), want, (text, host, port))

    def test_split_port(self) -> None:
        """A colon inside brackets belongs to the address."""
        self.assertEqual(split_port("a:1"), ("a", "1"))
        self.assertEqual(split_port("a"), ("a", None))
        self.assertEqual(split_port("[::1]"), ("[::1]", None))
        self.assertEqual(split_port("[::1]:80"), ("[::1]", "80"))
