"""Tests for gateway.plugins.echo."""

from __future__ import annotations

from typing import Any

from gateway.core.exchange import Exchange
from gateway.core.fields import Fields
from gateway.plugins import echo
from gateway.testing.exchanges import exchange
from tests.plugins.kit import PluginTestCase, answered


def answering(*pairs: tuple[bytes, bytes]) -> Exchange:
    made = exchange("GET", "/p")
    made.status, made.response_fields = 200, Fields(pairs)
    return made


class EchoTests(PluginTestCase):
    factory = echo.plugin

    def content(self, config: dict[str, Any], made: Exchange) -> bytes:
        return answered(made, self.make(config), b"con", b"tent")

    def test_interfaces(self) -> None:
        """It runs among the last."""
        self.provides("echo", 412)

    def test_texts(self) -> None:
        """Texts stand before, after, and in the place of the content."""
        for config, wanted in (
            ({"before_body": "<"}, b"<content"),
            ({"after_body": ">"}, b"content>"),
            ({"body": "new"}, b"new"),
            ({"before_body": "<", "body": "é", "after_body": ">"}, "<é>".encode()),
            ({"body": ""}, b""),
        ):
            self.assertEqual(self.content(config, answering()), wanted)

    def test_fields(self) -> None:
        """Fields are set, and what was said of the old content goes."""
        made = answering((b"etag", b"1"), (b"x", b"0"), (b"y", b"1"))
        self.content({"body": "new", "headers": {"X": "$uri", "Content-Length": 5}}, made)
        self.assertEqual(made.response_fields.pairs, [(b"y", b"1"), (b"x", b"/p")])

    def test_coded(self) -> None:
        """Beside coded content a text would be damage; it can only be replaced."""
        coding = (b"content-encoding", b"gzip")
        made = answering(coding)
        self.assertEqual(self.content({"before_body": "<", "headers": {"X": "1"}}, made), b"content")
        self.assertEqual(made.response_fields.pairs, [coding, (b"x", b"1")])
        made = answering(coding)
        self.assertEqual(self.content({"body": "new"}, made), b"new")
        self.assertEqual(made.response_fields.pairs, [])

    def test_schema(self) -> None:
        """Settings that cannot work are refused."""
        for bad in ({}, {"headers": {"X": "1"}}, {"body": 5}, {"body": "x", "headers": {"a b": "1"}}):
            self.assertTrue(self.problems(bad), bad)
