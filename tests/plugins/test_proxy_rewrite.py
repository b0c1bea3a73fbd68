"""Tests for gateway.plugins.proxy_rewrite."""

from __future__ import annotations

from typing import Any

from gateway.core.exchange import Exchange
from gateway.plugins import proxy_rewrite
from gateway.testing.exchanges import exchange
from tests.plugins.kit import PluginTestCase


class ProxyRewriteTests(PluginTestCase):
    factory = proxy_rewrite.plugin

    def rewritten(
        self, config: dict[str, Any], target: str = "/a/b?x=1", headers: Any = (), path: str | None = None
    ) -> Exchange:
        sent = exchange("GET", target, [("Host", "shop.example:80"), *headers], path=path)
        self.assertIsNone(self.make(config).rewrite(sent))
        return sent

    def target(self, config: dict[str, Any], target: str, path: str | None = None) -> bytes:
        return self.rewritten(config, target, path=path).target

    def test_interfaces(self) -> None:
        """It runs before the rate limits, in rewrite."""
        self.provides("proxy-rewrite", 1008)

    def test_uri(self) -> None:
        """The path is replaced, and the query goes along."""
        self.assertEqual(self.target({"uri": "/new"}, "/a?x=%201"), b"/new?x=%201")
        self.assertEqual(self.target({"uri": "/new?y=2"}, "/a?x=1"), b"/new?y=2&x=1")
        self.assertEqual(self.target({"uri": "/new?y=2"}, "/a"), b"/new?y=2")

    def test_uri_variables(self) -> None:
        """Variables stand in it, with defaults; what they hold is escaped."""
        self.assertEqual(self.target({"uri": "/$arg_x/${arg_y ?? none}"}, "/a?x=1"), b"/1/none?x=1")
        self.assertEqual(
            self.target({"uri": "/p/$arg_x"}, "/a?x=a%20b%3Fc%23%0D%0A"),
            b"/p/a%20b%3Fc%23%0D%0A?x=a%20b%3Fc%23%0D%0A",
        )
        self.assertEqual(self.target({"uri": "/x$uri"}, "/caf%C3%A9", "/café"), b"/x/caf%C3%A9")

    def test_encoded_question_mark(self) -> None:
        """A question mark that came encoded stays in the path."""
        self.assertEqual(self.target({"uri": "/p$uri"}, "/a%3Fb?x", "/a?b"), b"/p/a%3Fb?x")
        config = {"regex_uri": ["^/a(.*)", "/n$1"]}
        self.assertEqual(self.target(config, "/a%3Fb?x", "/a?b"), b"/n%3Fb?x")

    def test_regex(self) -> None:
        """The first pattern that matches counts; captures stand in what takes its place."""
        config = {"regex_uri": ["^/x/(.*)", "/y/$1", "^/(a)/(b)$", "/$2/$1?from=regex"]}
        self.assertEqual(self.target(config, "/x/1/2"), b"/y/1/2")
        self.assertEqual(self.target(config, "/a/b?q=1"), b"/b/a?from=regex&q=1")
        self.assertEqual(self.target(config, "/none?q=1"), b"/none?q=1")
        self.assertEqual(self.target({"regex_uri": ["^/", ""]}, "/abc"), b"/abc")

    def test_uri_before_regex(self) -> None:
        """With both, uri wins."""
        self.assertEqual(self.target({"uri": "/u", "regex_uri": ["^/", "/r"]}, "/a"), b"/u")

    def test_unchanged_target(self) -> None:
        """Settings that do not speak of the target leave it byte for byte."""
        self.assertEqual(self.target({"method": "POST"}, "//a/%7e/../b%2Fc", "/b/c"), b"//a/%7e/../b%2Fc")

    def test_raw(self) -> None:
        """On request it starts from the target as it was sent, and does not escape what comes out."""
        raw = {"use_real_request_uri_unsafe": True}
        self.assertEqual(self.target(raw, "/a%2Fb//c?x=%7e", "/a/b/c"), b"/a%2Fb//c?x=%7e")
        config = {**raw, "regex_uri": ["^/a(.*)", "/z$1"]}
        self.assertEqual(self.target(config, "/a%2Fb?x=%7e", "/a/b"), b"/z%2Fb?x=%7e")
        self.assertEqual(self.target({**raw, "uri": "/u"}, "/a?x"), b"/u")
        self.assertEqual(self.target({**raw, "uri": "/u%2Fv w?y=%7e"}, "/a?x"), b"/u%2Fv%20w?y=%7e")
        self.assertEqual(self.target({**raw, "uri": "/$arg_x"}, "/a?x=%3F%0A"), b"/%3F%0A")
        self.assertEqual(self.target({**raw, "regex_uri": ["^/q", "/"]}, "/a?x"), b"/a?x")

    def test_stripped_prefix(self) -> None:
        """Where the service's prefix was cut off, patterns see the path without it."""
        sent = exchange("GET", "/api/v1/x?q=1")
        sent.target = b"/v1/x?q=1"
        self.make({"regex_uri": ["^/v1/(.*)", "/v2/$1"]}).rewrite(sent)
        self.assertEqual(sent.target, b"/v2/x?q=1")

    def test_method_and_host(self) -> None:
        """Method and Host are what the upstream gets."""
        sent = self.rewritten({"method": "POST", "host": "other.example:8080"})
        self.assertEqual((sent.method, sent.upstream_host), (b"POST", b"other.example:8080"))
        sent = self.rewritten({"headers": {"set": {"Host": "$arg_x.example"}}})
        self.assertEqual((sent.upstream_host, sent.fields.get(b"host")), (b"1.example", b"shop.example:80"))

    def test_headers(self) -> None:
        """Fields are added, set and removed; captures of the pattern stand in their values."""
        config = {
            "regex_uri": ["^/(a)/(b)", "/n"],
            "headers": {
                "add": {"X-A": ["1", 2]},
                "set": {"X-B": "$1x-${2}-$arg_x", "X-C": "c"},
                "remove": ["X-D"],
            },
        }
        sent = self.rewritten(config, headers=[("X-A", "0"), ("X-B", "old"), ("X-D", "d")])
        self.assertEqual(
            sent.fields.pairs[1:],
            [(b"x-a", b"0"), (b"x-a", b"1"), (b"x-a", b"2"), (b"x-b", b"ax-b-1"), (b"x-c", b"c")],
        )
        for value in ("$1", "", ["", "$arg_none"]):
            for headers in ({"X-B": value}, {"set": {"X-B": value}}):
                sent = self.rewritten({"headers": headers}, headers=[("X-B", "old")])
                self.assertIsNone(sent.fields.get(b"x-b"))

    def test_cookies(self) -> None:
        """A cookie field that was changed is read anew."""
        sent = exchange(headers=[("Cookie", "a=1")])
        self.assertEqual(sent.cookies(), {"a": "1"})
        self.make({"headers": {"set": {"Cookie": "a=2"}}}).rewrite(sent)
        self.assertEqual(sent.cookies(), {"a": "2"})

    def test_schema(self) -> None:
        """Settings that cannot work are refused, each with its place."""
        for config, place in (
            ({}, ""),
            ({"uri": "no-slash"}, "/uri"),
            ({"uri": ""}, "/uri"),
            ({"method": "get"}, "/method"),
            ({"method": "CONNECT"}, "/method"),
            ({"host": "a b"}, "/host"),
            ({"host": "a:b"}, "/host"),
            ({"regex_uri": ["^/"]}, "/regex_uri"),
            ({"headers": {}}, "/headers"),
            ({"headers": {"set": {"a": True}}}, "/headers"),
        ):
            found = self.problems(config)
            self.assertTrue(found, config)
            self.assertEqual({p[0] for p in found} - {place, "/host", "/uri", "/headers"}, set(), config)
        self.assertEqual(
            self.problems({"regex_uri": ["^/", "/", "x"]}),
            [("", "The length of regex_uri should be an even number")],
        )
        for headers in ({"X-A": "a\r\nb"}, {"set": {"X-A": ["a", "\n"]}}, {"add": {"X-A": "\0"}}):
            self.assertEqual(
                self.problems({"headers": headers}), [("", "invalid value character in header")], headers
            )
        self.assertIn("invalid regex_uri((, /)", self.problems({"regex_uri": ["(", "/"]})[0][1])
        self.assertIn("invalid field", self.problems({"headers": {"set": {"a b": "1"}}})[0][1])
