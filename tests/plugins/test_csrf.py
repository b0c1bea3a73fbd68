"""Tests for gateway.plugins.csrf."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway.core import csrf_tokens
from gateway.core.chain import BoundPlugin
from gateway.core.exchange import Reply
from gateway.plugins.csrf import plugin
from gateway.testing.exchanges import exchange
from gateway.testing.plugins import bind, finish, problems
from gateway.testing.services import FakeClock, services

NOW = 1_700_000_000


class CSRFTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = FakeClock(NOW)

    def bound(self, **config: Any) -> BoundPlugin:
        return bind(plugin, {"key": "k", **config}, services(clock=self.clock))

    def access(
        self, method: str = "POST", header: str | None = None, cookie: str | None = None, **config: Any
    ) -> Reply | None:
        hook = self.bound(**config).access
        assert hook is not None
        name = config.get("name", "apisix-csrf-token")
        headers = [] if header is None else [(name, header)]
        if cookie is not None:
            headers.append(("Cookie", f"a=b; {name}={cookie}"))
        return finish(hook(exchange(method, headers=headers)))

    def answer(self, **config: Any) -> str:
        """The cookie that an answer sets."""
        hook = self.bound(**config).header_filter
        assert hook is not None
        sent = exchange()
        sent.response_fields.add(b"set-cookie", b"own=1")
        hook(sent)
        _, cookie = sent.response_fields.get_all(b"set-cookie")
        return cookie.decode()

    def refused(self, reply: Reply | None, message: str, reason: str) -> None:
        assert reply is not None
        self.assertEqual((reply.status, reply.body), (401, b'{"error_msg":"%s"}\n' % message.encode()))
        self.assertEqual(reply.reason, reason)

    def test_round_trip(self) -> None:
        """The token of an answer is good for a request that changes something, until it expires."""
        cookie = self.answer()
        token = cookie.removeprefix("apisix-csrf-token=").partition(";")[0]
        self.assertTrue(cookie.endswith(";path=/;SameSite=Lax;Expires=Wed, 15 Nov 2023 00:13:20 GMT"), cookie)
        self.assertIsNone(self.access("POST", token, token))
        self.clock.advance(7201)
        self.refused(
            self.access("POST", token, token), "Failed to verify the csrf token signature", "csrf_invalid"
        )

    def test_for_ever(self) -> None:
        """With zero or less a token never expires, nor does its cookie."""
        for expires in (0, -1):
            cookie = self.answer(expires=expires, name="t")
            self.assertTrue(cookie.startswith("t=") and cookie.endswith(";path=/;SameSite=Lax"), cookie)
            token = csrf_tokens.make("k", 0, 0.5)
            self.assertIsNone(self.access("DELETE", token, token, expires=expires, name="t"))
        self.assertIn("9999", self.answer(expires=10**15))

    def test_safe_methods(self) -> None:
        """Requests that change nothing need no token."""
        for method in ("GET", "HEAD", "OPTIONS"):
            self.assertIsNone(self.access(method))

    def test_refused(self) -> None:
        """Others need the same good token in the header and in the cookie."""
        token = csrf_tokens.make("k", NOW, 0.5)
        other = csrf_tokens.make("other", NOW, 0.5)
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            self.refused(self.access(method), "no csrf token in headers", "csrf_header_missing")
        self.refused(self.access("POST", ""), "no csrf token in headers", "csrf_header_missing")
        self.refused(self.access("POST", token), "no csrf cookie", "csrf_cookie_missing")
        self.refused(self.access("POST", token, other), "csrf token mismatch", "csrf_mismatch")
        message = "Failed to verify the csrf token signature"
        for bad in (other, "x", "é", token[:-4]):
            self.refused(self.access("POST", bad, bad), message, "csrf_invalid")


class FactoryTests(SynchronousTestCase):
    def test_settings(self) -> None:
        """A key is needed and kept secret; a name has to be one of a header."""
        self.assertEqual(problems(plugin, {}), [("/key", "required")])
        self.assertEqual(problems(plugin, {"key": "k", "expires": "1h"}), [("/expires", "type")])
        for name in ("a;b", ""):
            self.assertEqual(
                problems(plugin, {"key": "k", "name": name}), [("", f"'{name}' is not the name of a header")]
            )
        self.assertEqual(problems(plugin, {"key": ""}), [("", "key is empty")])
        for config in ({"key": ""}, {"key": "$env://missing"}):
            self.assertRaises(ValueError, bind, plugin, config)
        self.assertEqual((plugin.priority, plugin.secret_fields), (2980, ("key",)))
        self.assertNotIn("hunter2", repr(plugin.make({"key": "hunter2"}, services())))
