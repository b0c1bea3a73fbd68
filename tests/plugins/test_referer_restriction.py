"""Tests for gateway.plugins.referer_restriction."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway.core.exchange import Reply
from gateway.plugins.referer_restriction import plugin
from gateway.testing.exchanges import exchange
from gateway.testing.plugins import bind, finish, problems

LISTED = ["*.xx.com", "yy.com"]


def access(referer: str | None, **config: Any) -> Reply | None:
    hook = bind(plugin, config).access
    assert hook is not None
    return finish(hook(exchange(headers=[] if referer is None else [("Referer", referer)])))


class AccessTests(SynchronousTestCase):
    def refused(
        self, reply: Reply | None, reason: str, message: str = "Your referer host is not allowed"
    ) -> None:
        assert reply is not None
        self.assertEqual((reply.status, reply.reason), (403, reason))
        self.assertEqual(reply.body, b'{"message":"%s"}\n' % message.encode())

    def test_whitelist(self) -> None:
        """Only pages of the hosts on the whitelist may."""
        for referer in (
            "http://yy.com",
            "https://YY.com.:8080/p?q",
            "http://a.b.xx.com/",
            "//yy.com/x",
            "http://yy.com?q",
        ):
            self.assertIsNone(access(referer, whitelist=LISTED), referer)
        for referer in ("http://xx.com", "http://www.yy.com", "http://yy.com.evil.com", "http://eviлyy.com"):
            sent = referer.encode().decode("latin-1")
            self.refused(access(sent, whitelist=LISTED), "referer_not_allowed")

    def test_blacklist(self) -> None:
        """Every page may but those of the hosts on the blacklist."""
        self.assertIsNone(access("http://zz.com/", blacklist=LISTED))
        self.refused(access("http://yy.com/", blacklist=LISTED, message="no"), "referer_not_allowed", "no")

    def test_missing(self) -> None:
        """A request without a Referer, or with one that names no host, is refused unless it may pass."""
        for referer in (
            None,
            "",
            "yy.com",
            "http://",
            "ftp://yy.com/",
            "http://a@yy.com/",
            "http://yy.com:80@x.com/",
            "about:blank",
            "http://yy.com:x/",
        ):
            for name in ("whitelist", "blacklist"):
                self.refused(access(referer, **{name: LISTED}), "referer_missing")
                self.assertIsNone(access(referer, bypass_missing=True, **{name: LISTED}))

    def test_addresses(self) -> None:
        """Addresses are hosts like others."""
        self.assertIsNone(access("http://127.0.0.1:80/", whitelist=["127.0.0.1"]))
        self.assertIsNone(access("http://[::1]:80/", whitelist=["[::1]"]))
        self.refused(access("http://[::1]:80/", whitelist=LISTED), "referer_not_allowed")

    def test_every_host(self) -> None:
        """``*`` is every host; a request without one is still missing it."""
        self.assertIsNone(access("http://a.b/", whitelist=["*"]))
        self.refused(access("http://a.b/", blacklist=["yy.com", "*"]), "referer_not_allowed")
        self.refused(access(None, whitelist=["*"]), "referer_missing")

    def test_ports(self) -> None:
        """Where a host is listed with a port, the port has to be the same."""
        for listed in ("yy.com:81", "*.com:81"):
            self.assertIsNone(access("http://yy.com:81/", whitelist=[listed]))
            for referer in ("http://yy.com/", "http://yy.com:8/"):
                self.refused(access(referer, whitelist=[listed]), "referer_not_allowed")


class FactoryTests(SynchronousTestCase):
    def test_settings(self) -> None:
        """Exactly one list is needed, of hosts."""
        self.assertEqual(problems(plugin, {}), [("", "oneOf")])
        self.assertEqual(problems(plugin, {"whitelist": LISTED, "blacklist": LISTED}), [("", "oneOf")])
        self.assertEqual(problems(plugin, {"whitelist": []}), [("/whitelist", "minItems")])
        for text in ("http://a", "", "**.a", "a.*"):
            self.assertEqual(problems(plugin, {"whitelist": [text]}), [("/whitelist/0", "pattern")])
        self.assertEqual(problems(plugin, {"whitelist": ["a"], "message": ""}), [("/message", "minLength")])
        self.assertEqual(plugin.priority, 2990)
