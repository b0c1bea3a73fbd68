"""Names of nodes to addresses, remembered for a while.

The system's own resolver answers (hosts file, search domains, whatever the machine is set up to
use), but it tells no lifetime and keeps a thread busy for each question. So answers are kept for a set
time, a name is asked for once however many wait, and a failure leaves the last good answer in use.
Nothing is asked for unless somebody wants to connect.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, evolve, field
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress, IHostnameResolver, IHostResolution, IResolutionReceiver
from twisted.logger import Logger
from zope.interface import implementer

_log = Logger()

Address = IPv4Address | IPv6Address
Waiter = Callable[[Sequence[Address]], None]

TTL_S = 10.0
TIMEOUT_S = 5.0
"""Source: data-plane contract §1."""
FAILURE_S = 1.0
"""How long nobody asks again for a name that could not be resolved."""
MAX_NAMES = 10_000
MAX_ADDRESSES = 64
"""Of one name; more are left out."""


@implementer(IHostResolution)
class _Resolution:
    def __init__(self, name: str) -> None:
        self.name = name

    def cancel(self) -> None:
        """The answer serves others too; whoever asked no longer cares."""


@define(eq=False)
class _Name:
    """
    What is known of a name.

    Attributes:
        addresses: The last good answer, by family, in the system's order of families.
        fresh_until_s, kept_until_s: Until when it is used without asking, and while asking.
        asking: Whether a question is under way. lost: Whether it took too long.
        turn: How often the name was used.
    """

    name: str
    addresses: tuple[tuple[Address, ...], ...] = ()
    fresh_until_s: float = 0.0
    kept_until_s: float = 0.0
    asking: bool = False
    lost: bool = False
    failing: bool = False
    turn: int = 0
    waiting: list[Waiter] = field(factory=list)
    timer: Any = None

    def in_turn(self) -> list[Address]:
        """Every address; the one whose turn it is first within its family."""
        turn = self.turn
        self.turn = turn + 1
        ordered: list[Address] = []
        for family in self.addresses:
            start = turn % len(family)
            ordered += family[start:]
            ordered += family[:start]
        return ordered


@implementer(IHostnameResolver)
class CachingResolver:
    """
    A resolver that remembers; give it to ``UpstreamAgent``.

    An answer is used for *ttl_s*; for as long again it is used while a new one is asked for, after
    that a caller waits for the new one. Where asking fails, the last good answer stays in use.

    Addresses of one family take turns at being first; which family comes first is the system's choice
    (RFC 6724), because the other one may lead nowhere.
    """

    def __init__(
        self,
        clock: Any,
        resolver: IHostnameResolver,
        *,
        ttl_s: float = TTL_S,
        timeout_s: float = TIMEOUT_S,
        max_names: int = MAX_NAMES,
    ) -> None:
        """
        Args:
            clock: Provides ``IReactorTime``. resolver: Who knows: ``reactor.nameResolver``.
            ttl_s: 0 asks every time. timeout_s: How long a caller waits for an answer.
            max_names: Names remembered; the one not used for longest goes first.
        """
        self._clock = clock
        self._resolver = resolver
        self.ttl_s = ttl_s
        self._timeout_s = timeout_s
        self._max_names = max_names
        self._names: dict[str, _Name] = {}

    def known(self, host: str) -> str | None:
        """The first address *host* had when it was last asked for, as text; None if it is not known."""
        name = self._names.get(host)
        return name.addresses[0][0].host if name is not None and name.addresses else None

    def resolveHostName(
        self,
        resolutionReceiver: Any,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Any = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """As ``IHostnameResolver``; the receiver may be told before this returns."""
        resolution = _Resolution(hostName)

        def tell(addresses: Sequence[Address]) -> None:
            for address in addresses:
                if addressTypes is None or type(address) in addressTypes:
                    kind: Any = transportSemantics
                    told = evolve(address, port=portNumber, type=kind)
                    resolutionReceiver.addressResolved(told)
            resolutionReceiver.resolutionComplete()

        resolutionReceiver.resolutionBegan(resolution)
        self._look_up(hostName, tell)
        return resolution

    def _look_up(self, host: str, tell: Waiter) -> None:
        name = self._names.pop(host, None)
        if name is None:
            name = _Name(host)
            self._make_room()
        self._names[host] = name  # At the end: the ones used least stand first.
        now_s = self._clock.seconds()
        if now_s < name.fresh_until_s:
            tell(name.in_turn())
        elif name.addresses and now_s < name.kept_until_s:
            self._ask(name)
            tell(name.in_turn())
        elif name.lost:
            # A question that nobody could answer in time still keeps a thread busy: one is enough.
            tell(name.in_turn())
        else:
            name.waiting.append(tell)
            self._ask(name)

    def _make_room(self) -> None:
        if len(self._names) >= self._max_names:
            for host, name in self._names.items():
                if not name.asking:
                    del self._names[host]
                    return

    # -- asking

    def _ask(self, name: _Name) -> None:
        if name.asking:
            return
        name.asking = True
        name.timer = self._clock.callLater(self._timeout_s, self._too_late, name)
        try:
            self._resolver.resolveHostName(_Answer(self, name), name.name)
        except Exception as error:
            self.answered(name, (), str(error))

    def _too_late(self, name: _Name) -> None:
        name.timer = None
        name.lost = True
        self._failed(name, f"no answer within {self._timeout_s:g} s")

    def answered(self, name: _Name, addresses: Sequence[Address], why: str = "there is no such name") -> None:
        """A question is answered; for ``_Answer``."""
        name.asking = name.lost = False
        timer, name.timer = name.timer, None
        if timer is not None:
            timer.cancel()
        families: dict[type[Address], dict[str, Address]] = {}
        for address in addresses[:MAX_ADDRESSES]:
            families.setdefault(type(address), {}).setdefault(address.host, address)
        if not families:
            self._failed(name, why)
            return
        if name.failing:
            name.failing = False
            _log.info("{name} can be resolved again", name=name.name)
        name.addresses = tuple(tuple(family.values()) for family in families.values())
        now_s = self._clock.seconds()
        name.fresh_until_s = now_s + self.ttl_s
        name.kept_until_s = now_s + 2 * self.ttl_s
        self._tell(name)

    def _failed(self, name: _Name, why: str) -> None:
        if not name.failing:
            name.failing = True
            kept = "the last answer stays in use" if name.addresses else "its nodes cannot be reached"
            _log.warn("{name} cannot be resolved ({why}); {kept}", name=name.name, why=why, kept=kept)
        # The last good answer, or none, is all there is until somebody may ask again.
        name.fresh_until_s = self._clock.seconds() + FAILURE_S
        self._tell(name)

    def _tell(self, name: _Name) -> None:
        waiting, name.waiting = name.waiting, []
        for tell in waiting:
            tell(name.in_turn())


@implementer(IResolutionReceiver)
class _Answer:
    """Gathers one answer of the system's resolver."""

    def __init__(self, resolver: CachingResolver, name: _Name) -> None:
        self._resolver = resolver
        self._name = name
        self._addresses: list[Address] = []

    def resolutionBegan(self, resolutionInProgress: object) -> None:
        """It is under way."""

    def addressResolved(self, address: IAddress) -> None:
        """One address."""
        if isinstance(address, IPv4Address | IPv6Address):
            self._addresses.append(address)

    def resolutionComplete(self) -> None:
        """That was all."""
        self._resolver.answered(self._name, self._addresses)
