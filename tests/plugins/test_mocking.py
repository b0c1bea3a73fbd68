"""Tests for gateway.plugins.mocking."""

from __future__ import annotations

import json
from typing import Any

from gateway import __version__
from gateway.core.exchange import Reply
from gateway.plugins import mocking
from gateway.testing.exchanges import exchange
from tests.plugins.kit import PluginTestCase
from tests.plugins.limits_kit import explained

SCHEMA = {"type": "object", "properties": {"name": {"type": "string", "example": "Jack"}}}


class MockingTests(PluginTestCase):
    factory = mocking.plugin

    def answer(self, config: dict[str, Any], target: str = "/") -> Reply:
        reply = self.run_hook(self.make(config).access(exchange("GET", target)))
        assert reply is not None
        return reply

    def test_interfaces(self) -> None:
        """It answers in access, so that authentication comes first."""
        self.provides("mocking", 10900)

    def test_example(self) -> None:
        """The example is the answer, variables in it; a field tells that it is made up."""
        reply = self.answer({"response_example": '{"a":"$arg_a"}'}, "/?a=1")
        self.assertEqual((reply.status, reply.body, reply.reason), (200, b'{"a":"1"}', "mocked"))
        mark = (b"x-mock-by", f"APISIX/{__version__}".encode())
        self.assertEqual(reply.fields, ((b"content-type", b"application/json;charset=utf8"), mark))

    def test_settings(self) -> None:
        """Status, type and fields are those of the settings; the mark can be left out."""
        reply = self.answer(
            {
                "response_example": "x",
                "response_status": 201,
                "content_type": "text/plain",
                "with_mock_header": False,
                "response_headers": {"X-A": "$arg_a", "X-N": 5, "Content-Type": "no"},
            },
            "/?a=1",
        )
        self.assertEqual(reply.status, 201)
        self.assertEqual(reply.fields, ((b"content-type", b"text/plain"), (b"x-a", b"1"), (b"x-n", b"5")))

    def test_schema_content(self) -> None:
        """A schema gives a document of made-up values, as JSON or XML."""
        self.assertEqual(self.answer({"response_schema": SCHEMA}).body, b'{"name":"Jack"}')
        reply = self.answer({"response_schema": SCHEMA, "content_type": "application/xml"})
        self.assertEqual(reply.body, b"<data><name>Jack</name></data>")
        reply = self.answer({"response_schema": {"type": "string"}, "content_type": "text/plain"})
        self.assertEqual(reply.body, b"a")
        found = json.loads(self.answer({"response_schema": {"type": "array", "items": SCHEMA}}).body or b"")
        self.assertEqual(found, [{"name": "Jack"}])

    def test_delay(self) -> None:
        """The answer may come late."""
        self.answer({"response_example": "x", "delay": 2})
        self.assertEqual(self.world.slept, [2.0])

    def test_refusals(self) -> None:
        """Settings that cannot work are refused."""
        for config in ({}, {"response_example": 5}, {"response_example": "x", "response_status": 99}):
            self.assertTrue(self.problems(config), config)
        found = self.problems({"response_example": "x", "content_type": "image/png"})
        self.assertEqual(found, [("", "unsupported content type!")])
        self.assertTrue(self.problems({"response_example": "x", "response_status": 101}))

    def test_explained(self) -> None:
        """The answer is told without the wait for it."""
        found = explained(
            self.make({"response_example": "{}", "response_status": 201, "delay": 5}), exchange()
        )
        assert found.reply is not None
        self.assertEqual((found.reply.status, found.words), (201, "the answer comes after 5 s"))
        self.assertEqual(
            explained(self.make({"response_example": "{}"}), exchange()).words, "the answer is made up"
        )
        self.assertEqual(self.world.slept, [])
