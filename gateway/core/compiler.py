"""From stored resources to a snapshot, compiling only what changed.

The compiler remembers bound plugins and upstreams by where they stand, and hands the same
object out again as long as its definition is the same: one changed route among ten thousand
costs one route, and no counter, picker or cache elsewhere starts anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar
from weakref import WeakValueDictionary

from attrs import evolve

from gateway.core.addresses import AddressSet
from gateway.core.balancer import make_picker
from gateway.core.certificates import (
    CertificateSource,
    CertificateTable,
    NoTLS,
    ServedSsl,
    ssl_of_sni,
)
from gateway.core.chain import EMPTY, BoundPlugin, Chain, apply_meta
from gateway.core.content_variables import mentions
from gateway.core.merge import PluginUse, merge, merge_global, uses_of
from gateway.core.owners import entry_of, identities_of
from gateway.core.paths import join_prefix
from gateway.core.picking import Picker
from gateway.core.retry import RetryPolicy
from gateway.core.route_parts import filter_of, predicate, tunnels
from gateway.core.router import Router, Rule
from gateway.core.secrets import UnresolvedReference, managed_references
from gateway.core.snapshot import (
    MISSING_PLUGIN_CONFIG,
    CompiledRoute,
    CompiledUpstream,
    Snapshot,
    Sources,
    bind_chain,
)
from gateway.core.steps import Steps, at_once
from gateway.core.tables import Work, read
from gateway.model.problems import ConfigErrors, Problem
from gateway.model.record import Change, Key, Record
from gateway.model.route import Route
from gateway.model.service import Service
from gateway.model.ssl import Ssl
from gateway.model.upstream import Upstream
from gateway.model.upstream import problems as upstream_problems

_T = TypeVar("_T")

SERVED_KINDS = frozenset(
    {"service", "route", "consumer", "credential", "global_rule", "upstream", "service_upstream"}
    | {"plugin_config", "consumer_group", "plugin_metadata", "ssl", "certificate", "ca_certificate", "sni"}
    | {"secret"}
)
"""The kinds a snapshot is made of; changes of others leave it as it is."""
CERTIFICATE_KINDS = frozenset({"ssl", "certificate", "ca_certificate", "sni"})
"""Those that its ``CertificateTable`` is made of."""
_SHARING = frozenset({"consumer", "consumer_group", "plugin_config", "service"})
"""Kinds whose plugins become part of routes later, if at all."""
ROUTES_AT_ONCE = 500
"""How many routes enter the router in one step: a step copies its tables."""


class PluginSource(Protocol):
    """Where the compiler gets plugins from."""

    def bind(
        self, use: PluginUse, metadata: Mapping[str, Any], upstream: Callable[[Mapping[str, Any]], Any]
    ) -> BoundPlugin:
        """
        Make an instance and look its hooks up, ``_meta`` aside.

        Args:
            metadata: The plugin's metadata. upstream: Compiles an upstream that stands in its settings.
        Raises:
            ValueError: it cannot be made.
        """

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
        certificates: CertificateSource = NoTLS(),  # noqa: B008 - it has no state
    ) -> None:
        """
        Args:
            now, random: Time and chance for pickers; see ``gateway.core.balancer.make_picker``.
            certificates: Makes of an ssl what TLS is served with.
        """
        self.group = group
        self._now = now
        self._random = random
        self._plugins = plugins
        self._certificates = certificates
        self._bound: dict[str, dict[str, tuple[Mapping[str, Any], Mapping[str, Any], BoundPlugin]]] = {}
        self._upstreams: dict[str, CompiledUpstream] = {}
        # Those that no plugin holds any more go by themselves.
        self._inlines: WeakValueDictionary[str, CompiledUpstream] = WeakValueDictionary()

    def empty(self) -> Snapshot:
        """The snapshot before anything was configured."""
        return Snapshot(0, Router.build(()), {}, EMPTY, {}, {}, Sources(), self._binder({}))

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
        snapshot = at_once(self._applying(self.empty(), changes, revision, strict=False))
        served = {key for key in bad if key[0] == self.group and key[1] in SERVED_KINDS}
        why = dict.fromkeys(sorted(served), "its secrets cannot be decrypted with the key file")
        return evolve(snapshot, quarantined={**snapshot.quarantined, **why})

    def apply(self, last: Snapshot, changes: Sequence[Change], revision: int) -> Snapshot:
        """
        Compile *changes* on top of *last*, which stays as it is.

        Raises:
            ConfigErrors: the result cannot be served; each path starts with kind and id.
        """
        return at_once(self.applying(last, changes, revision))

    def applying(self, last: Snapshot, changes: Sequence[Change], revision: int) -> Steps[Snapshot]:
        """The same in steps. Nothing else is to be applied meanwhile."""
        if not any(change.group == self.group and change.kind in SERVED_KINDS for change in changes):
            return evolve(last, revision=revision)
        return (yield from self._applying(last, changes, revision, strict=True))

    def forget(self, changes: Iterable[Change]) -> None:
        """Drop what belonged to removed resources; to be called once their removal is served."""
        for change in changes:
            if change.value is None and change.group == self.group:
                self._bound.pop(f"{change.kind}/{change.id}", None)
                self._upstreams.pop(f"{change.kind}/{change.id}", None)

    def unbind(self, changes: Iterable[Change]) -> None:
        """What stands for a secret there is to be looked up anew, though the settings may be the same."""
        for change in changes:
            known = self._bound.get(f"{change.kind}/{change.id}", {})
            for name in [name for name, held in known.items() if managed_references(held[0])]:
                del known[name]

    # -- plugins and upstreams, remembered by where they stand

    def _binder(self, metadata: Mapping[str, Mapping[str, Any]]) -> Callable[[PluginUse], BoundPlugin]:
        """Binds plugins as they are with *metadata*; a snapshot keeps its own."""
        return lambda use: self.bind(use, metadata.get(use.name, {}))

    def bind(self, use: PluginUse, metadata: Mapping[str, Any]) -> BoundPlugin:
        """The bound plugin of *use*: the one made before, if nothing about it changed."""
        here = self._bound.setdefault(use.origin, {})
        known = here.get(use.name)
        if known is not None and known[0] == use.config and known[1] == metadata:
            return known[2]
        made = self._plugins.bind(use, metadata, partial(self._inline, f"{use.origin}#{use.name}"))
        plugin = apply_meta(made, filter_of(use))
        here[use.name] = (use.config, metadata, plugin)
        return plugin

    def _inline(self, place: str, document: Mapping[str, Any]) -> CompiledUpstream:
        """An upstream in a plugin's settings; its turn goes on as long as it stays the same there."""
        problems = upstream_problems(document)
        if problems:
            raise ConfigErrors(problems)
        key = f"{place}/{json.dumps(document, sort_keys=True)}"
        known = self._inlines.get(key)
        if known is None:
            known = self._compile_upstream(place, Upstream.parse(document), None)
            self._inlines[key] = known
        return known

    def _upstream(self, key: str, upstream: Upstream | None) -> CompiledUpstream | None:
        if upstream is None:
            return None
        known = self._upstreams.get(key)
        if known is None or known.upstream != upstream:
            known = self._compile_upstream(key, upstream, None if known is None else known.picker)
            self._upstreams[key] = known
        return known

    def _compile_upstream(self, key: str, upstream: Upstream, previous: Picker | None) -> CompiledUpstream:
        picker = make_picker(upstream, previous, now=self._now, random=self._random)
        identity = None
        if upstream.client_pair is not None:
            identity = self._certificates.load(Ssl(key, "client", (upstream.client_pair,)))
        return CompiledUpstream(key, upstream, picker, RetryPolicy.of(upstream), identity)

    # -- the steps

    def _applying(
        self, last: Snapshot, changes: Sequence[Change], revision: int, *, strict: bool
    ) -> Steps[Snapshot]:
        ours = [change for change in changes if change.group == self.group and change.kind in SERVED_KINDS]
        work = Work.on(last, {change.kind for change in ours})
        for change in ours:
            work.quarantined.pop(change.key, None)
            work.notices.pop(change.key, None)
            if change.kind in ("upstream", "service_upstream"):
                self._guard(work, change.key, self._read_upstream, work, change)
            else:
                self._guard(work, change.key, read, work, change)
            yield
        bind = self._binder(work.metadata)
        for change in ours if strict else ():
            if change.kind in _SHARING and change.value is not None:
                self._guard(work, change.key, self._try_plugins, change.kind, change.id, change.value, bind)
                yield
        rules: list[Rule[CompiledRoute]] = []
        redo = sorted(work.redo_routes, key=lambda route: work.orders.get(route, 0))
        content_routes = last.content_routes.difference(redo)
        router, replaced = last.router, 0
        for done, id in enumerate(redo, 1):
            work.compiled.pop(id, None)
            if id in work.routes:
                self._guard(work, (self.group, "route", id), self._compile_route, work, id, rules, bind)
                if id in work.compiled and mentions(work.routes[id].vars):
                    content_routes |= {id}
            if done == len(redo) or done - replaced == ROUTES_AT_ONCE:
                router = router.replace(redo[replaced:done], rules)
                replaced = done
                rules.clear()
            yield
        for username in sorted(work.redo_owners):
            self._index_owner(work, username)
            yield
        chain = self._global_chain(work, bind) if work.redo_globals else last.global_chain
        certificates = last.certificates
        if CERTIFICATE_KINDS.intersection(change.kind for change in ours):
            certificates = yield from self._certificate_table(work)
        if strict and work.problems:
            raise ConfigErrors(work.problems)
        return Snapshot(
            revision=revision,
            router=router,
            routes=work.compiled,
            global_chain=chain,
            identities=work.identities,
            consumers=work.consumers,
            sources=work.sources(),
            bind=bind,
            upstreams=work.upstreams,
            quarantined=work.quarantined,
            notices=work.notices,
            content_routes=content_routes,
            certificates=certificates,
        )

    def _guard(self, work: Work, key: Key, step: Callable[..., object], *args: Any) -> None:
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

    def _try_plugins(
        self, kind: str, id: str, value: Mapping[str, Any], bind: Callable[[PluginUse], BoundPlugin]
    ) -> None:
        """Bind plugins that no route may have yet, so that who writes them hears what is wrong with them."""
        for name, use in uses_of(f"{kind}/{id}", value.get("plugins", {})).items():
            if not use.disabled and not (kind == "consumer" and self._plugins.is_auth(name)):
                bind(use)

    def _read_upstream(self, work: Work, change: Change) -> None:
        """Enter an upstream that stands by itself; routes that lead to it are redone."""
        key = f"{change.kind}/{change.id}"
        work.upstreams.pop(key, None)
        if change.value is not None:
            compiled = self._upstream(key, Upstream.parse(change.value))
            assert compiled is not None
            work.upstreams[key] = compiled
            self._note_unverified(work, compiled)
        if change.kind == "upstream":
            services = {s.id for s in work.services.values() if s.upstream_id == change.id}
            work.redo_routes.update(
                route.id
                for route in work.routes.values()
                if route.upstream_id == change.id or route.service_id in services
            )

    def _route_upstream(
        self, work: Work, route: Route, service: Service | None
    ) -> tuple[CompiledUpstream | None, str | None]:
        """Where a route leads (data-plane contract §7.1), and the id if that stands by itself."""
        if route.upstream_id is not None:
            return work.upstreams.get(f"upstream/{route.upstream_id}"), route.upstream_id
        if route.upstream is not None:
            return self._upstream(f"route/{route.id}", route.upstream), None
        if service is None:
            return None, None
        if service.upstream_id is not None:
            return work.upstreams.get(f"upstream/{service.upstream_id}"), service.upstream_id
        return self._upstream(f"service/{service.id}", service.upstream), None

    def _note_unverified(self, work: Work, compiled: CompiledUpstream) -> None:
        """Tell the operator what the contract's default leaves open (data-plane contract §12)."""
        upstream = compiled.upstream
        if upstream.scheme in ("https", "grpcs") and not upstream.tls_verify:
            kind, _, id = compiled.key.partition("/")
            text = "its upstream speaks TLS, and the certificates of its nodes are not verified (tls.verify)"
            work.notices.setdefault((self.group, kind, id), text)

    def _compile_route(
        self,
        work: Work,
        id: str,
        rules: list[Rule[CompiledRoute]],
        bind: Callable[[PluginUse], BoundPlugin],
    ) -> None:
        route = work.routes[id]
        service = None if route.service_id is None else work.services.get(route.service_id)
        if not route.enabled or (route.service_id is not None and (service is None or not service.enabled)):
            return
        layers = [uses_of(f"route/{id}", route.plugins)]
        shared = route.plugin_config_id
        complete = shared is None or shared in work.plugin_configs
        if shared is not None and complete:
            layers.append(uses_of(f"plugin_config/{shared}", work.plugin_configs[shared]))
        if service is not None:
            layers.append(uses_of(f"service/{service.id}", service.plugins))
        uses = merge(layers)
        upstream, upstream_id = self._route_upstream(work, route, service)
        if upstream is not None and upstream_id is None:
            self._note_unverified(work, upstream)
        prefix = None if service is None else service.path_prefix
        compiled = CompiledRoute(
            id=id,
            name=route.name,
            service_id=route.service_id,
            service_name=None if service is None else service.name,
            route=route,
            uses=uses,
            chain=bind_chain(uses, bind) if complete else MISSING_PLUGIN_CONFIG,
            upstream=upstream,
            timeout=route.timeout,
            tunnels=tunnels(route, service),
            strip_prefix=prefix if service is not None and service.strip_path_prefix else None,
            upstream_id=upstream_id,
        )
        rules.append(
            Rule(
                id=id,
                paths=tuple(join_prefix(prefix, path) for path in route.paths)
                if prefix and route.below_prefix
                else route.paths,
                hosts=route.hosts or (() if service is None else service.hosts),
                methods=route.methods,
                addresses=AddressSet.parse(list(route.remote_addrs)) if route.remote_addrs else None,
                predicate=predicate(route.vars, "vars", f"route/{id}"),
                priority=route.priority,
                order=work.orders[id],
                target=compiled,
            )
        )
        work.compiled[id] = compiled

    def _global_chain(self, work: Work, bind: Callable[[PluginUse], BoundPlugin]) -> Chain:
        uses, doubled = merge_global((rule.id, rule.plugins) for rule in work.global_rules.values())
        plugins = {}
        for name, use in uses.items():
            key = (self.group, "global_rule", use.origin.partition("/")[2])
            problems = len(work.problems)
            if not use.disabled:
                self._guard(work, key, bind, use)
            if len(work.problems) == problems:
                plugins[name] = use
            if name in doubled:
                work.notices[key] = f"plugin {name} stands in another global rule too; this one counts"
        return bind_chain(plugins, bind)

    def _certificate_table(self, work: Work) -> Steps[CertificateTable]:
        for id, ssl in work.redo_ssls.items():
            self._guard(work, (self.group, "ssl", id), self._load_ssl, work, id, ssl)
            yield
        load: Callable[[Any], object] = self._certificates.load
        for id, identity in work.redo_identities.items():
            self._load_other(work, ("certificate", id), load, identity, work.tls_identities)
            yield
        load = self._certificates.load_authority
        for id, text in work.redo_authorities.items():
            self._load_other(work, ("ca_certificate", id), load, text, work.authorities)
        served = [*work.ssls.values(), *self._from_snis(work)]
        table = CertificateTable.of(served, work.tls_identities, work.authorities)
        for id in work.ssls:
            key = (self.group, "ssl", id)
            if id in table.shadowed:
                work.notices[key] = f"a newer ssl is for {table.shadowed[id]} too; that one counts"
            else:
                work.notices.pop(key, None)
        return table

    def _from_snis(self, work: Work) -> list[ServedSsl]:
        """The newer split of an ssl: a name, a certificate and authorities, each a resource of its own."""
        served: list[ServedSsl] = []
        for id, value in work.snis.items():
            key = (self.group, "sni", id)
            work.notices.pop(key, None)
            work.quarantined.pop(key, None)
            ssl = ssl_of_sni(id, value, work.pairs, work.authority_texts)
            if isinstance(ssl, str):
                work.notices[key] = f"not served, {ssl}"
            else:
                self._guard(work, key, self._load_sni, work, key, ssl, served)
        return served

    def _load_sni(self, work: Work, key: Key, ssl: Ssl, served: list[ServedSsl]) -> None:
        try:
            served.append(ServedSsl(ssl, self._certificates.load(ssl)))
        except UnresolvedReference as error:
            work.notices[key] = f"not served, {error}"

    def _load_other(
        self,
        work: Work,
        place: tuple[str, str],
        load: Callable[[Any], object],
        one: object,
        table: dict[str, object],
    ) -> None:
        def enter() -> None:
            try:
                table[place[1]] = load(one)
            except UnresolvedReference as error:
                work.notices[self.group, *place] = f"not usable, {error}"

        self._guard(work, (self.group, *place), enter)

    def _load_ssl(self, work: Work, id: str, ssl: Ssl) -> None:
        known = work.ssls.get(id)
        if known is not None and known.ssl == ssl and not managed_references(ssl.texts):
            return
        # Setting a key that is there keeps its place: the order is that of creation.
        try:
            work.ssls[id] = ServedSsl(ssl, self._certificates.load(ssl))
        except UnresolvedReference as error:
            work.ssls.pop(id, None)
            work.notices[self.group, "ssl", id] = f"not served, {error}"
        except ValueError:
            work.ssls.pop(id, None)
            raise

    def _index_owner(self, work: Work, username: str) -> None:
        for plugin, key, identity in work.owned.pop(username, ()):
            table = work.identities.get(plugin, {})
            if table.get(key) is identity:
                del table[key]
        work.consumers.pop(username, None)
        owner = work.owners.get(username)
        if owner is None or owner.consumer is None:
            return
        entry = entry_of(owner.consumer, self._plugins.is_auth, work.consumer_groups)
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

    def _note_credential(self, work: Work, username: str, id: str | None, text: str) -> None:
        key = (
            (self.group, "consumer", username)
            if id is None
            else (self.group, "credential", f"{username}/{id}")
        )
        work.notices[key] = f"not usable, {text}"
