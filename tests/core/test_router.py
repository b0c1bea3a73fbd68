"""Tests for gateway.core.router."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.core.addresses import AddressSet
from gateway.core.exchange import Exchange
from gateway.core.expressions import compile_expression
from gateway.core.router import Router, Rule
from gateway.testing.exchanges import exchange


def rule(id: str, *paths: str, **more: Any) -> Rule[str]:
    """A rule that leads to its own id."""
    return Rule(id=id, paths=paths or ("/*",), target=id, **more)


def ask(path: str = "/", host: str = "", method: str = "GET", **more: Any) -> Exchange:
    return exchange(method, path, [("Host", host)] if host else [], **more)


def taken(router: Router[str], subject: Exchange) -> str | None:
    found = router.match(subject)
    return None if found is None else found.rule.target


class PathTests(SynchronousTestCase):
    def winners(self, rules: Iterable[Rule[str]], cases: dict[str, str | None]) -> None:
        router = Router.build(rules)
        for path, want in cases.items():
            self.assertEqual(taken(router, ask(path)), want, path)

    def test_empty(self) -> None:
        """A gateway without routes takes nothing."""
        self.winners([], {"/": None})

    def test_exact_before_patterns(self) -> None:
        """An exact path wins over every pattern, whatever their priority."""
        self.winners(
            [rule("star", "/a/*", priority=100), rule("exact", "/a/b", priority=-5), rule("all", "/*")],
            {"/a/b": "exact", "/a/c": "star", "/a/b/": "star", "/x": "all", "/A/b": "all"},
        )

    def test_longest_literal_text(self) -> None:
        """The longest literal text wins over a higher priority of a shorter one."""
        self.winners(
            [rule("short", "/a*", priority=100), rule("long", "/a/b*"), rule("param", "/a/:x", priority=7)],
            {"/a/b": "long", "/a/bc": "long", "/a/c": "param", "/a/c/d": "short", "/a": "short"},
        )

    def test_priority_within_one_literal_text(self) -> None:
        """Routes with the same literal text are tried by priority."""
        self.winners(
            [rule("low", "/a/*"), rule("high", "/a/*", priority=1), rule("param", "/a/:x", priority=-1)],
            {"/a/b": "high"},
        )

    def test_longer_pattern_then_order(self) -> None:
        """With the same priority the longer pattern wins, then the one that was created first."""
        self.winners(
            [
                rule("prefix", "/a/*", order=0),
                rule("second", "/a/:name/b", order=2),
                rule("first", "/a/:nome/b", order=1),
            ],
            {"/a/x/b": "first", "/a/x/c": "prefix"},
        )
        self.winners([rule("late", "/x", order=9), rule("early", "/x", order=3)], {"/x": "early"})

    def test_several_paths(self) -> None:
        """A route with several paths is found under each of them."""
        self.winners(
            [rule("r", "/a", "/b/*", "/c/:d"), rule("other", "/*")],
            {"/a": "r", "/b/x": "r", "/c/x": "r", "/d": "other"},
        )

    def test_nested_literal_texts(self) -> None:
        """However prefixes nest, the longest that fits is found, and then the next."""
        paths = ["/", "/a", "/a/", "/a/b", "/a/b/c/d/e", "/a/b/c/d/e/f", "/ab", "/b"]
        self.winners(
            [rule(path, path + "*") for path in paths],
            {
                "/a/b/c/d/z": "/a/b",
                "/a/b/c/d/e/z": "/a/b/c/d/e",
                "/a/z": "/a/",
                "/abz": "/ab",
                "/z": "/",
                "/az": "/a",
            },
        )

    def test_parameters(self) -> None:
        """Values of parameters are handed out; a route that fails leaves none behind."""
        router = Router.build(
            [
                rule("a", "/v/:wrong/x", methods=frozenset({"POST"}), priority=1),
                rule("b", "/v/:id/*rest"),
                rule("c", "/p/*tail"),
                rule("d", "/q/*"),
            ]
        )
        for path, want in [
            ("/v/7/x", {"id": "7", "rest": "x"}),
            ("/p/1/2", {"tail": "1/2"}),
            ("/q/1", {}),
        ]:
            found = router.match(ask(path))
            assert found is not None
            self.assertEqual(dict(found.params), want)
            self.assertEqual((found.pattern, found.host), (found.rule.paths[0], ""))

    def test_many_shapes(self) -> None:
        """Patterns of parameters under one literal text are told apart by their fixed segments."""
        self.winners(
            [
                rule("users", "/:v/users/:id"),
                rule("teams", "/:v/teams/:id"),
                rule("list", "/:v/users"),
                rule("any", "/:v/:k/:id"),
                rule("files", "/:v/files/*"),
                rule("deep", "/:v/files/*/meta"),
            ],
            {
                "/1/users/7": "users",
                "/1/teams/7": "teams",
                "/1/users": "list",
                "/1/cats/7": "any",
                "/1/files/a/b": "files",
                "/1/files/a/meta": "deep",
                "/1/cats/7/8": None,
                "/1": None,
            },
        )


class HostTests(SynchronousTestCase):
    def winners(self, rules: Iterable[Rule[str]], cases: list[tuple[str, str, str | None]]) -> None:
        router = Router.build(rules)
        for host, path, want in cases:
            self.assertEqual(taken(router, ask(path, host)), want, (host, path))

    def test_host_decides_first(self) -> None:
        """Exact host, longest wildcard, shorter wildcard, ``*``, no host: whatever the paths."""
        self.winners(
            [
                rule("none", "/x"),
                rule("star", "/*", hosts=("*",)),
                rule("short", "/*", hosts=("*.com",)),
                rule("long", "/*", hosts=("*.foo.com",)),
                rule("exact", "/*", hosts=("a.foo.com",)),
            ],
            [
                ("a.foo.com", "/x", "exact"),
                ("A.Foo.Com", "/x", "exact"),
                ("a.foo.com.", "/x", "exact"),
                ("b.foo.com", "/x", "long"),
                ("b.a.foo.com", "/x", "long"),
                ("foo.com", "/x", "short"),
                ("foo.org", "/x", "star"),
                ("", "/x", "star"),
            ],
        )

    def test_next_host(self) -> None:
        """If no route of a host takes the request, the next less specific host is asked."""
        self.winners(
            [
                rule("exact", "/a", hosts=("x.foo.com",)),
                rule("wild", "/b", hosts=("*.foo.com",)),
                rule("any", "/c"),
                rule("post", "/c", hosts=("*.foo.com",), methods=frozenset({"POST"})),
            ],
            [
                ("x.foo.com", "/a", "exact"),
                ("x.foo.com", "/b", "wild"),
                ("x.foo.com", "/c", "any"),
                ("x.foo.com", "/d", None),
                ("y.foo.com", "/a", None),
            ],
        )

    def test_ports(self) -> None:
        """The port in Host counts only for host patterns that have one, and those come first."""
        self.winners(
            [
                rule("plain", hosts=("foo.com", "*.foo.com")),
                rule("port", hosts=("foo.com:8080", "*.foo.com:8080")),
                rule("six", hosts=("[::1]",)),
                rule("sixport", hosts=("[::1]:81",)),
            ],
            [
                ("foo.com", "/", "plain"),
                ("foo.com:80", "/", "plain"),
                ("foo.com:8080", "/", "port"),
                ("a.foo.com:8080", "/", "port"),
                ("a.foo.com:8081", "/", "plain"),
                ("[::1]:9080", "/", "six"),
                ("[::1]:81", "/", "sixport"),
            ],
        )

    def test_match_names_the_host(self) -> None:
        """A match tells under which host pattern it was found."""
        found = Router.build([rule("r", hosts=("*.Foo.com", "bar.com"))]).match(ask("/", "a.foo.com"))
        assert found is not None
        self.assertEqual((found.host, found.pattern), ("*.foo.com", "/*"))


class ConditionTests(SynchronousTestCase):
    def test_all_conditions(self) -> None:
        """Method, client address and vars all have to hold, else the next route is tried."""
        router = Router.build(
            [
                rule(
                    "strict",
                    "/x",
                    methods=frozenset({"GET", "PUT"}),
                    addresses=AddressSet.parse(["10.0.0.0/8"]),
                    predicate=compile_expression([["arg_v", "==", "2"]]),
                ),
                rule("loose", "/*"),
            ]
        )
        for subject, want in [
            (exchange("GET", "/x?v=2", client_ip="10.1.1.1"), "strict"),
            (exchange("PUT", "/x?v=2", client_ip="::ffff:10.1.1.1"), "strict"),
            (exchange("get", "/x?v=2", client_ip="10.1.1.1"), "loose"),
            (exchange("POST", "/x?v=2", client_ip="10.1.1.1"), "loose"),
            (exchange("GET", "/x?v=2", client_ip="11.1.1.1"), "loose"),
            (exchange("GET", "/x?v=3", client_ip="10.1.1.1"), "loose"),
        ]:
            self.assertEqual(taken(router, subject), want)

    def test_vars_see_path_parameters(self) -> None:
        """A route's vars may ask for its own path parameters."""
        router = Router.build(
            [
                rule(
                    "number",
                    "/u/:id",
                    priority=1,
                    predicate=compile_expression([["uri_param_id", "~~", r"^\d+$"]]),
                ),
                rule("name", "/u/:name"),
            ]
        )
        self.assertEqual(taken(router, ask("/u/12")), "number")
        subject = ask("/u/bob")
        self.assertEqual(taken(router, subject), "name")
        self.assertEqual(subject.path_params, {})


class WorkedExampleTests(SynchronousTestCase):
    def test_table(self) -> None:
        """The worked example of the routing page comes out as it says."""
        router = Router.build(
            [
                rule("page", "/shop/cart", order=1),
                rule("shop", "/shop/*", priority=100, order=2),
                rule("item", "/shop/items/:id", order=3),
                rule("edit", "/shop/items/:id", priority=1, methods=frozenset({"PUT"}), order=4),
                rule(
                    "beta",
                    hosts=("beta.example.com",),
                    predicate=compile_expression([["cookie_beta", "1"]]),
                    order=5,
                ),
            ]
        )
        beta = ("Host", "beta.example.com")
        for subject, want in [
            (ask("/shop/cart"), "page"),
            (ask("/shop/items/7"), "item"),
            (ask("/shop/items/7", method="PUT"), "edit"),
            (ask("/shop/items/7/x"), "shop"),
            (exchange("GET", "/shop/cart", [beta, ("Cookie", "beta=1")]), "beta"),
            (exchange("GET", "/shop/cart", [beta]), "page"),
            (ask("/shop"), None),
        ]:
            self.assertEqual(taken(router, subject), want, subject.path)


# -- against a naive matcher

SPECIAL = re.compile(r"(?<=/):[\w-]+|\*")


def fits(text: str, path: str) -> bool:
    out, end = "", 0
    for found in SPECIAL.finditer(text):
        out += re.escape(text[end : found.start()]) + (".*" if found[0] == "*" else "[^/]+")
        end = found.end()
    return re.fullmatch(out + re.escape(text[end:]), path, re.DOTALL) is not None


def naive(rules: Iterable[Rule[str]], subject: Exchange) -> str | None:
    """Hold the request against every rule; take the best by the documented order."""
    sent = (subject.fields.get(b"host") or b"").decode()
    port = sent.rpartition(":")[2] if ":" in sent else None
    best: tuple[tuple[Any, ...], str] | None = None
    for candidate in rules:
        if candidate.methods is not None and subject.request.method.decode() not in candidate.methods:
            continue
        if candidate.predicate is not None and not candidate.predicate(subject):
            continue
        ranks = [(3, 0, 0)] if not candidate.hosts else []
        for host in candidate.hosts:
            name, _, wanted = host.partition(":")
            if wanted and wanted != port:
                continue
            if name.startswith("*"):
                if subject.host.endswith(name[1:]):
                    ranks.append((2, -len(name), 0 if wanted else 1))
            elif name == subject.host:
                ranks.append((0 if wanted else 1, 0, 0))
        for text in candidate.paths:
            if not fits(text, subject.path):
                continue
            first = SPECIAL.search(text)
            shape = (0, 0) if first is None else (1, -first.start())
            for rank in ranks:
                key = (rank, shape, -candidate.priority, -len(text), candidate.order)
                if best is None or key < best[0]:
                    best = key, candidate.id
    return None if best is None else best[1]


PATHS = [
    "/a",
    "/a/b",
    "/a/",
    "/*",
    "/a*",
    "/a/*",
    "/ab*",
    "/a/*/b",
    "/:x",
    "/a/:x",
    "/:x/b",
    "/a/:x/b",
    "/:x/*",
    "/:x/:y",
]
HOSTS = ["a", "b.a", "*.a", "*a", "*", "a:1", "*.a:1", "*.b.a"]


def yes(subject: Exchange) -> bool:
    return True


def no(subject: Exchange) -> bool:
    return False


@st.composite
def rule_lists(draw: st.DrawFn) -> list[Rule[str]]:
    rules = []
    for order in range(draw(st.integers(0, 7))):
        rules.append(
            Rule(
                id=f"r{order}",
                target=f"r{order}",
                paths=tuple(draw(st.lists(st.sampled_from(PATHS), min_size=1, max_size=3))),
                hosts=tuple(draw(st.lists(st.sampled_from(HOSTS), max_size=2))),
                methods=draw(st.sampled_from([None, None, frozenset({"GET"}), frozenset({"PUT"})])),
                predicate=draw(st.sampled_from([None, None, yes, no])),
                priority=draw(st.integers(-1, 1)),
                order=order,
            )
        )
    return rules


SUBJECTS = [
    ask(path, host, method)
    for path in ["/", "/a", "/a/", "/a/b", "/ab", "/a/c/b", "/c/b", "/c", "/a/b/c/b"]
    for host in ["", "a", "b.a", "c.b.a", "a:1", "b.a:1", "ba"]
    for method in ["GET", "PUT"]
]


class NaiveTests(SynchronousTestCase):
    def test_same_winner(self) -> None:
        """The router takes the rule that a look at all rules would take, and explains that one."""

        @settings(deadline=None, max_examples=150)
        @given(rule_lists(), st.lists(st.sampled_from(SUBJECTS), min_size=8, max_size=12))
        def check(rules: list[Rule[str]], subjects: list[Exchange]) -> None:
            router = Router.build(rules)
            for subject in subjects:
                want = naive(rules, subject)
                self.assertEqual(taken(router, subject), want)
                told = router.explain(subject)
                self.assertEqual([c.rule_id for c in told if c.won], [] if want is None else [want])
                if want is not None:
                    self.assertTrue(next(c.won for c in told if c.failed is None))

        check()

    def test_replace_equals_build(self) -> None:
        """After any chain of changes the table is the one that would have been built at once."""

        @settings(deadline=None, max_examples=120)
        @given(st.lists(st.tuples(rule_lists(), st.sets(st.integers(0, 7))), max_size=4))
        def check(steps: list[tuple[list[Rule[str]], set[int]]]) -> None:
            router: Router[str] = Router.build([])
            rules: dict[str, Rule[str]] = {}
            for added, removed in steps:
                ids = [f"r{n}" for n in removed]
                router = router.replace(ids, added)
                for id in ids:
                    rules.pop(id, None)
                rules.update((each.id, each) for each in added)
                self.assertEqual(shape(router), shape(Router.build(rules.values())))

        check()


def shape(router: Router[str]) -> object:
    """Everything in a router that decides a match, in comparable form."""

    def table(each: Any) -> object:
        buckets = {
            literal: (
                [c.rank for c in bucket.listed],
                {s: {k: [c.rank for c in leaf] for k, leaf in t.items()} for s, t in bucket.shapes.items()},
                bucket.most,
            )
            for literal, bucket in each.buckets.items()
        }
        exact = {path: [c.rank for c in leaf] for path, leaf in each.exact.items()}
        return exact, buckets, list(each.literals), dict(each.parents)

    return (
        {key: table(each) for key, each in router.hosts.items()},
        {key: table(each) for key, each in router.wildcards.items()},
        table(router.anywhere),
        router.suffixes,
        set(router.entries),
    )
