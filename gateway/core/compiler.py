"""From stored resources to a snapshot, compiling only what changed.

The compiler remembers bound plugins and upstreams by where they stand, and hands the same
object out again as long as its definition is the same: one changed route among ten thousand
costs one route, and no counter, picker or cache elsewhere starts anew.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from attrs import define, evolve, field

from gateway.core.addresses import AddressSet
from gateway.core.balancer import make_picker
from gateway.core.chain import EMPTY, BoundPlugin, Chain, apply_meta
from gateway.core.consumers import ConsumerEntry, Identity
from gateway.core.expressions import ExpressionError, compile_expression
from gateway.core.merge import PluginUse, merge, merge_global, uses_of
from gateway.core.owners import Owned, Owner, entry_of, identities_of
from gateway.core.paths import join_prefix
from gateway.core.retry import RetryPolicy
from gateway.core.router import Router, Rule
from gateway.core.snapshot import CompiledRoute, CompiledUpstream, Snapshot, Sources, bind_chain
from gateway.model.consumer import Consumer
from gateway.model.credential import Credential, split_id
from gateway.model.global_rule import GlobalRule
from gateway.model.problems import ConfigErrors, Problem
from gateway.model.record import Change, Key, Record
from gateway.model.route import Route
from gateway.model.service import Service
from gateway.model.upstream import Upstream

_T = TypeVar("_T")

SERVED_KINDS = frozenset({"service", "route", "consumer", "credential", "global_rule"})
"""The kinds a snapshot is made of; changes of others leave it as it is."""


class PluginSource(Protocol):
    """Where the compiler gets plugins from."""

    def bind(self, use: PluginUse) -> BoundPlugin:
        """Make an instance and look its hooks up, ``_meta`` aside. Raises ValueError if it cannot be made."""

    def is_auth(self, name: str) -> bool:
        """Whether credentials can be for it."""

    def credential(self, name: str, config: Mapping[str, Any]) -> tuple[str, object]:
        """
        Prepare a credential.

        Returns:
            The key it is found by, and what the plugin made of it.
        Raises:
            ValueError: it cannot be used.
        """


@define
class _Work:
    """The tables of a snapshot in the making: copies of the last one's, plus what has to be redone."""

    services: dict[str, Service]
    routes: dict[str, Route]
    orders: dict[str, int]
    routes_of: dict[str, set[str]]
    next_order: int
    global_rules: dict[str, GlobalRule]
    owners: dict[str, Owner]
    owned: dict[str, Owned]
    compiled: dict[str, CompiledRoute]
    consumers: dict[str, ConsumerEntry]
    identities: dict[str, dict[str, Identity]]
    quarantined: dict[Key, str]
    notices: dict[Key, str]
    redo_routes: set[str] = field(factory=set)
    redo_owners: set[str] = field(factory=set)
    redo_globals: bool = False
    problems: list[Problem] = field(factory=list)
    _own_members: set[str] = field(factory=set)

    @classmethod
    def on(cls, last: Snapshot, kinds: Collection[str]) -> _Work:
        """Start from *last*; tables that changes of *kinds* cannot touch are shared, not copied."""
        src = last.sources

        def table(have: Mapping[str, _T], *touched_by: str) -> dict[str, _T]:
            if any(kind in kinds for kind in touched_by):
                return dict(have)
            shared: Any = have
            return shared  # type: ignore[no-any-return]

        routing, owning = ("service", "route"), ("consumer", "credential")
        identities = last.identities
        if any(kind in kinds for kind in owning):
            identities = {plugin: dict(keys) for plugin, keys in identities.items()}
        return cls(
            services=table(src.services, "service"),
            routes=table(src.routes, "route"),
            orders=table(src.orders, "route"),
            routes_of=table(src.routes_of, "route"),
            next_order=src.next_order,
            global_rules=table(src.global_rules, "global_rule"),
            owners=table(src.owners, *owning),
            owned=table(src.owned, *owning),
            compiled=table(last.routes, *routing),
            consumers=table(last.consumers, *owning),
            identities=table(identities),  # type: ignore[arg-type]  # a copy by now, where one is needed
            quarantined=dict(last.quarantined),
            notices=dict(last.notices),
        )

    def members(self, service_id: str) -> set[str]:
        """The ids of a service's routes, as a set that may be changed: copied once, not once a route."""
        if service_id not in self._own_members:
            self._own_members.add(service_id)
            self.routes_of[service_id] = set(self.routes_of.get(service_id, ()))
        return self.routes_of[service_id]

    def sources(self) -> Sources:
        return Sources(
            services=self.services,
            routes=self.routes,
            orders=self.orders,
            routes_of=self.routes_of,
            next_order=self.next_order,
            global_rules=self.global_rules,
            owners=self.owners,
            owned=self.owned,
        )


class Compiler:
    """
    Makes snapshots of one gateway group.

    Not shared between data planes: it holds live plugin instances and pickers.
    """

    def __init__(
        self,
        plugins: PluginSource,
        group: str,
        *,
        now: Callable[[], float] = lambda: 0.0,
        random: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """
        Args:
            now, random: Time and chance for pickers; see ``gateway.core.balancer.make_picker``.
        """
        self.group = group
        self._now = now
        self._random = random
        self._plugins = plugins
        self._bound: dict[str, dict[str, tuple[Mapping[str, Any], BoundPlugin]]] = {}
        self._upstreams: dict[str, CompiledUpstream] = {}

    def empty(self) -> Snapshot:
        """The snapshot before anything was configured."""
        return Snapshot(0, Router.build(()), {}, EMPTY, {}, {}, Sources(), self.bind)

    def load(self, records: Iterable[Record], revision: int, damaged: Collection[Key] = ()) -> Snapshot:
        """
        Compile everything; what cannot be compiled is quarantined and the rest serves.

        Args:
            records: In the order of creation; other groups' are passed over.
            damaged: Records whose secrets the store could not decrypt. They are quarantined
                unseen: what stands in the place of a secret must never be taken for it.
        """
        bad = frozenset(damaged)
        changes = [Change(r.group, r.kind, r.id, r.value, r.dialect) for r in records if r.key not in bad]
        snapshot = self._apply(self.empty(), changes, revision, strict=False)
        served = {key for key in bad if key[0] == self.group and key[1] in SERVED_KINDS}
        why = dict.fromkeys(sorted(served), "its secrets cannot be decrypted with the key file")
        return evolve(snapshot, quarantined={**snapshot.quarantined, **why})

    def apply(self, last: Snapshot, changes: Sequence[Change], revision: int) -> Snapshot:
        """
        Compile *changes* on top of *last*, which stays as it is.

        Raises:
            ConfigErrors: the result cannot be served; each path starts with kind and id.
        """
        if not any(change.group == self.group and change.kind in SERVED_KINDS for change in changes):
            return evolve(last, revision=revision)
        return self._apply(last, changes, revision, strict=True)

    def forget(self, changes: Iterable[Change]) -> None:
        """Drop what belonged to removed resources; to be called once their removal is served."""
        for change in changes:
            if change.value is None and change.group == self.group:
                self._bound.pop(f"{change.kind}/{change.id}", None)
                self._upstreams.pop(f"{change.kind}/{change.id}", None)

    # -- plugins and upstreams, remembered by where they stand

    def bind(self, use: PluginUse) -> BoundPlugin:
        """The bound plugin of *use*: the one made before, if nothing about it changed."""
        here = self._bound.setdefault(use.origin, {})
        known = here.get(use.name)
        if known is not None and known[0] == use.config:
            return known[1]
        plugin = apply_meta(self._plugins.bind(use), _filter_of(use))
        here[use.name] = (use.config, plugin)
        return plugin

    def _upstream(self, key: str, upstream: Upstream | None) -> CompiledUpstream | None:
        if upstream is None:
            return None
        known = self._upstreams.get(key)
        if known is None or known.upstream != upstream:
            previous = None if known is None else known.picker
            picker = make_picker(upstream, previous, now=self._now, random=self._random)
            known = CompiledUpstream(key, upstream, picker, RetryPolicy.of(upstream))
            self._upstreams[key] = known
        return known

    # -- the steps

    def _apply(self, last: Snapshot, changes: Sequence[Change], revision: int, *, strict: bool) -> Snapshot:
        ours = [change for change in changes if change.group == self.group and change.kind in SERVED_KINDS]
        work = _Work.on(last, {change.kind for change in ours})
        for change in ours:
            work.quarantined.pop(change.key, None)
            work.notices.pop(change.key, None)
            self._guard(work, change.key, _read, work, change)
        rules: list[Rule[CompiledRoute]] = []
        redo = sorted(work.redo_routes, key=lambda route: work.orders.get(route, 0))
        for id in redo:
            work.compiled.pop(id, None)
            if id in work.routes:
                self._guard(work, (self.group, "route", id), self._compile_route, work, id, rules)
        for username in sorted(work.redo_owners):
            self._index_owner(work, username)
        chain = self._global_chain(work) if work.redo_globals else last.global_chain
        if strict and work.problems:
            raise ConfigErrors(work.problems)
        return Snapshot(
            revision=revision,
            router=last.router.replace(redo, rules) if redo else last.router,
            routes=work.compiled,
            global_chain=chain,
            identities=work.identities,
            consumers=work.consumers,
            sources=work.sources(),
            bind=self.bind,
            quarantined=work.quarantined,
            notices=work.notices,
        )

    def _guard(self, work: _Work, key: Key, step: Callable[..., object], *args: Any) -> None:
        """Run one step; what it refuses is a problem of that resource alone."""
        _, kind, id = key
        try:
            step(*args)
        except ConfigErrors as errors:
            work.problems.extend(problem.below(kind, id) for problem in errors.problems)
            work.quarantined[key] = str(errors)
        except (ValueError, LookupError, TypeError) as error:
            # LookupError and TypeError: a document of another version that no longer fits its schema.
            work.problems.append(Problem((kind, id), "value", str(error) or repr(error)))
            work.quarantined[key] = f"{type(error).__name__}: {error}"

    def _compile_route(self, work: _Work, id: str, rules: list[Rule[CompiledRoute]]) -> None:
        route = work.routes[id]
        service = None if route.service_id is None else work.services.get(route.service_id)
        if not route.enabled or (route.service_id is not None and (service is None or not service.enabled)):
            return
        own = uses_of(f"route/{id}", route.plugins)
        uses = merge([own] if service is None else [own, uses_of(f"service/{service.id}", service.plugins)])
        upstream = None if service is None else self._upstream(f"service/{service.id}", service.upstream)
        prefix = None if service is None else service.path_prefix
        compiled = CompiledRoute(
            id=id,
            name=route.name,
            service_id=route.service_id,
            service_name=None if service is None else service.name,
            route=route,
            uses=uses,
            chain=bind_chain(uses, self.bind),
            upstream=upstream,
            timeout=route.timeout or (None if upstream is None else upstream.upstream.timeout),
            strip_prefix=prefix if service is not None and service.strip_path_prefix else None,
        )
        rules.append(
            Rule(
                id=id,
                paths=tuple(join_prefix(prefix, path) if prefix else path for path in route.paths),
                hosts=route.hosts or (() if service is None else service.hosts),
                methods=route.methods,
                addresses=AddressSet.parse(list(route.remote_addrs)) if route.remote_addrs else None,
                predicate=_expression(route.vars, "vars"),
                priority=route.priority,
                order=work.orders[id],
                target=compiled,
            )
        )
        work.compiled[id] = compiled

    def _global_chain(self, work: _Work) -> Chain:
        uses, doubled = merge_global((rule.id, rule.plugins) for rule in work.global_rules.values())
        plugins = {}
        for name, use in uses.items():
            key = (self.group, "global_rule", use.origin.partition("/")[2])
            problems = len(work.problems)
            if not use.disabled:
                self._guard(work, key, self.bind, use)
            if len(work.problems) == problems:
                plugins[name] = use
            if name in doubled:
                work.notices[key] = f"plugin {name} stands in another global rule too; this one counts"
        return bind_chain(plugins, self.bind)

    def _index_owner(self, work: _Work, username: str) -> None:
        for plugin, key, identity in work.owned.pop(username, ()):
            table = work.identities.get(plugin, {})
            if table.get(key) is identity:
                del table[key]
        work.consumers.pop(username, None)
        owner = work.owners.get(username)
        if owner is None or owner.consumer is None:
            return
        entry = entry_of(owner.consumer, self._plugins.is_auth)
        work.consumers[username] = entry
        owned, faults = identities_of(owner, entry, self._plugins.credential, self._plugins.is_auth)
        for id, text in faults.items():
            self._note_credential(work, username, id, text)
        for plugin, key, identity in owned:
            other = work.identities.setdefault(plugin, {}).setdefault(key, identity)
            if other is not identity:
                text = f"{plugin}: its key belongs to consumer {other.consumer.username} already"
                self._note_credential(work, username, identity.credential_id, text)
        work.owned[username] = owned

    def _note_credential(self, work: _Work, username: str, id: str | None, text: str) -> None:
        key = (
            (self.group, "consumer", username)
            if id is None
            else (self.group, "credential", f"{username}/{id}")
        )
        work.notices[key] = f"not usable, {text}"


def _expression(raw: Sequence[Any] | None, member: str) -> Callable[..., bool] | None:
    if not raw:
        return None
    try:
        return compile_expression(list(raw))
    except ExpressionError as error:
        text = f"failed to validate the '{member}' expression: {error}"
        raise ConfigErrors([Problem((member,), "expression", text)]) from error


def _filter_of(use: PluginUse) -> Callable[..., bool] | None:
    meta = use.config.get("_meta")
    raw = meta.get("filter") if isinstance(meta, Mapping) else None
    if not isinstance(raw, list):
        return None
    try:
        return compile_expression(raw) if raw else None
    except ExpressionError:
        # A filter that cannot be evaluated lets the plugin run (data-plane contract §6).
        return None


def _read(work: _Work, change: Change) -> None:
    """Enter one change into the tables, and note what has to be redone because of it."""
    id, value = change.id, change.value
    match change.kind:
        case "service":
            work.redo_routes.update(work.routes_of.get(id, ()))
            work.services.pop(id, None)
            if value is not None and value.get("type", "http") == "http":
                work.services[id] = Service.parse(id, value)
        case "route":
            work.redo_routes.add(id)
            _read_route(work, id, None if value is None else Route.parse(id, value))
        case "consumer":
            work.redo_owners.add(id)
            consumer = None if value is None else Consumer.parse(id, value)
            _set_owner(work, id, evolve(work.owners.get(id, Owner()), consumer=consumer))
        case "credential":
            username, own = split_id(id)
            work.redo_owners.add(username)
            credential = None if value is None else Credential.parse(id, value)
            _set_owner(work, username, work.owners.get(username, Owner()).with_credential(own, credential))
        case "global_rule":
            work.redo_globals = True
            work.global_rules.pop(id, None)
            if value is not None:
                work.global_rules[id] = GlobalRule.parse(id, value)


def _read_route(work: _Work, id: str, route: Route | None) -> None:
    old = work.routes.pop(id, None)
    if old is not None and old.service_id is not None:
        work.members(old.service_id).discard(id)
    if route is None:
        work.orders.pop(id, None)
        return
    work.routes[id] = route
    if id not in work.orders:
        work.next_order += 1
        work.orders[id] = work.next_order
    if route.service_id is not None:
        work.members(route.service_id).add(id)


def _set_owner(work: _Work, username: str, owner: Owner) -> None:
    if owner == Owner():
        work.owners.pop(username, None)
    else:
        work.owners[username] = owner
