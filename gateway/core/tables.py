"""The tables a snapshot is made from, while the next one is in the making."""

from __future__ import annotations

from collections.abc import Collection, Mapping, MutableMapping
from typing import Any, TypeVar

from attrs import define, evolve, field

from gateway.core.certificates import ServedSsl
from gateway.core.consumers import ConsumerEntry, Identity
from gateway.core.overlay import Overlay
from gateway.core.owners import Owned, Owner
from gateway.core.snapshot import CompiledRoute, CompiledUpstream, Plugins, Snapshot, Sources
from gateway.model.consumer import Consumer
from gateway.model.credential import Credential, split_id
from gateway.model.global_rule import GlobalRule
from gateway.model.problems import Problem
from gateway.model.record import Change, Key
from gateway.model.route import Route
from gateway.model.service import Service
from gateway.model.ssl import KeyPair, Ssl

_T = TypeVar("_T")


@define
class Work:
    """The tables of a snapshot in the making: copies of the last one's, plus what has to be redone."""

    services: dict[str, Service]
    routes: MutableMapping[str, Route]
    orders: MutableMapping[str, int]
    routes_of: dict[str, set[str]]
    next_order: int
    global_rules: dict[str, GlobalRule]
    owners: MutableMapping[str, Owner]
    owned: MutableMapping[str, Owned]
    plugin_configs: dict[str, Plugins]
    consumer_groups: dict[str, Plugins]
    metadata: dict[str, Mapping[str, Any]]
    ssls: dict[str, ServedSsl]
    tls_identities: dict[str, object]
    authorities: dict[str, object]
    pairs: dict[str, KeyPair]
    authority_texts: dict[str, str]
    snis: dict[str, Mapping[str, Any]]
    upstreams: dict[str, CompiledUpstream]
    compiled: MutableMapping[str, CompiledRoute]
    consumers: dict[str, ConsumerEntry]
    identities: dict[str, dict[str, Identity]]
    quarantined: dict[Key, str]
    notices: dict[Key, str]
    redo_routes: set[str] = field(factory=set)
    redo_owners: set[str] = field(factory=set)
    redo_globals: bool = False
    redo_ssls: dict[str, Ssl] = field(factory=dict)
    redo_identities: dict[str, Ssl] = field(factory=dict)
    redo_authorities: dict[str, str] = field(factory=dict)
    problems: list[Problem] = field(factory=list)
    _own_members: set[str] = field(factory=set)

    @classmethod
    def on(cls, last: Snapshot, kinds: Collection[str]) -> Work:
        """Start from *last*; tables that changes of *kinds* cannot touch are shared, not copied."""
        src = last.sources

        def table(have: Mapping[str, _T], *touched_by: str) -> dict[str, _T]:
            if any(kind in kinds for kind in touched_by):
                return dict(have)
            shared: Any = have
            return shared  # type: ignore[no-any-return]

        def large(have: Mapping[str, _T], *touched_by: str) -> MutableMapping[str, _T]:
            # Of what no request looks at there may be ten thousand: those are not copied whole.
            if any(kind in kinds for kind in touched_by):
                return Overlay(have)
            shared: Any = have
            return shared  # type: ignore[no-any-return]

        routing = ("service", "route", "upstream", "plugin_config", "plugin_metadata")
        owning = ("consumer", "credential", "consumer_group")
        identities = last.identities
        if any(kind in kinds for kind in owning):
            identities = {plugin: dict(keys) for plugin, keys in identities.items()}
        return cls(
            services=table(src.services, "service"),
            routes=large(src.routes, "route"),
            orders=large(src.orders, "route"),
            routes_of=table(src.routes_of, "route"),
            next_order=src.next_order,
            global_rules=table(src.global_rules, "global_rule"),
            owners=large(src.owners, *owning),
            owned=large(src.owned, *owning),
            plugin_configs=table(src.plugin_configs, "plugin_config"),
            consumer_groups=table(src.consumer_groups, "consumer_group"),
            metadata=table(src.metadata, "plugin_metadata"),
            ssls=table(src.ssls, "ssl"),
            tls_identities=table(src.identities, "certificate"),
            authorities=table(src.authorities, "ca_certificate"),
            pairs=table(src.pairs, "certificate"),
            authority_texts=table(src.authority_texts, "ca_certificate"),
            snis=table(src.snis, "sni"),
            upstreams=table(last.upstreams, "upstream", "service_upstream"),
            compiled=large(last.routes, *routing),
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
            plugin_configs=self.plugin_configs,
            consumer_groups=self.consumer_groups,
            metadata=self.metadata,
            ssls=self.ssls,
            identities=self.tls_identities,
            authorities=self.authorities,
            pairs=self.pairs,
            authority_texts=self.authority_texts,
            snis=self.snis,
        )


def read(work: Work, change: Change) -> None:
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
        case "ssl":
            work.redo_ssls.pop(id, None)
            if value is None:
                work.ssls.pop(id, None)
            else:
                work.redo_ssls[id] = Ssl.parse(id, value)
        case "certificate":
            work.tls_identities.pop(id, None)
            work.redo_identities.pop(id, None)
            work.pairs.pop(id, None)
            if value is not None:
                work.pairs[id] = KeyPair(value["cert"], value["key"])
                work.redo_identities[id] = Ssl(id, "client", (work.pairs[id],))
        case "ca_certificate":
            work.authorities.pop(id, None)
            work.redo_authorities.pop(id, None)
            work.authority_texts.pop(id, None)
            if value is not None:
                work.redo_authorities[id] = work.authority_texts[id] = value["cert"]
        case "sni":
            _set(work.snis, id, value)
        case "plugin_config":
            _set(work.plugin_configs, id, None if value is None else value.get("plugins", {}))
            work.redo_routes.update(r.id for r in work.routes.values() if r.plugin_config_id == id)
        case "consumer_group":
            _set(work.consumer_groups, id, None if value is None else value.get("plugins", {}))
            work.redo_owners.update(
                name
                for name, owner in work.owners.items()
                if owner.consumer is not None and owner.consumer.group_id == id
            )
        case "plugin_metadata":
            _set(work.metadata, id, None if value is None else {k: v for k, v in value.items() if k != "id"})
            work.redo_routes.update(route.id for route in work.compiled.values() if id in route.uses)
            work.redo_globals = work.redo_globals or any(id in r.plugins for r in work.global_rules.values())


def _read_route(work: Work, id: str, route: Route | None) -> None:
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


def _set_owner(work: Work, username: str, owner: Owner) -> None:
    if owner == Owner():
        work.owners.pop(username, None)
    else:
        work.owners[username] = owner


def _set(table: dict[str, _T], id: str, value: _T | None) -> None:
    if value is None:
        table.pop(id, None)
    else:
        table[id] = value
