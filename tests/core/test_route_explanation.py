"""Tests for gateway.core.route_explanation, through ``Router.explain``."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway.core.addresses import AddressSet
from gateway.core.exchange import Exchange
from gateway.core.expressions import compile_expression
from gateway.core.route_explanation import NEAR_MISS_LIMIT
from gateway.core.router import Router, Rule
from gateway.testing.exchanges import exchange


def rule(id: str, *paths: str, **more: Any) -> Rule[str]:
    """A rule that leads to its own id."""
    return Rule(id=id, paths=paths or ("/*",), target=id, **more)


def ask(path: str = "/", host: str = "") -> Exchange:
    return exchange("GET", path, [("Host", host)] if host else [])


class ExplainTests(SynchronousTestCase):
    def test_story(self) -> None:
        """``explain`` tells what was tried, why it failed, what won, and what came close."""
        router = Router.build(
            [
                rule("post", "/a/b", methods=frozenset({"POST", "PUT"})),
                rule("lan", "/a/b", order=1, addresses=AddressSet.parse(["10.0.0.0/8"])),
                rule("vars", "/a/*", priority=2, predicate=compile_expression([["arg_v", "1"]])),
                rule("param", "/a/:x/c", priority=1),
                rule("win", "/a/*"),
                rule("host", "/a/b", hosts=("Foo.com",)),
                rule("behind", "/*", priority=100),
                rule("case", "/A/b"),
                rule("slash", "/a/b/*"),
                rule("far", "/zzz"),
            ]
        )
        told = router.explain(ask("/a/b", "bar.com:81"))
        self.assertEqual(
            [(c.rule_id, c.failed, c.won) for c in told],
            [
                ("post", "method", False),
                ("lan", "address", False),
                ("vars", "vars", False),
                ("win", None, True),
                ("behind", None, False),
                ("host", "host", False),
                ("param", "path", False),
                ("slash", "path", False),
                ("case", "path", False),
            ],
        )
        words = {c.rule_id: c.detail for c in told}
        self.assertEqual(words["post"], "takes POST, PUT; the request is GET")
        self.assertEqual(words["lan"], "127.0.0.1 is not among its client addresses")
        self.assertEqual(words["host"], "is for foo.com; the request is for bar.com:81")
        self.assertIn("priority does not count", words["behind"])
        self.assertIn("slash", words["slash"])
        self.assertIn("upper and lower case", words["case"])

    def test_no_route(self) -> None:
        """Where nothing takes the request, the reasons still stand there."""
        told = Router.build([rule("a", "/foo/*"), rule("b", "/foo/", hosts=("x.com",))]).explain(ask("/foo"))
        self.assertEqual([(c.rule_id, c.failed) for c in told], [("a", "path")])

    def test_reasons_for_rank(self) -> None:
        """What stands behind the winner is told which rule of precedence decided."""
        for first, second, words in [
            (rule("w", "/a"), rule("o", "/*"), "w has exactly this path"),
            (rule("w", "/*", priority=2), rule("o", "/*"), "w has the priority 2, this one 0"),
            (rule("w", "/:xx"), rule("o", "/:x"), "w has the longer pattern, /:xx"),
            (rule("w", "/*"), rule("o", "/*", order=1), "w was created earlier"),
            (
                rule("w", "/*", hosts=("h",)),
                rule("o", "/a"),
                "w is for h, which is more specific than any host",
            ),
        ]:
            told = Router.build([second, first]).explain(ask("/a", "h"))
            self.assertEqual([c.rule_id for c in told], ["w", "o"])
            self.assertEqual(told[1].detail, f"would take it too, but {words}")

    def test_bounded(self) -> None:
        """Near misses are few, each rule at most once, the closest first."""
        told = Router.build(
            [rule(f"r{n}", "/a", "/a*", hosts=(f"h{n}.com", f"g{n}.com")) for n in range(100)]
        ).explain(ask("/a", "x.com"))
        self.assertEqual(len(told), NEAR_MISS_LIMIT)
        self.assertEqual(len({c.rule_id for c in told}), NEAR_MISS_LIMIT)
