"""Services for tests of plugins: time that stands still, calls that the test answers, a log that is kept."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed

from gateway.core.fields import Pair
from gateway.interfaces import USUAL_KEEP, HttpAnswer, HttpCallFailed, KeepAlive, PluginServices


@define
class FakeClock:
    """
    Time that passes only when told to.

    Attributes:
        now: Unix time in seconds; ``monotonic`` counts from the same moment.
    """

    now: float = 1_700_000_000.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


@define
class FakeLog:
    """
    A log that keeps its events.

    Attributes:
        events: Level and text, in order.
    """

    events: list[tuple[str, str]] = field(factory=list)

    def warn(self, format: str, **fields: object) -> None:
        self.events.append(("warn", format.format(**fields)))

    def error(self, format: str, **fields: object) -> None:
        self.events.append(("error", format.format(**fields)))


@frozen
class Call:
    """A call that a plugin made; the members are the arguments of ``HttpCalls.request``."""

    method: str
    url: str
    fields: tuple[Pair, ...]
    content: bytes | None
    timeout_s: float
    verify: bool
    max_bytes: int
    keep: KeepAlive = USUAL_KEEP

    def field(self, name: bytes) -> bytes | None:
        """The first value of a request field, by its lower-case name."""
        return next((value for held, value in self.fields if held == name), None)


@define
class FakeHttp:
    """
    ``HttpCalls`` that keeps every call and gives the answers it was told, one after the other.

    Attributes:
        answers: What comes next: an answer, or the exception to fail with. When none is left, calls fail as
            if nobody listened.
        calls: What was called, in order.
    """

    answers: list[HttpAnswer | HttpCallFailed] = field(factory=list)
    calls: list[Call] = field(factory=list)

    def request(
        self,
        method: str,
        url: str,
        *,
        fields: Sequence[Pair] = (),
        content: bytes | None = None,
        timeout_s: float = 3.0,
        verify: bool = True,
        max_bytes: int = 1 << 20,
        keep: KeepAlive = USUAL_KEEP,
    ) -> Deferred[HttpAnswer]:
        self.calls.append(Call(method, url, tuple(fields), content, timeout_s, verify, max_bytes, keep))
        answer = self.answers.pop(0) if self.answers else HttpCallFailed(f"{method} {url}: refused")
        return fail(answer) if isinstance(answer, Exception) else succeed(answer)


def services(
    *,
    clock: FakeClock | None = None,
    log: FakeLog | None = None,
    http: FakeHttp | None = None,
    chance: Callable[[], float] = lambda: 0.5,
    settings: Mapping[str, str] | None = None,
    metadata: Mapping[str, Any] | None = None,
    origin: str = "route/test",
) -> PluginServices:
    """
    What a plugin is given, in tests. ``sleep`` returns at once and lets the clock advance; ``spawn`` runs the
    coroutine as far as it comes; ``in_thread`` runs the function at once.

    Args:
        chance: What ``services.random`` returns.
    """
    time = clock or FakeClock()

    def sleep(seconds: float) -> Deferred[None]:
        time.advance(seconds)
        return succeed(None)

    def spawn(work: Coroutine[Any, Any, Any]) -> None:
        Deferred.fromCoroutine(work)

    return PluginServices(
        time,
        FakeLog() if log is None else log,
        origin=origin,
        settings=settings or {},
        metadata=metadata or {},
        http=FakeHttp() if http is None else http,
        sleep=sleep,
        spawn=spawn,
        in_thread=maybeDeferred,
        random=chance,
    )
