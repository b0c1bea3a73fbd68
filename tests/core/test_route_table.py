"""Tests for gateway.core.route_table: changes, and what a look-up costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.core.exchange import Exchange
from gateway.core.router import Router, Rule
from gateway.testing.exchanges import exchange


def rule(id: str, *paths: str, **more: Any) -> Rule[str]:
    """A rule that leads to its own id."""
    return Rule(id=id, paths=paths or ("/*",), target=id, **more)


def ask(path: str = "/", host: str = "") -> Exchange:
    return exchange("GET", path, [("Host", host)] if host else [])


def taken(router: Router[str], subject: Exchange) -> str | None:
    found = router.match(subject)
    return None if found is None else found.rule.target


class Counting:
    """A predicate that says how often it was asked."""

    def __init__(self, answer: bool) -> None:
        self.answer = answer
        self.asked = 0

    def __call__(self, subject: Exchange) -> bool:
        self.asked += 1
        return self.answer


class ReplaceTests(SynchronousTestCase):
    def test_old_router_unchanged(self) -> None:
        """A change makes a new table; requests that hold the old one still see it as it was."""
        old = Router.build([rule("a", "/a"), rule("b", "/b/*"), rule("c", "/c", hosts=("x.com",))])
        new = old.replace(["a", "c", "unknown"], [rule("b", "/bb/*"), rule("d", "/d")])
        for path, host, before, after in [
            ("/a", "", "a", None),
            ("/b/x", "", "b", None),
            ("/bb/x", "", None, "b"),
            ("/c", "x.com", "c", None),
            ("/d", "", None, "d"),
        ]:
            self.assertEqual(
                (taken(old, ask(path, host)), taken(new, ask(path, host))), (before, after), path
            )
        self.assertEqual((len(old), len(new)), (3, 2))
        self.assertEqual((dict(new.hosts), new.suffixes), ({}, ()))

    def test_nothing_to_do(self) -> None:
        """A change of nothing keeps the table."""
        router = Router.build([rule("a", "/a")])
        self.assertIs(router.replace(["unknown"], []), router)

    def test_unchanged_parts_are_shared(self) -> None:
        """One changed route costs the way to it; everything else is the same object as before."""
        old = Router.build(
            rule(f"r{n}", f"/svc{n}/*", f"/x{n}", hosts=(f"h{n % 3}.com",)) for n in range(300)
        )
        new = old.replace([], [rule("r0", "/svc0/*", hosts=("h0.com",))])
        self.assertIs(new.hosts["h1.com"], old.hosts["h1.com"])
        self.assertIsNot(new.hosts["h0.com"], old.hosts["h0.com"])
        self.assertIs(new.hosts["h0.com"].buckets["/svc3/"], old.hosts["h0.com"].buckets["/svc3/"])
        self.assertIs(new.hosts["h0.com"].literals, old.hosts["h0.com"].literals)

    def test_literal_texts_stay_sorted(self) -> None:
        """Prefixes that come and go one by one leave the same order as all at once."""

        @settings(deadline=None, max_examples=40)
        @given(st.lists(st.text("ab", max_size=4), min_size=20, max_size=60))
        def check(names: list[str]) -> None:
            router = Router.build(
                rule(f"base{n}", f"/{n:b}*".replace("0", "a").replace("1", "b")) for n in range(40)
            )
            present: set[str] = set()
            for name in names:
                # A second mention removes it again.
                router = router.replace([name], [] if name in present else [rule(name, f"/{name}*")])
                present ^= {name}
                table = router.anywhere
                self.assertEqual(list(table.literals), sorted(table.buckets))
                for literal, parent in table.parents.items():
                    above = [
                        other for other in table.buckets if literal.startswith(other) and other != literal
                    ]
                    self.assertEqual(parent, max(above, key=len, default=None))
                self.assertEqual(table.parents.keys(), table.buckets.keys())

        check()


class CostTests(SynchronousTestCase):
    def test_evaluations_do_not_grow(self) -> None:
        """However many routes there are, a request is held against the same few."""
        makers: list[tuple[Callable[[int], dict[str, Any]], str, str]] = [
            (lambda n: {"paths": (f"/svc{n}/items",)}, "/svc0/items", ""),
            (lambda n: {"paths": (f"/svc{n}/*",)}, "/svc0/items/1", ""),
            (lambda n: {"paths": (f"/svc{n}/:id",)}, "/svc0/7", ""),
            (lambda n: {"paths": (f"/:tenant/svc{n}/:id",)}, "/acme/svc0/7", ""),
            (lambda n: {"paths": (f"/:tenant/svc{n}/*",)}, "/acme/svc0/7/8", ""),
            (lambda n: {"paths": ("/*",), "hosts": (f"h{n}.com",)}, "/", "h0.com"),
            (lambda n: {"paths": ("/*",), "hosts": (f"*.h{n}.com",)}, "/", "a.h0.com"),
        ]
        for make, path, host in makers:
            for size in (1, 50, 2000):
                asked = Counting(False)
                router = Router.build(
                    Rule(id=f"r{n}", target=n, order=n, predicate=asked, **make(n)) for n in range(size)
                )
                self.assertIsNone(router.match(ask(path, host)))
                self.assertEqual(asked.asked, 1, (path, size))
                self.assertEqual(len([c for c in router.explain(ask(path, host)) if c.failed == "vars"]), 1)
