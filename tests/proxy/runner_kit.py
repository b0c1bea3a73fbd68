"""A runner whose plugins, clock, client and upstream are the test's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gateway.core.chain import BoundPlugin
from gateway.core.compiler import Compiler
from gateway.core.exchange import Exchange
from gateway.core.merge import PluginUse
from gateway.model.record import Change
from gateway.proxy.limits import ProxyLimits
from tests.core.configs import FakePlugins, change, records, route, service
from tests.proxy.fakes import InMemoryGateway


class TestClock(Clock):
    """A clock a test moves; plugins and the runner read it."""

    __test__ = False

    def time(self) -> float:
        return 1_700_000_000.0 + self.seconds()

    def monotonic(self) -> float:
        return self.seconds()


class ScriptedPlugins(FakePlugins):
    """Plugins whose hooks are functions of the test, by plugin name."""

    hooks: dict[str, dict[str, Any]]

    def bind(self, use: PluginUse, *_: object) -> BoundPlugin:
        if use.name in self.hooks:
            return BoundPlugin(use, use.config.get("priority", 0), False, False, **self.hooks[use.name])
        return super().bind(use)


class RunnerTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = TestClock()
        self.plugins = ScriptedPlugins()
        self.plugins.hooks = {}
        self.seen: list[str] = []

    def gateway(self, *changes: Change, limits: ProxyLimits | None = None) -> InMemoryGateway:
        snapshot = Compiler(self.plugins, "default").load(records(*changes), 1)
        self.assertEqual(snapshot.quarantined, {})
        return InMemoryGateway(snapshot, self.clock, limits or ProxyLimits())

    def simple(self, nodes: int = 1, **upstream: Any) -> InMemoryGateway:
        some = [{"host": "127.0.0.1", "port": 8000 + n, "weight": 1} for n in range(nodes)]
        return self.gateway(service("s", upstream={"nodes": some, **upstream}), route("r", "/x"))

    def note(self, name: str) -> Callable[[Exchange], None]:
        def hook(exchange: Exchange) -> None:
            self.seen.append(name)

        return hook

    def outcome(self, gateway: InMemoryGateway) -> tuple[int, str, str]:
        (exchange,) = gateway.ended
        assert exchange.outcome is not None
        return exchange.outcome.status, exchange.outcome.decided_by, exchange.outcome.reason

    def with_hooks(self, **plugins: dict[str, Any]) -> InMemoryGateway:
        self.plugins.hooks = {name: hooks for name, hooks in plugins.items() if name != "general"}
        general = plugins.get("general")
        changes = [service("s"), route("r", "/x", plugins={name: {} for name in self.plugins.hooks})]
        if general is not None:
            self.plugins.hooks["general"] = general
            changes.append(change("global_rule", "general", {"plugins": {"general": {}}}))
        return self.gateway(*changes)
