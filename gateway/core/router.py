"""The router: which route takes a request, in the order users can rely on.

1. The host decides first: an exact host, then wildcards by the longest suffix, then routes
   without a host. A host none of whose routes takes the request gives way to the next.
2. Within a host an exact path comes before every pattern, and the pattern with the longest
   literal text before the others. Only where that is the same, ``priority`` decides, then the
   longer pattern, then the order of creation.
3. Method, client address and ``vars`` must hold as well, else the next candidate is tried.

Source: data-plane contract §3.2 and §3.3 (host-first mode).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

from attrs import frozen

from gateway.core.exchange import Exchange
from gateway.core.hosts import HostPattern, split_port, without_dot
from gateway.core.overlay import Overlay
from gateway.core.patterns import parse
from gateway.core.route_explanation import Considered, explain_match
from gateway.core.route_table import Candidate, Match, PathTable, Rule, edit, edit_table

__all__ = ["Considered", "Match", "Router", "Rule"]

T = TypeVar("T")


@frozen(eq=False)
class Router(Generic[T]):
    """
    An immutable route table. ``Router.build`` makes the first, ``replace`` each next one.

    Attributes:
        entries: For each rule, by id, its places in the tables.
        hosts: Tables of exact hosts, by ``HostPattern.key``.
        wildcards: Tables of wildcard hosts, likewise.
        suffixes: Lengths of the wildcards' names, longest first.
        ports: Whether some host pattern has a port.
        anywhere: The table of rules without a host.
    """

    entries: Mapping[str, Sequence[Candidate[T]]]
    hosts: Mapping[str, PathTable[T]]
    wildcards: Mapping[str, PathTable[T]]
    suffixes: tuple[int, ...]
    ports: bool
    anywhere: PathTable[T]

    @classmethod
    def build(cls, rules: Iterable[Rule[T]]) -> Router[T]:
        """A router of *rules*; of several with one id the last counts."""
        return cls({}, {}, {}, (), False, PathTable()).replace((), rules)

    def replace(self, removed_ids: Iterable[str], added: Iterable[Rule[T]]) -> Router[T]:
        """
        A router without the rules *removed_ids* and with *added*. This one stays as it is.

        Args:
            removed_ids: Unknown ids are passed over.
            added: Rules; one whose id is in use takes that rule's place.
        """
        fresh = {rule.id: rule for rule in added}
        gone = (set(removed_ids) | fresh.keys()) & self.entries.keys()
        if not fresh and not gone:
            return self
        entries = Overlay(self.entries)
        removed = [candidate for id in gone for candidate in entries.pop(id)]
        for id, rule in fresh.items():
            entries[id] = tuple(_candidates(rule))
        coming = [candidate for id in fresh for candidate in entries[id]]

        exact, wild, bare = _Side(self.hosts), _Side(self.wildcards), _Side[T]({})
        for candidate in removed:
            _side(candidate, exact, wild, bare).removed.append(candidate)
        for candidate in coming:
            _side(candidate, exact, wild, bare).added.append(candidate)
        hosts, wildcards = exact.edited(), wild.edited()
        suffixes = self.suffixes
        if wildcards is not self.wildcards:
            lengths = {len(split_port(key)[0]) if ":" in key else len(key) for key in wildcards}
            suffixes = tuple(sorted(lengths, reverse=True))
        # Stays true when the last port goes: one more look at the Host field is all it costs.
        ports = self.ports or any(c.host is not None and c.host.port is not None for c in coming)
        anywhere = self.anywhere
        if bare.removed or bare.added:
            anywhere = edit_table(anywhere, bare.removed, bare.added) or PathTable()
        return Router(entries, hosts, wildcards, suffixes, ports, anywhere)

    def __len__(self) -> int:
        return len(self.entries)

    def match(self, subject: Exchange) -> Match[T] | None:
        """
        Find the rule that takes a request.

        Args:
            subject: Its ``path`` must be normalised (``gateway.core.paths.normalise``) and its
                ``host`` in lower case. While a rule's predicate runs, ``path_params`` holds
                that rule's parameters.
        Returns:
            The first rule, in the order of this module's description, all of which holds.
        """
        path = subject.path
        if self.hosts or self.wildcards:
            for table in self._tables(subject):
                found = table.find(path, subject)
                if found is not None:
                    return found
        return self.anywhere.find(path, subject)

    def explain(self, subject: Exchange) -> list[Considered]:
        """
        Say why ``match`` takes the rule it takes.

        Returns:
            What ``match`` looks at, in its order, ending with the winner if there is one; then up
            to ``route_explanation.NEAR_MISS_LIMIT`` rules that come close: another host, almost the path, or
            a rank behind the winner.
        """
        tables = [*self._tables(subject), self.anywhere]
        return explain_match(subject, request_host(subject), tables, self._everything())

    def _tables(self, subject: Exchange) -> Iterator[PathTable[T]]:
        """The tables of named hosts that a request's host belongs to, the most specific first."""
        host = without_dot(subject.host)
        port = request_host(subject)[1] if self.ports else None
        for name in (host,) if port is None else (f"{host}:{port}", host):
            table = self.hosts.get(name)
            if table is not None:
                yield table
        for length in self.suffixes:
            if length <= len(host):
                suffix = host[len(host) - length :]
                for name in (suffix,) if port is None else (f"{suffix}:{port}", suffix):
                    table = self.wildcards.get(name)
                    if table is not None:
                        yield table

    def _everything(self) -> Iterator[Candidate[T]]:
        for table in (*self.hosts.values(), *self.wildcards.values(), self.anywhere):
            yield from table


def request_host(subject: Exchange) -> tuple[str, str | None]:
    """The host a request is for, in lower case, and the port in its Host field or None."""
    sent = subject.fields.get(b"host")
    port = None if sent is None else split_port(sent.decode("latin-1"))[1]
    return without_dot(subject.host), port


class _Side(Generic[T]):
    """Changes to one of a router's tables of tables."""

    def __init__(self, tables: Mapping[str, PathTable[T]]) -> None:
        self.tables = tables
        self.removed: list[Candidate[T]] = []
        self.added: list[Candidate[T]] = []

    def edited(self) -> Mapping[str, PathTable[T]]:
        if not self.removed and not self.added:
            return self.tables
        return edit(self.tables, self.removed, self.added, _host_key, edit_table)


def _side(candidate: Candidate[T], exact: _Side[T], wild: _Side[T], bare: _Side[T]) -> _Side[T]:
    if candidate.host is None:
        return bare
    return wild if candidate.host.wildcard else exact


def _host_key(candidate: Candidate[T]) -> str:
    assert candidate.host is not None
    return candidate.host.key


def _candidates(rule: Rule[T]) -> Iterator[Candidate[T]]:
    hosts: dict[tuple[bool, str], HostPattern | None] = {}
    for text in rule.hosts:
        host = HostPattern.parse(text)
        hosts.setdefault((host.wildcard, host.key), host)
    for known in hosts.values() or (None,):
        for path in dict.fromkeys(rule.paths):
            yield Candidate(rule, parse(path), known)
