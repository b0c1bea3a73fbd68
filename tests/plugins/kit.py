"""What tests of plugins share: services that remember what they were asked, and hooks run to their end."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from gateway.core.exchange import ContentTooLarge, Exchange, Reply
from gateway.interfaces import IPluginFactory, PluginServices
from gateway.registry import PluginRegistry


class Source:
    """The content of a request that is there already."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    @property
    def received(self) -> int:
        return len(self.content)

    def gather(self, max_bytes: int) -> Awaitable[bytes]:
        if len(self.content) > max_bytes:
            raise ContentTooLarge(max_bytes, len(self.content))
        return succeed(self.content)


class World:
    """
    Time, chance and a log for plugins.

    Attributes:
        chance: What the next calls of ``random`` give. slept: Seconds that were waited for.
        told: What was logged.
    """

    def __init__(self, chance: float = 0.0) -> None:
        self.chance = chance
        self.slept: list[float] = []
        self.told: list[str] = []

    def time(self) -> float:
        return 1_700_000_000.0

    monotonic = time

    def warn(self, format: str, **fields: object) -> None:
        self.told.append(format.format(**fields))

    error = warn

    def sleep(self, seconds: float) -> Deferred[None]:
        self.slept.append(seconds)
        return succeed(None)

    def services(self, **more: Any) -> PluginServices:
        made = PluginServices(
            self,
            self,
            origin="route/r1",
            sleep=self.sleep,
            random=lambda: self.chance,
            in_thread=maybeDeferred,
        )
        return evolve(made, **more)


class PluginTestCase(SynchronousTestCase):
    """Tests of one plugin, ``factory``."""

    factory: Any

    def setUp(self) -> None:
        self.world = World()

    def make(self, config: Mapping[str, Any], **services: Any) -> Any:
        """An instance for settings that are fine."""
        self.assertEqual(self.problems(config), [])
        return self.factory.make(config, self.world.services(**services))

    def problems(self, config: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Where and which rule; messages for rules of the plugin's own."""
        found = PluginRegistry([(self.factory, "tests")]).check(self.factory.name, config)
        return [(p.pointer, p.message if p.rule == "value" else p.rule) for p in found]

    def run_hook(self, verdict: Any) -> Reply | None:
        """The verdict of a hook, waited for if need be."""
        if verdict is None or isinstance(verdict, Reply):
            return verdict
        reply: Reply | None = self.successResultOf(Deferred.fromCoroutine(verdict))
        return reply

    def provides(self, name: str, priority: int) -> None:
        """The factory is what it should be."""
        self.assertTrue(verifyObject(IPluginFactory, self.factory))
        self.assertEqual((self.factory.name, self.factory.priority), (name, priority))


def answered(exchange: Exchange, instance: Any, *pieces: bytes) -> bytes:
    """Send an answer through an instance's header and body filter; returns the content."""
    instance.header_filter(exchange)
    if not hasattr(instance, "body_filter"):
        return b"".join(pieces)
    sent = [instance.body_filter(exchange, piece, False) for piece in pieces]
    return b"".join([*sent, instance.body_filter(exchange, b"", True)])
