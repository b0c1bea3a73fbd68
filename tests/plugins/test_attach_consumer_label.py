"""Tests for gateway.plugins.attach_consumer_label."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.core.consumers import Identity, attach
from gateway.core.exchange import Exchange
from gateway.plugins.attach_consumer_label import plugin
from gateway.testing.exchanges import consumer, exchange
from gateway.testing.plugins import bind, problems

HEADERS = {"X-Consumer-Role": "$role", "X-Dept": "$department"}


class BeforeProxyTests(SynchronousTestCase):
    def run_it(self, sent: Exchange) -> Exchange:
        hook = bind(plugin, {"headers": HEADERS}).before_proxy
        assert hook is not None
        for _ in range(2):  # Once more for a second try at a node.
            self.assertIsNone(hook(sent))
        return sent

    def test_labels(self) -> None:
        """The upstream is told labels; a header without a label is removed, whoever has sent it."""
        sent = exchange(headers=[("X-Consumer-Role", "root"), ("X-Dept", "root"), ("X-Other", "1")])
        attach(sent, Identity(consumer("jack", labels={"role": "admin\r\nX: y"}), None, None))
        fields = self.run_it(sent).fields
        self.assertEqual(fields.get_all(b"x-consumer-role"), [b"adminX: y"])
        self.assertNotIn(b"x-dept", fields)
        self.assertIn(b"x-other", fields)

    def test_nobody(self) -> None:
        """If nobody is known there are no labels, and nobody can pretend to have one."""
        self.assertEqual(self.run_it(exchange(headers=[("X-Dept", "root")])).fields.pairs, [])


class FactoryTests(SynchronousTestCase):
    def test_settings(self) -> None:
        """Labels are named with a dollar sign, headers by names of headers."""
        self.assertEqual(problems(plugin, {}), [("/headers", "required")])
        self.assertEqual(problems(plugin, {"headers": {}}), [("/headers", "minProperties")])
        self.assertEqual(problems(plugin, {"headers": {"A": "role"}}), [("/headers/A", "pattern")])
        self.assertIn("is not the name of a header", problems(plugin, {"headers": {"a b": "$r"}})[0][1])
        self.assertEqual(plugin.priority, 2399)
