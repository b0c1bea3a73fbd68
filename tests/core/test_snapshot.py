"""A consumer's plugins laid over a route's."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.core import snapshot as module
from gateway.core.compiler import Compiler
from gateway.core.snapshot import ConsumerChain, Snapshot
from tests.core.configs import FakePlugins, change, records, route, service


class ConsumerChainTests(SynchronousTestCase):
    def snapshot(self, **plugins: object) -> Snapshot:
        changes = [
            service("s"),
            route("r", "/x", plugins={"tag": {"value": "route"}}),
            change("consumer", "jack", {"username": "jack", "plugins": plugins}),
        ]
        return Compiler(FakePlugins(), "default").load(records(*changes), 1)

    def chain(self, snapshot: Snapshot) -> ConsumerChain:
        return snapshot.consumer_chain(snapshot.routes["r"], snapshot.consumers["jack"])

    def test_the_consumer_wins(self) -> None:
        """The consumer's copy of a plugin replaces the route's, but its rewrite does not run again."""
        got = self.chain(self.snapshot(tag={"value": "consumer"}))
        self.assertEqual([plugin.use.origin for plugin in got.chain.plugins], ["consumer/jack"])
        self.assertEqual(got.rewrite, ())

    def test_added_plugins_rewrite(self) -> None:
        """A plugin that only the consumer has runs its rewrite too."""
        got = self.chain(self.snapshot(other={"value": 1}))
        self.assertEqual([plugin.name for plugin in got.chain.plugins], ["other", "tag"])
        self.assertEqual([name for name, _ in got.rewrite], ["other"])

    def test_nobody_authenticates_twice(self) -> None:
        """A plugin that authenticates does not where it comes with a consumer: that has been done."""
        changes = [
            service("s"),
            route("r", "/x"),
            change("consumer_group", "g", {"plugins": {"auth": {"value": 1}, "other": {"value": 1}}}),
            change("consumer", "jack", {"username": "jack", "group_id": "g"}),
        ]
        got = self.chain(Compiler(FakePlugins(), "default").load(records(*changes), 1))
        self.assertEqual([plugin.name for plugin in got.chain.plugins], ["auth", "other"])
        self.assertEqual([name for name, _ in got.rewrite], ["other"])

    def test_remembered(self) -> None:
        """The second request of the same consumer on the same route finds the chain made."""
        snapshot = self.snapshot(other={"value": 1})
        self.assertIs(self.chain(snapshot), self.chain(snapshot))

    def test_bounded(self) -> None:
        """The memory of chains does not grow without end."""
        self.patch(module, "CONSUMER_CHAIN_LIMIT", 1)
        snapshot = self.snapshot(other={"value": 1})
        self.chain(snapshot)
        self.chain(snapshot)
        self.assertEqual(len(snapshot._consumer_chains), 1)
