"""Tests for gateway.plugins.redirect."""

from __future__ import annotations

from typing import Any

from gateway.core.exchange import Exchange, Reply
from gateway.plugins import redirect
from gateway.testing.exchanges import exchange
from tests.plugins.kit import PluginTestCase


class RedirectTests(PluginTestCase):
    factory = redirect.plugin

    def answer(self, config: dict[str, Any], sent: Exchange, **services: Any) -> Reply:
        reply = self.make(config, **services).rewrite(sent)
        self.assertIsInstance(reply, Reply)
        assert isinstance(reply, Reply)
        self.assertEqual([name for name, _ in reply.fields], [b"location"])
        return reply

    def location(self, config: dict[str, Any], sent: Exchange, **services: Any) -> bytes:
        return self.answer(config, sent, **services).fields[0][1]

    def test_interfaces(self) -> None:
        """It answers in rewrite, after authentication."""
        self.provides("redirect", 900)

    def test_uri(self) -> None:
        """The client is sent to uri, by default with 302."""
        reply = self.answer({"uri": "/test/$arg_n/${x ?? d}"}, exchange("GET", "/a?n=5"))
        self.assertEqual((reply.status, reply.body, reply.reason), (302, None, "redirected"))
        self.assertEqual(reply.fields, ((b"location", b"/test/5/d"),))
        self.assertEqual(self.answer({"uri": "/x", "ret_code": 308}, exchange()).status, 308)
        self.assertEqual(self.answer({"uri": "/x", "ret_code": 200}, exchange()).status, 200)

    def test_regex(self) -> None:
        """A path that matches leads to what the pattern makes of it; another goes on."""
        config = {"regex_uri": ["^/test/(.*)", "http://other.example/${1}.html"]}
        self.assertEqual(
            self.location(config, exchange("GET", "/test/a/b")), b"http://other.example/a/b.html"
        )
        self.assertIsNone(self.make(config).rewrite(exchange("GET", "/other")))

    def test_query(self) -> None:
        """On request the query goes along."""
        config = {"uri": "/n", "append_query_string": True}
        self.assertEqual(self.location(config, exchange("GET", "/a?x=%20")), b"/n?x=%20")
        self.assertEqual(self.location({**config, "uri": "/n?y=1"}, exchange("GET", "/a?x")), b"/n?y=1&x")
        self.assertEqual(self.location(config, exchange("GET", "/a")), b"/n")

    def test_encoding(self) -> None:
        """On request the path is escaped, the query is not; a line break never gets through."""
        sent = exchange("GET", "/a%0d%0aX:%20y", path="/a\r\nX: y é")
        self.assertEqual(self.location({"uri": "/n$uri"}, sent), "/n/a%0D%0AX: y é".encode())
        config = {"uri": "/n$uri?q= $uri", "encode_uri": True}
        self.assertEqual(self.location(config, sent), "/n/a%0D%0AX:%20y%20%C3%A9?q= /a%0D%0AX: y é".encode())

    def test_https(self) -> None:
        """http_to_https keeps host and target; methods other than GET and HEAD are kept too."""
        for method, status in (("GET", 301), ("HEAD", 301), ("POST", 308)):
            sent = exchange(method, "/a?x=1", [("Host", "shop.example:9080")])
            reply = self.answer({"http_to_https": True}, sent)
            self.assertEqual((reply.status, reply.fields[0][1]), (status, b"https://shop.example/a?x=1"))
        sent = exchange("GET", "/a%3Fb%20100%25?x=%20", [("Host", "shop.example")], path="/a?b 100%")
        self.assertEqual(
            self.location({"http_to_https": True}, sent), b"https://shop.example/a%3Fb%20100%25?x=%20"
        )
        self.assertIsNone(self.make({"http_to_https": True}).rewrite(exchange(tls=True)))
        self.assertIsNone(self.make({"http_to_https": False}).rewrite(exchange()))

    def test_https_port(self) -> None:
        """The port of the settings is named unless it is 443."""
        sent = exchange("GET", "/a", [("Host", "shop.example")])
        for port, wanted in (("9443", b":9443"), ("443", b""), ("0", b"")):
            settings = {"redirect_https_port": port}
            location = self.location({"http_to_https": True}, sent, settings=settings)
            self.assertEqual(location, b"https://shop.example" + wanted + b"/a")

    def test_forwarded_scheme(self) -> None:
        """A trusted proxy says what the client spoke to it; nobody else does."""
        config = {"http_to_https": True}
        sent = exchange(headers=[("Host", "a.example"), ("X-Forwarded-Proto", "https")])
        self.assertIsNotNone(self.make(config).rewrite(sent))
        trusted = self.make(config, trusted=lambda address: address == "127.0.0.1")
        self.assertIsNone(trusted.rewrite(sent))
        behind = exchange(headers=[("Host", "a.example"), ("X-Forwarded-Proto", "http")], tls=True)
        self.assertEqual(trusted.rewrite(behind).status, 301)

    def test_schema(self) -> None:
        """Exactly one way to say where to; settings that cannot work are refused."""
        for config in (
            {},
            {"uri": "/a", "http_to_https": True},
            {"uri": "/a", "regex_uri": ["a", "b"]},
            {"uri": "/"},
            {"uri": "/a", "ret_code": 199},
            {"regex_uri": ["a"]},
            {"regex_uri": ["a", "b", "c"]},
        ):
            self.assertTrue(self.problems(config), config)
        self.assertIn("invalid regex_uri((, b)", self.problems({"regex_uri": ["(", "b"]})[0][1])
        found = self.problems({"http_to_https": True, "append_query_string": True})
        self.assertEqual(
            found, [("", "only one of `http_to_https` and `append_query_string` can be configured.")]
        )
