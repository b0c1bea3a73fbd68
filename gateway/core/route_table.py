"""The routes of one host, found by path: persistent tables that share what did not change.

A ``PathTable`` holds exact paths in a dict. Every other pattern lies in the bucket of its
literal text (what stands before the first parameter or ``*``). The literal texts are kept
sorted: the longest that starts a path is an ancestor of the path's predecessor in that order,
so one bisection and a walk over nested texts find the buckets, longest first. In a bucket,
patterns with parameters lie in dicts by shape and fixed segments. So the number of routes
hardly matters; what is tried one by one are routes that share a path pattern.

Nothing here is changed once made. ``edited`` copies the dicts on the way to a change.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

from attrs import field, frozen

from gateway.core.addresses import AddressSet
from gateway.core.exchange import Exchange
from gateway.core.hosts import HostPattern
from gateway.core.patterns import NO_PARAMS, Kind, Pattern, Shape

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")


@frozen(eq=False)
class Rule(Generic[T]):
    """
    What one route asks of a request; all of it has to hold.

    Attributes:
        id: Unique in a router.
        paths: Path patterns (``gateway.core.patterns``), the service's prefix in front.
        hosts: Host patterns (``gateway.core.hosts``); empty for any host.
        methods: Method names; None for any.
        addresses: Where the client's address must be; None for anywhere.
        predicate: The compiled ``vars``; None if there are none.
        priority: Larger is tried first, among rules whose patterns share their literal text.
        order: The place in the order of creation; smaller is tried first where all else is equal.
        target: What the rule leads to.
    """

    id: str
    paths: tuple[str, ...]
    target: T
    hosts: tuple[str, ...] = ()
    methods: frozenset[str] | None = None
    addresses: AddressSet | None = None
    predicate: Callable[[Exchange], bool] | None = None
    priority: int = 0
    order: int = 0


@frozen(eq=False)
class Match(Generic[T]):
    """
    A rule that takes a request.

    Attributes:
        params: Values of the pattern's parameters.
        pattern: The path pattern that fitted. host: the host pattern, ``""`` for a rule without.
    """

    rule: Rule[T]
    params: Mapping[str, str]
    pattern: str
    host: str


class Candidate(Generic[T]):
    """A rule under one of its path patterns and one of its hosts: an entry of the table."""

    __slots__ = (
        "addresses",
        "free",
        "host",
        "match",
        "methods",
        "pattern",
        "plain",
        "predicate",
        "rank",
        "rule",
    )

    def __init__(self, rule: Rule[T], pattern: Pattern, host: HostPattern | None) -> None:
        self.rule = rule
        self.pattern = pattern
        self.host = host
        self.methods = None if rule.methods is None else frozenset(m.encode("latin-1") for m in rule.methods)
        self.addresses = rule.addresses
        self.predicate = rule.predicate
        self.free = self.methods is None and self.addresses is None and self.predicate is None
        # A prefix takes every path it is looked at for.
        self.plain = self.free and pattern.kind is Kind.PREFIX and pattern.names[0] is None
        self.rank = (-rule.priority, -len(pattern.text), rule.order, rule.id, pattern.text)
        self.match: Match[T] = Match(rule, NO_PARAMS, pattern.text, "" if host is None else host.text)

    def failure(self, subject: Exchange, params: Mapping[str, str]) -> str | None:
        """The first condition, path and host aside, that does not hold: ``method``, ``address``, ``vars``."""
        if self.methods is not None and subject.request.method not in self.methods:
            return "method"
        if self.addresses is not None and subject.client_ip not in self.addresses:
            return "address"
        if self.predicate is not None:
            # Expressions may ask for the parameters of the route they belong to.
            before = subject.path_params
            subject.path_params = params
            try:
                if not self.predicate(subject):
                    return "vars"
            finally:
                subject.path_params = before
        return None

    def take(self, path: str, subject: Exchange) -> Match[T] | None:
        """The match, if all of the rule holds."""
        pattern = self.pattern
        if pattern.kind is Kind.EXACT or (pattern.kind is Kind.PREFIX and pattern.names[0] is None):
            if self.free or self.failure(subject, NO_PARAMS) is None:
                return self.match
            return None
        params = pattern.params(path)
        if params is None or not (self.free or self.failure(subject, params) is None):
            return None
        return Match(self.rule, params, self.match.pattern, self.match.host)


Leaf = tuple[Candidate[T], ...]
"""Candidates in the order they are tried."""

Changes = Iterable[Candidate[T]]


def edit(
    table: Mapping[K, V],
    removed: Changes[T],
    added: Changes[T],
    key: Callable[[Candidate[T]], K],
    change: Callable[[V | None, list[Candidate[T]], list[Candidate[T]]], V | None],
) -> dict[K, V]:
    """
    Copy *table*, changing the entries that candidates fall into.

    Args:
        key: Under which entry a candidate lies.
        change: Given the entry (None if there is none yet), what leaves it and what comes to
            it, the new entry; None if nothing is left.
    """
    parts: dict[K, tuple[list[Candidate[T]], list[Candidate[T]]]] = {}
    for candidate in removed:
        parts.setdefault(key(candidate), ([], []))[0].append(candidate)
    for candidate in added:
        parts.setdefault(key(candidate), ([], []))[1].append(candidate)
    copy = dict(table)
    for name, (leaving, coming) in parts.items():
        entry = change(copy.get(name), leaving, coming)
        if entry is None:
            copy.pop(name, None)
        else:
            copy[name] = entry
    return copy


def _rank(candidate: Candidate[T]) -> tuple[int, int, int, str, str]:
    return candidate.rank


def edit_leaf(
    leaf: Leaf[T] | None, removed: Sequence[Candidate[T]], added: Sequence[Candidate[T]]
) -> Leaf[T] | None:
    """A leaf without *removed* and with *added*; None if it is empty."""
    gone = set(removed)
    kept = [candidate for candidate in leaf or () if candidate not in gone]
    kept.extend(added)
    kept.sort(key=_rank)
    return tuple(kept) or None


@frozen(eq=False)
class Bucket(Generic[T]):
    """
    The patterns that share one literal text.

    Attributes:
        listed: Prefixes, and patterns that have to be compared as a text.
        shapes: Patterns of parameters, by shape and fixed segments.
        most: The largest count of a shape.
    """

    listed: Leaf[T] = ()
    shapes: Mapping[Shape, Mapping[tuple[str, ...], Leaf[T]]] = field(factory=dict)
    most: int = 0

    def at(self, path: str, skip: int) -> Leaf[T]:
        """Those that may fit *path*, which starts with the literal text of *skip* characters."""
        if not self.shapes:
            return self.listed
        parts = path[skip:].split("/", self.most)
        size = len(parts)
        found = self.listed
        for shape, table in self.shapes.items():
            if size == shape.count or (shape.open and size > shape.count):
                leaf = table.get(tuple([parts[index] for index in shape.fixed]))
                if leaf is not None:
                    found = found + leaf if found else leaf
        if len(found) > 1:
            return tuple(sorted(found, key=_rank))
        return found

    def __iter__(self) -> Iterator[Candidate[T]]:
        yield from self.listed
        for table in self.shapes.values():
            for leaf in table.values():
                yield from leaf


def _edit_bucket(
    bucket: Bucket[T] | None, removed: list[Candidate[T]], added: list[Candidate[T]]
) -> Bucket[T] | None:
    old: Bucket[T] = Bucket() if bucket is None else bucket
    listed = edit_leaf(
        old.listed, [c for c in removed if not c.pattern.shape], [c for c in added if not c.pattern.shape]
    )
    shapes = edit(
        old.shapes,
        [c for c in removed if c.pattern.shape],
        [c for c in added if c.pattern.shape],
        _shape,
        lambda table, out, new: edit(table or {}, out, new, _fixed, edit_leaf) or None,
    )
    if listed is None and not shapes:
        return None
    return Bucket(listed or (), shapes, max((shape.count for shape in shapes), default=0))


def _shape(candidate: Candidate[T]) -> Shape:
    assert candidate.pattern.shape is not None
    return candidate.pattern.shape


def _fixed(candidate: Candidate[T]) -> tuple[str, ...]:
    return candidate.pattern.key


def _literal(candidate: Candidate[T]) -> str:
    return candidate.pattern.literal


@frozen(eq=False)
class PathTable(Generic[T]):
    """
    All candidates of one host.

    Attributes:
        exact: By path.
        buckets: By literal text.
        literals: The keys of *buckets*, sorted.
        parents: For each literal text the longest other one that it starts with, or None.
    """

    exact: Mapping[str, Leaf[T]] = field(factory=dict)
    buckets: Mapping[str, Bucket[T]] = field(factory=dict)
    literals: Sequence[str] = ()
    parents: Mapping[str, str | None] = field(factory=dict)

    def find(self, path: str, subject: Exchange) -> Match[T] | None:
        """The first candidate that takes the request."""
        leaf = self.exact.get(path)
        if leaf is not None:
            for candidate in leaf:
                if candidate.free or candidate.failure(subject, NO_PARAMS) is None:
                    return candidate.match
        place = bisect_right(self.literals, path)
        literal = self.literals[place - 1] if place else None
        while literal is not None:
            if path.startswith(literal):
                bucket = self.buckets[literal]
                for candidate in bucket.at(path, len(literal)) if bucket.shapes else bucket.listed:
                    if candidate.plain:
                        return candidate.match
                    found = candidate.take(path, subject)
                    if found is not None:
                        return found
            literal = self.parents[literal]
        return None

    def _longest(self, path: str) -> str | None:
        place = bisect_right(self.literals, path)
        literal = self.literals[place - 1] if place else None
        while literal is not None and not path.startswith(literal):
            literal = self.parents[literal]
        return literal

    def considered(self, path: str) -> Iterator[Candidate[T]]:
        """The candidates ``find`` looks at, in its order."""
        yield from self.exact.get(path, ())
        literal = self._longest(path)
        while literal is not None:
            yield from self.buckets[literal].at(path, len(literal))
            literal = self.parents[literal]

    def __iter__(self) -> Iterator[Candidate[T]]:
        for leaf in self.exact.values():
            yield from leaf
        for bucket in self.buckets.values():
            yield from bucket


def edit_table(
    table: PathTable[T] | None, removed: Sequence[Candidate[T]], added: Sequence[Candidate[T]]
) -> PathTable[T] | None:
    """A path table without *removed* and with *added*; None if it is empty."""
    old: PathTable[T] = PathTable() if table is None else table
    exact, buckets = old.exact, old.buckets
    out = [c for c in removed if c.pattern.kind is Kind.EXACT]
    new = [c for c in added if c.pattern.kind is Kind.EXACT]
    if out or new:
        exact = edit(exact, out, new, _literal, edit_leaf)
    literals, parents = old.literals, old.parents
    out = [c for c in removed if c.pattern.kind is not Kind.EXACT]
    new = [c for c in added if c.pattern.kind is not Kind.EXACT]
    if out or new:
        buckets = edit(buckets, out, new, _literal, _edit_bucket)
        touched = {c.pattern.literal for c in (*out, *new)}
        gone = [literal for literal in touched if literal in parents and literal not in buckets]
        come = [literal for literal in touched if literal in buckets and literal not in parents]
        if gone or come:
            literals, parents = _edit_literals(old, buckets, gone, come)
    if not exact and not buckets:
        return None
    return PathTable(exact, buckets, literals, parents)


def _edit_literals(
    old: PathTable[T], buckets: Mapping[str, Bucket[T]], gone: list[str], come: list[str]
) -> tuple[list[str], dict[str, str | None]]:
    if (len(gone) + len(come)) * 8 > len(buckets):
        literals = sorted(buckets)
        return literals, _parents(literals)
    literals, parents = list(old.literals), dict(old.parents)
    for literal in gone:
        at = bisect_left(literals, literal)
        del literals[at]
        above = parents.pop(literal)
        for child in _below(literals, at, literal):
            if parents[child] == literal:
                parents[child] = above
    for literal in come:
        at = bisect_left(literals, literal)
        above = literals[at - 1] if at else None
        while above is not None and not literal.startswith(above):
            above = parents[above]
        for child in _below(literals, at, literal):
            if parents[child] == above:
                parents[child] = literal
        literals.insert(at, literal)
        parents[literal] = above
    return literals, parents


def _below(literals: list[str], at: int, start: str) -> Iterator[str]:
    for index in range(at, len(literals)):
        if not literals[index].startswith(start):
            return
        yield literals[index]


def _parents(literals: list[str]) -> dict[str, str | None]:
    parents: dict[str, str | None] = {}
    above: str | None = None
    for literal in literals:
        while above is not None and not literal.startswith(above):
            above = parents[above]
        parents[literal] = above
        above = literal
    return parents
