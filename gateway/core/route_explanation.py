"""Why a route was taken and others were not, in words: the slow twin of ``PathTable.find``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from attrs import frozen

from gateway.core.exchange import Exchange
from gateway.core.patterns import Kind, Pattern, parse
from gateway.core.regex_limits import MatchTimeout
from gateway.core.route_table import Candidate, PathTable

T = TypeVar("T")

NEAR_MISS_LIMIT = 20
"""How many rules that come close are told besides those that were looked at."""


@frozen
class Considered:
    """
    One candidate and what became of it.

    Attributes:
        rule_id: The rule. pattern: the path pattern it was looked at under.
        host: The host pattern; ``""`` for a rule without hosts.
        failed: What did not hold: ``path``, ``host``, ``method``, ``address`` or ``vars``; None
            if all of it holds.
        detail: The same in words, for people.
        won: Whether it takes the request. A candidate with *failed* None that did not win
            stands behind the one that did.
    """

    rule_id: str
    pattern: str
    host: str
    failed: str | None
    detail: str
    won: bool = False


def explain_match(
    subject: Exchange,
    host: tuple[str, str | None],
    tables: Iterable[PathTable[T]],
    everything: Iterable[Candidate[T]],
) -> list[Considered]:
    """
    Tell what a look-up considers, and what came close.

    Args:
        host: The request's host, and the port in its Host field if any.
        tables: The tables that are looked through, in order.
        everything: All candidates there are.
    Returns:
        As ``Router.explain``.
    """
    told: list[Considered] = []
    looked_at: set[str] = set()
    winner: Candidate[T] | None = None
    for candidate in _in_order(tables, subject.path):
        looked_at.add(candidate.rule.id)
        params = candidate.pattern.params(subject.path)
        try:
            failed = "path" if params is None else candidate.failure(subject, params)
        except MatchTimeout as timeout:
            # The request ends here.
            return [*told, _told(candidate, "vars", str(timeout))]
        if failed is None:
            winner = candidate
            told.append(_told(candidate, None, _praise(candidate.pattern), won=True))
            break
        told.append(_told(candidate, failed, _complaint(candidate, subject, failed)))
    close: dict[str, tuple[int, tuple[int, int, int, str, str], Considered]] = {}
    for candidate in everything:
        if candidate.rule.id not in looked_at:
            nearness = _near_miss(candidate, subject, host, winner)
            if nearness is not None:
                miss = (nearness[0], candidate.rank, nearness[1])
                best = close.get(candidate.rule.id, miss)
                close[candidate.rule.id] = min(best, miss, key=lambda entry: entry[:2])
    ordered = sorted(close.values(), key=lambda entry: entry[:2])
    return told + [entry[2] for entry in ordered[:NEAR_MISS_LIMIT]]


def _in_order(tables: Iterable[PathTable[T]], path: str) -> Iterable[Candidate[T]]:
    for table in tables:
        yield from table.considered(path)


def _told(candidate: Candidate[T], failed: str | None, detail: str, *, won: bool = False) -> Considered:
    match = candidate.match
    return Considered(candidate.rule.id, match.pattern, match.host, failed, detail, won)


def _praise(pattern: Pattern) -> str:
    if pattern.kind is Kind.EXACT:
        return "takes the request: it is exactly this path"
    return f"takes the request: the path fits, starting with {pattern.literal}"


def _complaint(candidate: Candidate[T], subject: Exchange, failed: str) -> str:
    if failed == "path":
        return f"{subject.path} does not fit {candidate.pattern.text}"
    if failed == "method":
        sent = subject.request.method.decode("latin-1")
        return f"takes {', '.join(sorted(candidate.rule.methods or ()))}; the request is {sent}"
    if failed == "address":
        return f"{subject.client_ip} is not among its client addresses"
    return "its vars do not hold for this request"


def _near_miss(
    candidate: Candidate[T], subject: Exchange, host: tuple[str, str | None], winner: Candidate[T] | None
) -> tuple[int, Considered] | None:
    """How far off a candidate is, 0 being the nearest, and in words; None if it is not close at all."""
    pattern = candidate.pattern
    params = pattern.params(subject.path)
    covered = candidate.host is None or candidate.host.covers(*host)
    if params is not None and not covered:
        assert candidate.host is not None
        asked = (host[0] or "no host") + (f":{host[1]}" if host[1] else "")
        return 2, _told(candidate, "host", f"is for {candidate.host.text}; the request is for {asked}")
    if params is not None:
        try:
            failed = candidate.failure(subject, params)
        except MatchTimeout as timeout:
            return 1, _told(candidate, "vars", str(timeout))
        if failed is not None:
            return 1, _told(candidate, failed, _complaint(candidate, subject, failed))
        if winner is None:
            return None
        return 0, _told(candidate, None, f"would take it too, but {_ahead(winner, candidate)}")
    words = _nearly(pattern, subject.path) if covered else None
    return None if words is None else (3, _told(candidate, "path", words))


def _ahead(winner: Candidate[T], other: Candidate[T]) -> str:
    """Why *winner* comes before *other*, which would fit as well."""
    first, second = winner.pattern, other.pattern
    if winner.match.host != other.match.host:
        than = other.match.host or "any host"
        return f"{winner.rule.id} is for {winner.match.host}, which is more specific than {than}"
    if first.kind is Kind.EXACT and second.kind is not Kind.EXACT:
        return f"{winner.rule.id} has exactly this path"
    if len(first.literal) != len(second.literal):
        return f"{winner.rule.id} has the longer literal text, {first.literal}; priority does not count then"
    if winner.rule.priority != other.rule.priority:
        return f"{winner.rule.id} has the priority {winner.rule.priority}, this one {other.rule.priority}"
    if len(first.text) != len(second.text):
        return f"{winner.rule.id} has the longer pattern, {first.text}"
    return f"{winner.rule.id} was created earlier"


def _nearly(pattern: Pattern, path: str) -> str | None:
    if pattern.params(path + "/") is not None:
        return f"{pattern.text} needs the slash after {path}"
    if len(path) > 1 and path.endswith("/") and pattern.params(path[:-1]) is not None:
        return f"{pattern.text} has no slash at the end; the request has one"
    literal = pattern.literal
    if path.startswith(literal):
        if len(literal) > 1 and pattern.kind is not Kind.EXACT:
            return f"the path starts with {literal}, but the rest does not fit {pattern.text}"
        return None
    if path[: len(literal)].lower() == literal.lower():
        other: Mapping[str, str] | None = parse(pattern.text.lower()).params(path.lower())
        if other is not None:
            return f"{pattern.text} differs in upper and lower case"
    return None
