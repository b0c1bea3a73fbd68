"""What the tests of the plugins that limit share."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import Deferred

from gateway.core.exchange import Exchange, Reply
from gateway.core.explanation import Explanation
from gateway.interfaces import PluginServices
from gateway.testing.counters import FakeCounters
from gateway.testing.plugins import finish


@define
class World:
    """
    Services for a plugin, all in the test's hands.

    Attributes:
        counters: The counters; their clock is the plugin's, too.
        slept: How long hooks wanted to wait, in seconds. Waits last until ``wake``.
        lag: Whether the counters answer in time instead of at once.
    """

    counters: FakeCounters = field(factory=FakeCounters)
    slept: list[float] = field(factory=list)
    waiting: list[Deferred[None]] = field(factory=list)
    answers: list[Deferred[Any]] = field(factory=list)
    lag: bool = False

    def time(self) -> float:
        return self.counters.now

    monotonic = time

    def warn(self, format: str, **fields: object) -> None:
        raise AssertionError(format)

    error = warn

    def sleep(self, seconds: float) -> Deferred[None]:
        self.slept.append(seconds)
        self.waiting.append(Deferred())
        return self.waiting[-1]

    def services(self, origin: str = "route/r1", **more: Any) -> PluginServices:
        counters: Any = (lambda settings: Lagging(self)) if self.lag else self.counters
        made = PluginServices(
            self, self, origin=origin, counters=counters, breakers=self.counters, sleep=self.sleep
        )
        return evolve(made, **more)


@define
class Lagging:
    """The counters, behind a line that the test holds back."""

    world: World

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.world.counters, name)

        def ask(*args: Any) -> Any:
            if name == "leave":
                return found(*args)
            answer: Deferred[Any] = Deferred()
            self.world.answers.append(answer)
            try:
                result = found(*args)
            except Exception as error:
                result = error
            waiting: Deferred[Any] = Deferred()
            answer.addCallback(
                lambda _: (
                    waiting.errback(result) if isinstance(result, Exception) else waiting.callback(result)
                )
            )
            return waiting

        return ask


def outcome(verdict: Any) -> Any:
    """What a hook said: None, a Reply, or the Deferred of one that waits."""
    return Deferred.fromCoroutine(verdict) if isinstance(verdict, Awaitable) else verdict


def access(plugin: Any, exchange: Exchange) -> Reply | None:
    """The verdict of a hook that does not wait."""
    verdict = plugin.access(exchange)
    assert verdict is None or isinstance(verdict, Reply), verdict
    return verdict


def headers(exchange: Exchange) -> dict[str, str]:
    """The fields of an answer, with what plugins have added before there was one."""
    return {name.decode(): value.decode() for name, value in exchange.response_fields}


def explained(plugin: Any, exchange: Exchange, phase: str = "access") -> Explanation:
    """What a plugin says that it would do, where it need not wait for that."""
    said = plugin.explain(exchange, phase)
    found = said if isinstance(said, Explanation) else finish(said)
    assert isinstance(found, Explanation), found
    return found
