"""Tests for gateway.plugins.client_control."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway.core.exchange import Exchange, Reply
from gateway.plugins.client_control import plugin
from gateway.testing.exchanges import exchange
from gateway.testing.plugins import bind, finish, problems


def rewrite(sent: Exchange, **config: Any) -> Reply | None:
    hook = bind(plugin, config).rewrite
    assert hook is not None
    return finish(hook(sent))


class RewriteTests(SynchronousTestCase):
    def test_announced(self) -> None:
        """Content that is announced to be too large is refused with the page of 413."""
        reply = rewrite(exchange("POST", headers=[("Content-Length", "6")]), max_body_size=5)
        assert reply is not None
        self.assertEqual((reply.status, reply.body, reply.reason), (413, None, "body_too_large"))
        self.assertIsNone(rewrite(exchange("POST", headers=[("Content-Length", "5")]), max_body_size=5))

    def test_arrived(self) -> None:
        """So is content without a length that has arrived and is."""
        self.assertIsNotNone(rewrite(exchange("POST", content=b"abcdef"), max_body_size=5))
        self.assertIsNone(rewrite(exchange("POST", content=b"abcde"), max_body_size=5))

    def test_still_to_come(self) -> None:
        """Content that is still to come is counted from then on."""
        sent = exchange("POST")
        self.assertIsNone(rewrite(sent, max_body_size=5))
        self.assertEqual(sent.max_body_bytes, 5)

    def test_no_limit(self) -> None:
        """Zero, and no setting at all, are no limit."""
        for config in ({}, {"max_body_size": 0}):
            sent = exchange("POST", headers=[("Content-Length", "6000000000")])
            self.assertIsNone(rewrite(sent, **config))
            self.assertEqual(sent.max_body_bytes, 0)


class FactoryTests(SynchronousTestCase):
    def test_settings(self) -> None:
        """The size is a whole number."""
        self.assertEqual(problems(plugin, {"max_body_size": -1}), [("/max_body_size", "minimum")])
        self.assertEqual(problems(plugin, {"max_body_size": "1m"}), [("/max_body_size", "type")])
        self.assertEqual(plugin.priority, 22000)
