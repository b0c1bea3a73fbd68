"""What references stand for: fetched, kept, fetched again."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gateway.core.secrets import UnresolvedReference
from gateway.model.record import Change
from gateway.secrets.managers import Asking, FetchFailed, ManagerSilent
from gateway.secrets.source import SecretLimits, SecretSource
from tests.secrets.kit import asking

A, B = "$secret://vault/1/jack/a", "$SECRET://vault/1/jack/b"
VAULT = {"uri": "http://v", "prefix": "kv", "token": "$env://TOKEN"}


def provider(value: Mapping[str, Any] | None = VAULT, id: str = "vault/1") -> Change:
    return Change("default", "secret", id, value)


def credential(reference: str, id: str = "jack/c") -> Change:
    return Change("default", "credential", id, {"plugins": {"key-auth": {"key": reference}}})


class SourceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.asked: list[tuple[str, str]] = []
        self.kept: dict[str, str | Exception] = {"jack/a": "va", "jack/b": "vb"}
        self.told: list[Collection[str]] = []
        self.source = SecretSource(
            asking()[0],
            self.clock,
            "default",
            {"TOKEN": "root"},
            SecretLimits(300, 60),
            {"vault": self.fetch},
        )
        self.source.on_change = self.changed

    async def fetch(self, settings: Mapping[str, Any], path: str, asking: Asking) -> str:
        self.asked.append((str(settings["token"]), path))
        value = self.kept.get(path, FetchFailed("not there"))
        if isinstance(value, Exception):
            raise value
        return value

    async def changed(self, references: Collection[str]) -> None:
        self.told.append(references)

    def serve(self, *changes: Change) -> list[Change]:
        """What a write does."""
        more = self.successResultOf(Deferred.fromCoroutine(self.source.foresee(changes)))
        self.source.follow(changes)
        return list(more)

    def unresolved(self, reference: str) -> str:
        return str(self.assertRaises(UnresolvedReference, self.source.value, reference))

    def test_there_when_it_is_needed(self) -> None:
        """What is written is there when it is compiled; a manager's own settings may be references."""
        self.serve(provider())
        self.assertEqual(self.serve(credential(A)), [])
        self.assertEqual((self.source.value(A), self.asked), ("va", [("root", "jack/a")]))
        self.serve(credential(A, "jack/d"), credential(B))
        self.assertEqual((self.source.value(B), len(self.asked)), ("vb", 2))
        self.assertNotIn("'va'", repr(self.source.__dict__["_entries"]))

    def test_manager_after_the_reference(self) -> None:
        """What refers to a manager that comes later is compiled anew with it, and whenever it changes."""
        self.serve(credential(A))
        self.assertEqual(self.unresolved(A), f"{A}: there is no secret provider vault/1")
        self.assertEqual(self.serve(provider()), [credential(A)])
        self.assertEqual(self.source.value(A), "va")
        self.kept["jack/a"] = "other"
        self.assertEqual(self.serve(provider({**VAULT, "token": "t2"})), [credential(A)])
        self.assertEqual((self.source.value(A), self.asked[-1]), ("other", ("t2", "jack/a")))
        # Without it nothing is used any more.
        self.assertEqual(self.serve(provider(None)), [credential(A)])
        self.unresolved(A)

    def test_asked_again(self) -> None:
        """A value is asked for again in time; who holds it is told only if it is another."""
        self.serve(provider(), credential(A))
        self.clock.advance(299)
        self.assertEqual(len(self.asked), 1)
        self.clock.advance(1)
        self.assertEqual((len(self.asked), self.told), (2, []))
        self.kept["jack/a"] = "new"
        self.clock.advance(300)
        self.assertEqual((self.source.value(A), self.told), ("new", [{A}]))
        self.assertEqual(self.source.holding({A}), [credential(A)])

    def test_failures(self) -> None:
        """A failure is believed for a while; the last value stays in use."""
        self.kept["jack/a"] = FetchFailed("sealed")
        self.serve(provider(), credential(A))
        self.assertEqual(self.unresolved(A), f"{A}: sealed")
        self.serve(credential(A, "jack/e"))
        self.assertEqual(len(self.asked), 1)
        self.kept["jack/a"] = "va"
        self.clock.advance(60)
        self.assertEqual((self.source.value(A), self.told), ("va", [{A}]))
        self.kept["jack/a"] = FetchFailed("sealed")
        self.clock.advance(300)
        self.assertEqual((self.source.value(A), len(self.told)), ("va", 1))

    def test_silence(self) -> None:
        """A manager that does not answer is not waited for once for each secret."""
        self.kept = {f"jack/{n}": ManagerSilent("no answer") for n in range(50)}
        self.serve(provider(), *(credential(f"$secret://vault/1/jack/{n}", f"jack/{n}") for n in range(50)))
        self.assertEqual(len(self.asked), 1)
        self.assertEqual(self.unresolved("$secret://vault/1/jack/7"), "$secret://vault/1/jack/7: no answer")

    def test_forgotten(self) -> None:
        """What nobody holds any more is not asked for, and forgotten; other groups are not looked at."""
        self.serve(provider(), credential(A), credential(B, "jack/d"))
        self.serve(Change("default", "credential", "jack/c", None))
        self.clock.advance(300)
        self.assertEqual(sorted(path for _, path in self.asked), ["jack/a", "jack/b", "jack/b"])
        self.unresolved(A)
        self.serve(Change("other", "credential", "x/y", credential(A).value))
        self.assertEqual(len(self.asked), 3)

    def test_bad_references(self) -> None:
        """What is no reference to a manager that is known stands for nothing."""
        for reference in ("$secret://vault/1", "$secret://vault", "$secret://", "$secret://kubernetes/1/a/b"):
            self.serve(provider(id="kubernetes/1"), credential(reference))
            self.unresolved(reference)
        self.assertEqual(self.asked, [])

    def test_closed(self) -> None:
        """Nothing is asked for after the end."""
        self.serve(provider(), credential(A))
        self.source.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])
