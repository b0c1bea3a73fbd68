"""Tests for gateway.plugins.response_rewrite."""

from __future__ import annotations

import base64
import gzip
from typing import Any

from gateway.core.exchange import Exchange
from gateway.core.fields import Fields
from gateway.core.regex_limits import MatchTimeout
from gateway.interfaces import IBodyFilterPhase
from gateway.plugins import response_rewrite
from gateway.testing.exchanges import exchange
from tests.plugins.kit import PluginTestCase, answered
from tests.slow_regex import PATTERN, TEXT, short_limit

ABOUT = [
    (b"content-encoding", b"gzip"),
    (b"etag", b'"1"'),
    (b"last-modified", b"Tue, 14 Nov 2023 22:13:20 GMT"),
    (b"x-a", b"1"),
]


def answering(status: int = 200, *pairs: tuple[bytes, bytes]) -> Exchange:
    made = exchange("GET", "/p?x=1")
    made.status = status
    made.response_fields = Fields(pairs)
    return made


class ResponseRewriteTests(PluginTestCase):
    factory = response_rewrite.plugin

    def content(self, config: dict[str, Any], made: Exchange, *pieces: bytes) -> bytes:
        return answered(made, self.make(config), *pieces)

    def test_interfaces(self) -> None:
        """It runs after redirect; it only touches content where it is told to."""
        self.provides("response-rewrite", 899)
        self.assertFalse(IBodyFilterPhase.providedBy(self.make({"status_code": 201})))
        self.assertTrue(IBodyFilterPhase.providedBy(self.make({"body": ""})))

    def test_head(self) -> None:
        """Status and fields are replaced; lines are added, then set, then removed."""
        config = {
            "status_code": 201,
            "headers": {
                "add": ["Set-Cookie: a=b; Max-Age=5", "X-A: 2"],
                "set": {"X-B": "$arg_x-$status", "Content-Length": "9"},
                "remove": ["X-C"],
            },
        }
        made = answering(404, (b"x-a", b"1"), (b"x-c", b"1"))
        self.make(config).header_filter(made)
        self.assertEqual(made.status, 201)
        self.assertEqual(
            made.response_fields.pairs,
            [(b"x-a", b"1"), (b"set-cookie", b"a=b; Max-Age=5"), (b"x-a", b"2"), (b"x-b", b"1-201")],
        )
        made = answering()
        self.make({"headers": {"X-A": 3}}).header_filter(made)
        self.assertEqual(made.response_fields.pairs, [(b"x-a", b"3")])

    def test_set_to_nothing(self) -> None:
        """A field that is set to nothing, in either notation, is removed."""
        for headers in ({"X-A": ""}, {"set": {"X-A": "$arg_none"}}):
            made = answering(200, (b"x-a", b"1"), (b"x-b", b"2"))
            self.make({"headers": headers}).header_filter(made)
            self.assertEqual(made.response_fields.pairs, [(b"x-b", b"2")])

    def test_vars(self) -> None:
        """Only answers that the expression holds for are changed."""
        config = {"body": "new", "status_code": 200, "headers": {"X": "1"}, "vars": [["status", "==", 404]]}
        made = answering(404, *ABOUT)
        self.assertEqual(self.content(config, made, b"old"), b"new")
        self.assertEqual((made.status, made.response_fields.pairs), (200, [(b"x-a", b"1"), (b"x", b"1")]))
        made = answering(200, *ABOUT)
        self.assertEqual(self.content(config, made, b"old"), b"old")
        self.assertEqual((made.status, made.response_fields.pairs), (200, ABOUT))

    def test_body(self) -> None:
        """The content is replaced as a whole, and what was said of the old one goes."""
        made = answering(200, *ABOUT)
        self.assertEqual(self.content({"body": "new"}, made, b"a", b"b"), b"new")
        self.assertEqual(made.response_fields.pairs, [(b"x-a", b"1")])
        self.assertEqual(self.content({"body": "new"}, answering()), b"new")
        self.assertEqual(self.content({"body": ""}, answering(), b"a"), b"")
        binary = bytes(range(256))
        config = {"body": base64.b64encode(binary).decode(), "body_base64": True}
        self.assertEqual(self.content(config, answering(), b"a"), binary)

    def test_filters(self) -> None:
        """Replacements follow one another, once or everywhere, across pieces."""
        filters = [
            {"regex": "hello", "replace": "$0!"},
            {"regex": "(l+)o", "replace": "[$1]", "scope": "global"},
            {"regex": "WORLD", "replace": "w", "options": "ijo"},
        ]
        made = answering(200, (b"etag", b"1"))
        content = self.content({"filters": filters}, made, b"hel", b"lo world", b" hello")
        self.assertEqual((content, made.response_fields.pairs), (b"he[ll]! w he[ll]", []))

    def test_bytes(self) -> None:
        """Content that is no text comes through; text past ASCII is found."""
        filters = {"filters": [{"regex": "é", "replace": "ü", "scope": "global"}]}
        self.assertEqual(
            self.content(filters, answering(), b"\xff\x00" + "éa".encode()), b"\xff\x00" + "üa".encode()
        )
        dot = {"filters": [{"regex": "^.$", "replace": "x", "options": "u"}]}
        self.assertEqual(self.content(dot, answering(), "é".encode()), b"x")
        self.assertEqual(self.content(dot, answering(), b"\xff"), b"x")

    def test_coded(self) -> None:
        """Compressed content is decoded for filters and sent plain; of an unknown coding it stays."""
        config = {"filters": [{"regex": "old", "replace": "new"}]}
        data = gzip.compress(b"some old text")
        made = answering(200, *ABOUT)
        self.assertEqual(self.content(config, made, data[:9], data[9:]), b"some new text")
        self.assertEqual(made.response_fields.pairs, [(b"x-a", b"1")])
        made = answering(200, (b"content-encoding", b"br"))
        self.assertEqual(self.content(config, made, b"old"), b"old")
        self.assertEqual(made.response_fields.pairs, [(b"content-encoding", b"br")])
        self.assertIn("coded br", self.world.told[-1])

    def test_not_coded(self) -> None:
        """Content that is not in its coding stays as it is, from its beginning."""
        config = {"filters": [{"regex": "old", "replace": "new"}]}
        whole = gzip.compress(b"some old text" * 9)
        for pieces in ((b"old, and not", b" gzip at all"), (whole[:12], b"\xff" * 9, whole[12:])):
            made = answering(200, (b"content-encoding", b"gzip"))
            self.assertEqual(self.content(config, made, *pieces), b"".join(pieces))
            self.assertIn("not in its coding", self.world.told[-1])

    def test_limit(self) -> None:
        """Content beyond the limit passes as it is, whole, and nothing more is held."""
        config = {"filters": [{"regex": "a", "replace": "b", "scope": "global"}], "max_resp_body_size": 4}
        self.assertEqual(self.content(config, answering(), b"aa", b"aa"), b"bbbb")
        made = answering()
        plugin = self.make(config)
        plugin.header_filter(made)
        sent = [plugin.body_filter(made, piece, False) for piece in (b"aa", b"aaa", b"a")]
        self.assertEqual([*sent, plugin.body_filter(made, b"", True)], [b"", b"aaaaa", b"a", b""])

    def test_two_copies(self) -> None:
        """A global rule's copy and a route's do not get into each other's way."""
        made = answering()
        config = {"filters": [{"regex": "a", "replace": "b"}]}
        first, second = self.make(config, origin="global_rule/g"), self.make({"body": "aa"})
        for one in (first, second):
            one.header_filter(made)
        data = second.body_filter(made, first.body_filter(made, b"x", False), False)
        self.assertEqual(data, b"aa")
        self.assertEqual(first.body_filter(made, b"", True), b"x")

    def test_schema(self) -> None:
        """Settings that cannot work are refused."""
        for config in (
            {},
            {"status_code": 199},
            {"status_code": 599},
            {"body": "a", "filters": [{"regex": "a", "replace": "b"}]},
            {"filters": []},
            {"filters": [{"regex": "a"}]},
            {"filters": [{"regex": "a", "replace": "", "scope": "all"}]},
            {"headers": {"add": ["no colon"]}},
            {"headers": {"add": [": no name"]}},
            {"filters": [{"regex": "(", "replace": ""}]},
            {"filters": [{"regex": "a", "replace": "", "options": "Q"}]},
            {"status_code": 200, "vars": [["a", "=", "b"]]},
        ):
            self.assertTrue(self.problems(config), config)
        for headers in ({"X-A": "a\r\nb"}, {"set": {"X-A": "\n"}}, {"add": ["X-A: a\nb"]}):
            self.assertEqual(self.problems({"headers": headers}), [("", "invalid value character in header")])
        for config in ({"body": "?", "body_base64": True}, {"body": "", "body_base64": True}):
            self.assertEqual(self.problems(config), [("", "invalid base64 content")])

    def test_slow_filters(self) -> None:
        """Content that a filter takes too long for is not let out unchanged."""
        short_limit(self)
        config = {"filters": [{"regex": PATTERN, "replace": ""}]}
        self.assertRaises(MatchTimeout, self.content, config, answering(), TEXT.encode())
