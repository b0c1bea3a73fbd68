"""A snapshot: the configuration of one revision, compiled for the request path.

A request takes the current snapshot when it arrives and keeps it to its end. Everything in it
is looked up, parsed and bound beforehand. ``gateway.core.compiler`` makes snapshots.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import field, frozen

from gateway.core import reasons
from gateway.core.balancer import Picker
from gateway.core.certificates import EMPTY as NO_CERTIFICATES
from gateway.core.certificates import CertificateTable, ServedSsl
from gateway.core.chain import EMPTY, BoundPlugin, Chain, Hook, build_chain
from gateway.core.consumers import ConsumerEntry, Identity
from gateway.core.exchange import Exchange, Reply
from gateway.core.merge import PluginUse, Uses, merge, uses_of
from gateway.core.owners import Owned, Owner
from gateway.core.retry import RetryPolicy
from gateway.core.router import Router
from gateway.model.global_rule import GlobalRule
from gateway.model.record import Key
from gateway.model.route import Route
from gateway.model.service import Service
from gateway.model.ssl import KeyPair
from gateway.model.timeout import Timeout
from gateway.model.upstream import Upstream

CONSUMER_CHAIN_LIMIT = 10_000
"""How many (route, consumer) chains a snapshot remembers; they are made again when needed."""


@frozen(eq=False)
class CompiledUpstream:
    """
    An upstream in use. The same object as long as its definition does not change, so that the
    picker's turn, and whatever is kept by upstream, outlive changes elsewhere.

    Attributes:
        key: Its identity: ``service/<id>`` for a service's default upstream, ``route/<id>``,
            ``service_upstream/<service id>/<id>`` and ``upstream/<id>`` for the others; an upstream in a
            plugin's settings has its place in front of ``#``.
        watched: Whether anybody wants to know how tries end: the picker, or health checks.
        identity: What the certificate source made of the upstream's own ``client_pair``; or None.
        secured: Whether more has to be known for its TLS: a certificate to show, authorities to trust.
    """

    key: str
    upstream: Upstream
    picker: Picker
    retry: RetryPolicy
    identity: object = field(default=None, repr=False)
    watched: bool = field(init=False)
    secured: bool = field(init=False)

    @watched.default
    def _watched(self) -> bool:
        return self.picker.done is not None or self.upstream.checks is not None

    @secured.default
    def _secured(self) -> bool:
        upstream = self.upstream
        wanted = upstream.client_pair or upstream.client_cert_id or upstream.client_certificate
        return upstream.scheme in ("https", "grpcs") and bool(wanted or upstream.ca_certificates)


@frozen(eq=False)
class ConsumerChain:
    """
    A route's chain with a consumer's plugins laid over it.

    Attributes:
        chain: For access and all later phases.
        rewrite: The rewrite hooks that still have to run: those of plugins the consumer adds. None of them
            authenticates: that has been done.
    """

    chain: Chain
    rewrite: tuple[tuple[str, Hook], ...]


@frozen(eq=False, repr=False)
class CompiledRoute:
    """
    A route, with everything the runner needs of it.

    Attributes:
        uses: The merged plugins, where each comes from.
        chain: Those that are not disabled, bound.
        upstream: None if neither route nor service has one (503), or the one they name is missing (502).
        upstream_id: That of the upstream they name, if they do.
        timeout: The route's own limits; None for the upstream's.
        strip_prefix: The prefix the upstream must not see, or None.
        tunnels: Whether clients may change the protocol (``enable_websocket``).
    """

    id: str
    name: str
    service_id: str | None
    service_name: str | None
    route: Route
    uses: Uses
    chain: Chain
    upstream: CompiledUpstream | None
    timeout: Timeout | None
    strip_prefix: str | None
    upstream_id: str | None = None
    tunnels: bool = False


Plugins = Mapping[str, Mapping[str, Any]]
"""Plugin settings by plugin name, as a resource holds them."""


@frozen(eq=False, repr=False)
class Sources:
    """
    The typed resources a snapshot was made from: what the next one starts with.

    Attributes:
        routes_of: Service id → ids of its routes.
        orders: Route id → its place in the order of creation.
        owners: Username → the consumer and its credentials.
        owned: Username → the identities made of them.
        plugin_configs, consumer_groups: Their plugins, by id.
        metadata: Plugin metadata, by plugin name.
        ssls: The certificates, by id, in the order of creation.
        identities, authorities: ``certificate`` and ``ca_certificate`` resources, loaded, by id.
        pairs, authority_texts: The same as they were written. snis: ``sni`` resources as written.
    """

    services: Mapping[str, Service] = field(factory=dict)
    routes: Mapping[str, Route] = field(factory=dict)
    orders: Mapping[str, int] = field(factory=dict)
    routes_of: Mapping[str, set[str]] = field(factory=dict)
    next_order: int = 0
    global_rules: Mapping[str, GlobalRule] = field(factory=dict)
    owners: Mapping[str, Owner] = field(factory=dict)
    owned: Mapping[str, Owned] = field(factory=dict)
    plugin_configs: Mapping[str, Plugins] = field(factory=dict)
    consumer_groups: Mapping[str, Plugins] = field(factory=dict)
    metadata: Plugins = field(factory=dict)
    ssls: Mapping[str, ServedSsl] = field(factory=dict)
    identities: Mapping[str, object] = field(factory=dict)
    authorities: Mapping[str, object] = field(factory=dict)
    pairs: Mapping[str, KeyPair] = field(factory=dict)
    authority_texts: Mapping[str, str] = field(factory=dict)
    snis: Mapping[str, Mapping[str, Any]] = field(factory=dict)


@frozen(eq=False, repr=False)
class Snapshot:
    """
    Attributes:
        revision: The revision it serves.
        router: The route table.
        routes: Every route in the table, by id.
        global_chain: The global rules' plugins.
        identities: Auth plugin → credential key → whose it is.
        consumers: Every consumer, by username.
        upstreams: Those that stand by themselves, by ``CompiledUpstream.key``.
        quarantined: What could not be compiled, and why: it alone is off.
        notices: What an operator should know about resources that do serve.
        certificates: What TLS is served with.
        content_routes: Ids of routes that are matched by variables read from the request's content.
    """

    revision: int
    router: Router[CompiledRoute]
    routes: Mapping[str, CompiledRoute]
    global_chain: Chain
    identities: Mapping[str, Mapping[str, Identity]]
    consumers: Mapping[str, ConsumerEntry]
    sources: Sources
    bind: Callable[[PluginUse], BoundPlugin]
    upstreams: Mapping[str, CompiledUpstream] = field(factory=dict)
    quarantined: Mapping[Key, str] = field(factory=dict)
    notices: Mapping[Key, str] = field(factory=dict)
    certificates: CertificateTable = NO_CERTIFICATES
    content_routes: frozenset[str] = frozenset()
    _consumer_chains: dict[tuple[str, str], ConsumerChain] = field(factory=dict, init=False)

    def upstream(self, service_id: str | None, id: str) -> CompiledUpstream | None:
        """
        An upstream by its id: one of the service's own, else one that stands by itself.

        Args:
            service_id: The service of the route that asks; None if it has none.
        """
        own = None if service_id is None else self.upstreams.get(f"service_upstream/{service_id}/{id}")
        return own or self.upstreams.get(f"upstream/{id}")

    def consumer_chain(self, route: CompiledRoute, consumer: ConsumerEntry) -> ConsumerChain:
        """
        The chain of *route* for requests of *consumer*; remembered.

        Source:
            Data-plane contract §2 step 9 and §5: the consumer's copy of a plugin wins; rewrite runs
            again only for plugins the route did not have, and never to authenticate.
        """
        key = (route.id, consumer.username)
        known = self._consumer_chains.get(key)
        if known is None:
            if len(self._consumer_chains) >= CONSUMER_CHAIN_LIMIT:
                self._consumer_chains.clear()
            if consumer.group_plugins is None:
                return MISSING_GROUP
            own = uses_of(f"consumer/{consumer.username}", consumer.plugins)
            group = uses_of(f"consumer_group/{consumer.group_id}", consumer.group_plugins)
            chain = bind_chain(merge([own, group, route.uses]), self.bind)
            done = {*route.uses, *(plugin.name for plugin in chain.plugins if plugin.auth)}
            added = tuple(hook for hook in chain.rewrite if hook[0] not in done)
            known = self._consumer_chains[key] = ConsumerChain(chain, added)
        return known


def _unavailable(what: str) -> Hook:
    reply = Reply(503, None, (), reasons.REFERENCE_MISSING, f"the {what} it names does not exist")

    def refuse(exchange: Exchange) -> Reply:
        return reply

    return refuse


MISSING_PLUGIN_CONFIG = Chain(rewrite=(("plugin_config", _unavailable("plugin config")),))
MISSING_GROUP = ConsumerChain(EMPTY, (("consumer_group", _unavailable("consumer group")),))
"""What requests meet whose route or consumer names a resource that is not there (data-plane contract §5)."""


def bind_chain(uses: Uses, bind: Callable[[PluginUse], BoundPlugin]) -> Chain:
    """Bind every use that is not disabled, and sort."""
    return build_chain(bind(use) for use in uses.values() if not use.disabled)
