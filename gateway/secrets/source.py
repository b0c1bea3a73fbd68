"""
What secret references stand for in one process: fetched when configuration that has them is written or
loaded, kept, and fetched again from time to time.

Compiling configuration waits for nothing, so it is told beforehand what is about to be compiled (``foresee``)
and afterwards what is served (``follow``); meanwhile ``value`` answers at once. When a value has changed,
``on_change`` is told, and whatever holds the reference is compiled anew.

Source: data-plane contract §18.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, DeferredSemaphore, gatherResults
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from gateway.core.secrets import ManagedSecret, UnresolvedReference, managed_references, resolve
from gateway.model.record import Change, Key
from gateway.secrets.aws import aws
from gateway.secrets.gcp import gcp
from gateway.secrets.managers import Asking, Fetch, FetchFailed, ManagerSilent, vault

FETCHERS: Mapping[str, Fetch] = {"vault": vault, "aws": aws, "gcp": gcp}
"""By the manager's name."""

KIND = "secret"
"""The kind of records that say how a manager is asked."""
Providers = Mapping[str, Mapping[str, Any]]
"""``<manager>/<id>`` → how it is asked."""
_AT_ONCE = 10
"""Calls to one manager at a time."""

log = Logger()


@frozen
class SecretLimits:
    """
    Attributes:
        ttl_s: How long a value is used before it is asked for again. failure_ttl_s: The same for a failure.
    """

    ttl_s: float = 300
    failure_ttl_s: float = 60


@define
class _Entry:
    """
    What is known of a reference.

    Attributes:
        text: What it stands for, or None. why: Why it was not to be had last; empty if it was.
        due_s: When it is asked for again, by the clock.
    """

    text: str | None = field(repr=False)
    why: str
    due_s: float


class SecretSource:
    """
    Attributes:
        on_change: Told of references whose values have changed while what holds them is served.
    """

    def __init__(
        self,
        asking: Asking,
        clock: Any,
        group: str,
        environ: Mapping[str, str],
        limits: SecretLimits | None = None,
        fetchers: Mapping[str, Fetch] = FETCHERS,
    ) -> None:
        """
        Args:
            clock: Provides ``IReactorTime``. group: The gateway group whose configuration counts.
            environ: Where ``$env://`` references in settings of managers are looked up.
        """
        self._asking = asking
        self._clock = clock
        self._group = group
        self._environ = environ
        self._limits = limits or SecretLimits()
        self._fetchers = fetchers
        self._providers: dict[str, Mapping[str, Any]] = {}
        self._entries: dict[str, _Entry] = {}
        self._holders: dict[Key, tuple[Change, frozenset[str]]] = {}
        self._timer: IDelayedCall | None = None
        self._closed = False
        self.on_change: Callable[[Collection[str]], Awaitable[object]] = _nobody

    def value(self, reference: str) -> str:
        """What a reference stands for (``gateway.core.secrets.Secrets``)."""
        entry = self._entries.get(reference)
        if entry is None or entry.text is None:
            raise UnresolvedReference(f"{reference}: {'not asked for yet' if entry is None else entry.why}")
        return entry.text

    async def foresee(self, changes: Sequence[Change]) -> list[Change]:
        """
        Fetch what is about to be compiled and not known yet, or known by other settings of its manager.

        Returns:
            What is served already and has to be compiled anew beside *changes*, as it is.
        """
        ours = [change for change in changes if change.group == self._group]
        asked = {ref for change in ours for ref in managed_references(change.value)}
        managers = {change.id: change.value for change in ours if change.kind == KIND}
        if not asked and not managers:
            return []
        now = self._clock.seconds()
        wanted = {ref for ref in asked if ref not in self._entries or self._entries[ref].due_s <= now}
        wanted.update(ref for ref in self._entries if _provider(ref) in managers)
        providers = {**self._providers, **managers}
        changed = await self._fetch(
            wanted, {id: value for id, value in providers.items() if value is not None}
        )
        own = {change.key for change in changes}
        return [change for change in self.holding(changed) if change.key not in own]

    def follow(self, changes: Iterable[Change]) -> None:
        """Take note of *changes*, which are served now."""
        for change in changes:
            if change.group != self._group:
                continue
            if change.kind == KIND:
                self._providers.pop(change.id, None)
                if change.value is not None:
                    self._providers[change.id] = change.value
            self._holders.pop(change.key, None)
            references = frozenset(managed_references(change.value))
            if references and change.kind != KIND:
                self._holders[change.key] = (change, references)
        self._arm()

    def holding(self, references: Collection[str]) -> list[Change]:
        """What is served and holds one of *references*."""
        return [change for change, held in self._holders.values() if not held.isdisjoint(references)]

    def close(self) -> None:
        """Ask for nothing any more."""
        self._closed = True
        self._disarm()

    # -- asking

    async def _fetch(
        self, references: Collection[str], providers: Mapping[str, Mapping[str, Any]]
    ) -> set[str]:
        """Ask for *references*. Returns those whose values are others now."""
        gates: dict[str, DeferredSemaphore] = {}
        silent: dict[str, str] = {}
        changed: set[str] = set()

        async def one(reference: str) -> None:
            provider = _provider(reference) or ""
            try:
                if provider in silent:
                    raise FetchFailed(silent[provider])
                text = await self._ask(reference, providers)
            except (FetchFailed, UnresolvedReference) as error:
                # A manager that does not answer is not waited for once for each of its secrets.
                if isinstance(error, ManagerSilent):
                    silent[provider] = str(error)
                if self._failed(reference, str(error), keep=provider in providers):
                    changed.add(reference)
                return
            known = self._entries.get(reference)
            if known is None or known.text != text:
                changed.add(reference)
            self._entries[reference] = _Entry(text, "", self._clock.seconds() + self._limits.ttl_s)

        waiting = [
            gates.setdefault(_provider(ref) or "", DeferredSemaphore(_AT_ONCE)).run(one, ref)
            for ref in sorted(references)
        ]
        await gatherResults(waiting, consumeErrors=True)
        return changed

    async def _ask(self, reference: str, providers: Providers) -> str:
        secret = ManagedSecret.parse(reference)
        settings = providers.get(secret.provider)
        if settings is None:
            raise FetchFailed(f"there is no secret provider {secret.provider}")
        fetch = self._fetchers.get(secret.manager)
        if fetch is None:
            raise FetchFailed(f"secrets of {secret.manager} cannot be fetched yet")
        try:
            return await fetch(resolve(settings, self._environ), secret.path, self._asking)
        except (FetchFailed, UnresolvedReference):
            raise
        except Exception as error:
            log.failure("a secret could not be fetched: {reference}", reference=reference)
            raise FetchFailed(f"it cannot be fetched: {type(error).__name__}") from None

    def _failed(self, reference: str, why: str, *, keep: bool) -> bool:
        """Remember a failure; what was known stays in use if *keep*. Returns whether the value is another."""
        known = self._entries.get(reference)
        text = known.text if known is not None and keep else None
        if known is None or known.why != why:
            log.warn(
                "{reference} is not to be had: {why}{kept}",
                reference=reference,
                why=why,
                kept="" if text is None else "; the last value stays in use",
            )
        self._entries[reference] = _Entry(text, why, self._clock.seconds() + self._limits.failure_ttl_s)
        return known is None or known.text != text

    # -- from time to time

    def _arm(self) -> None:
        self._disarm()
        if self._closed or not self._holders or not self._entries:
            return
        first = min(entry.due_s for entry in self._entries.values())
        self._timer = self._clock.callLater(
            max(first - self._clock.seconds(), 0.0), lambda: Deferred.fromCoroutine(self._again())
        )

    def _disarm(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    async def _again(self) -> None:
        self._timer = None
        held: set[str] = set().union(*(references for _, references in self._holders.values()))
        for reference in self._entries.keys() - held:
            del self._entries[reference]
        now = self._clock.seconds()
        due = [reference for reference, entry in self._entries.items() if entry.due_s <= now]
        try:
            changed = await self._fetch(due, self._providers)
            if changed and not self._closed:
                await self.on_change(changed)
        except Exception:
            log.failure("secrets could not be brought up to date")
        self._arm()


async def _nobody(references: Collection[str]) -> None:
    """Nothing is served yet."""


def _provider(reference: str) -> str | None:
    try:
        return ManagedSecret.parse(reference).provider
    except UnresolvedReference:
        return None
