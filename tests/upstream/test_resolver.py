"""Names to addresses: what is remembered, for how long, and what a failure does."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IHostnameResolver, IHostResolution
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from gateway.upstream.request import Peer
from gateway.upstream.resolver import CachingResolver
from tests.upstream.memory import ANSWER, Network


@implementer(IHostnameResolver)
class System:
    """The system's resolver; the test answers its questions."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._receivers: list[Any] = []

    def resolveHostName(self, receiver: Any, name: str, port: int = 0, *rest: Any, **more: Any) -> Any:
        self.asked.append(name)
        receiver.resolutionBegan(None)
        self._receivers.append(receiver)

    def answer(self, *addresses: str) -> None:
        """Answer the oldest open question; with nothing, the name does not exist."""
        receiver = self._receivers.pop(0)
        for address in addresses:
            kind = IPv6Address if ":" in address else IPv4Address
            receiver.addressResolved(kind("TCP", address, 0))
        receiver.resolutionComplete()


class Caller:
    """Asks, and keeps what it is told."""

    def __init__(self) -> None:
        self.addresses: list[str] | None = None
        self.ports: set[int] = set()
        self._found: list[str] = []

    def resolutionBegan(self, resolution: Any) -> None:
        assert IHostResolution.providedBy(resolution)

    def addressResolved(self, address: Any) -> None:
        self._found.append(address.host)
        self.ports.add(address.port)

    def resolutionComplete(self) -> None:
        assert self.addresses is None
        self.addresses = self._found


class ResolverTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.system = System()
        self.make()

    def make(self, **options: Any) -> None:
        self.resolver = CachingResolver(self.clock, self.system, **{"ttl_s": 10, "timeout_s": 5, **options})

    def ask(self, name: str = "a.example", **more: Any) -> Caller:
        caller = Caller()
        self.resolver.resolveHostName(caller, name, 80, **more)
        return caller

    def known(self, *addresses: str) -> None:
        """Let the name have these addresses, asked for just now."""
        self.ask()
        self.system.answer(*addresses)

    def test_interface(self) -> None:
        """It stands where Twisted expects a resolver."""
        verifyObject(IHostnameResolver, self.resolver)

    def test_one_question(self) -> None:
        """However many wait, the system is asked once, and then not again for a while."""
        callers = [self.ask(), self.ask()]
        self.assertEqual([caller.addresses for caller in callers], [None, None])
        self.system.answer("10.0.0.1")
        self.assertEqual([caller.addresses for caller in callers], [["10.0.0.1"]] * 2)
        self.clock.advance(9.9)
        caller = self.ask()
        self.assertEqual((caller.addresses, caller.ports), (["10.0.0.1"], {80}))
        self.assertEqual(self.system.asked, ["a.example"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_turns(self) -> None:
        """Addresses take turns at being first."""
        self.known("10.0.0.1", "10.0.0.2", "10.0.0.3")
        firsts = [(self.ask().addresses or [""])[0] for _ in range(4)]
        self.assertEqual(firsts, ["10.0.0.2", "10.0.0.3", "10.0.0.1", "10.0.0.2"])
        self.assertEqual(sorted(self.ask().addresses or []), ["10.0.0.1", "10.0.0.2", "10.0.0.3"])

    def test_families(self) -> None:
        """IPv6 and IPv4 keep the system's order; each takes turns within."""
        self.known("::1", "10.0.0.1", "::2", "10.0.0.1")
        self.assertEqual(self.ask().addresses, ["::2", "::1", "10.0.0.1"])
        self.assertEqual(self.ask(addressTypes=[IPv4Address]).addresses, ["10.0.0.1"])

    def test_an_old_answer(self) -> None:
        """An answer past its time is used once more while a new one is fetched."""
        self.known("10.0.0.1")
        self.clock.advance(11)
        self.assertEqual(self.ask().addresses, ["10.0.0.1"])
        self.assertEqual(len(self.system.asked), 2)
        self.assertEqual((self.ask().addresses, len(self.system.asked)), (["10.0.0.1"], 2))
        self.system.answer("10.0.0.9")
        self.assertEqual(self.ask().addresses, ["10.0.0.9"])

    def test_a_very_old_answer(self) -> None:
        """A name that was not used for long is asked for before it is used."""
        self.known("10.0.0.1")
        self.clock.advance(21)
        caller = self.ask()
        self.assertIsNone(caller.addresses)
        self.system.answer("10.0.0.9")
        self.assertEqual(caller.addresses, ["10.0.0.9"])

    def test_failures_keep_the_last_answer(self) -> None:
        """While a name cannot be resolved its last addresses stay in use, and it is asked for again."""
        self.known("10.0.0.1")
        self.clock.advance(60)
        caller = self.ask()
        self.system.answer()
        self.assertEqual(caller.addresses, ["10.0.0.1"])
        self.assertEqual((self.ask().addresses, len(self.system.asked)), (["10.0.0.1"], 2))
        self.clock.advance(1.1)
        caller = self.ask()
        self.assertEqual(len(self.system.asked), 3)
        self.system.answer("10.0.0.2")
        self.assertEqual(caller.addresses, ["10.0.0.2"])

    def test_unknown(self) -> None:
        """A name that does not exist is not asked for by every request."""
        caller = self.ask()
        self.system.answer()
        self.assertEqual(caller.addresses, [])
        self.assertEqual((self.ask().addresses, len(self.system.asked)), ([], 1))
        self.clock.advance(1.1)
        self.ask()
        self.assertEqual(len(self.system.asked), 2)

    def test_no_answer(self) -> None:
        """A resolver that hangs makes callers wait once, for a limited time, and is not asked again."""
        caller = self.ask()
        self.clock.advance(5)
        self.assertEqual(caller.addresses, [])
        self.clock.advance(2)
        self.assertEqual((self.ask().addresses, len(self.system.asked)), ([], 1))
        self.system.answer("10.0.0.1")
        self.assertEqual(self.ask().addresses, ["10.0.0.1"])

    def test_it_raises(self) -> None:
        """A resolver that raises is one that does not know the name."""

        def broken(*args: Any, **more: Any) -> Any:
            raise UnicodeError("no such label")

        self.system.resolveHostName = broken  # type: ignore[method-assign]
        self.assertEqual(self.ask().addresses, [])

    def test_no_time(self) -> None:
        """With a time of 0 every connection asks."""
        self.make(ttl_s=0)
        self.known("10.0.0.1")
        self.assertIsNone(self.ask().addresses)

    def test_limit(self) -> None:
        """The name not used for longest is forgotten first."""
        self.make(max_names=2)
        for name in ("a", "b", "a", "c"):
            self.ask(name)
            if len(self.system.asked) > len([n for n in ("a", "b", "c") if self.resolver.known(n)]):
                self.system.answer("10.0.0.1")
        found = [self.resolver.known(name) for name in ("a", "b", "c")]
        self.assertEqual(found, ["10.0.0.1", None, "10.0.0.1"])

    def test_many_addresses(self) -> None:
        """A name with absurdly many addresses has some of them."""
        caller = self.ask()
        self.system.answer(*(f"10.0.{n >> 8}.{n & 255}" for n in range(5000)))
        self.assertEqual(len(caller.addresses or []), 64)


class AgentTests(SynchronousTestCase):
    def network(self) -> tuple[Network, System]:
        system = System()
        resolver = CachingResolver(Clock(), system)
        network = Network(resolver=resolver)
        return network, system

    def test_names(self) -> None:
        """The agent dials the addresses it is told, in turn, and asks the system once."""
        network, system = self.network()
        call = network.get(peer=Peer("http", "a.example", 81))
        system.answer("10.1.1.1", "10.1.1.2")
        self.assertEqual(network.reactor.tcpClients[0][:2], ("10.1.1.1", 81))
        network.accept().says(ANSWER)
        self.assertEqual(self.successResultOf(call).code, 200)
        network.get(peer=Peer("http", "a.example", 82))
        self.assertEqual(network.reactor.tcpClients[1][:2], ("10.1.1.2", 82))
        self.assertEqual(system.asked, ["a.example"])

    def test_addresses(self) -> None:
        """IP addresses do not go through the resolver."""
        network, system = self.network()
        for host in ("10.0.0.7", "::1"):
            network.get(peer=Peer("http", host, 81))
        self.assertEqual(
            ([client[0] for client in network.reactor.tcpClients], system.asked), (["10.0.0.7", "::1"], [])
        )
