"""The data plane of one process: compiler, runner and listeners, put together from the settings.

The gateway in one process has one beside the Admin API (``gateway.app``); with workers each of
them has one (``gateway.worker``), and the first process none.
"""

from __future__ import annotations

import random
import socket
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

from attrs import define, evolve
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.web.server import Site

from gateway import __version__
from gateway.core.exchange import Exchange, Reply
from gateway.counters.local import LocalCounters
from gateway.http1 import eager
from gateway.model.record import Key, Record
from gateway.parts import (
    SystemClock,
    fallback_context,
    limit_searches,
    load_snapshot,
    make_compiler,
    make_counters,
    make_secrets,
    make_services,
    proxy_limits,
    public_paths,
    real_ip,
    server_name,
    trusted_peers,
)
from gateway.proxy.dispatch import Dispatcher
from gateway.proxy.health import HealthChecks
from gateway.proxy.lean import LeanFactory
from gateway.proxy.limits import ProxyLimits
from gateway.proxy.resource import ProxyResource
from gateway.proxy.runner import Runner
from gateway.proxy.site import ProxySite
from gateway.proxy.tls_listener import Certificates, TLSListenerFactory
from gateway.registry import PluginRegistry
from gateway.settings import Settings
from gateway.settings_fields import Address
from gateway.telemetry.access_log import AccessLog
from gateway.telemetry.batches import BatchProcessor, QueueLimits
from gateway.telemetry.exposition import Exposition
from gateway.telemetry.exposition import Source as MetricSource
from gateway.telemetry.exposition_text import CONTENT_TYPE
from gateway.telemetry.facts import GatewayFacts, ProcessFacts, families, memory_families
from gateway.telemetry.line_files import PluginFiles
from gateway.telemetry.metrics import Metrics, collect_files
from gateway.threads import in_thread
from gateway.upstream.agent import UpstreamAgent
from gateway.upstream.calls import TreqCalls
from gateway.upstream.client import ProxyClient
from gateway.upstream.probes import Prober
from gateway.upstream.resolver import CachingResolver
from gateway.upstream.sockets import SocketSender

log = Logger()

LAST_REQUEST_S = 1.0
"""When the gateway stops: how long clients that have connected may take over one more request."""
LOOK_AGAIN_S = 0.02
BACKLOG = 4096
"""Connections the system holds for a listener that has not accepted them yet."""


@define(eq=False)
class Listener:
    """
    An open listener.

    Attributes:
        kind: ``proxy``, ``proxy_tls``, ``admin`` or ``status``.
    """

    kind: str
    port: IListeningPort
    site: Site | LeanFactory
    tls: TLSListenerFactory | None = None

    @property
    def expecting(self) -> bool:
        """Whether a request of some client is waited for."""
        return bool(getattr(self.site, "expecting", False) or (self.tls is not None and self.tls.waiting))

    def drain_rest(self) -> None:
        """Wait for those no longer."""
        for one in (self.tls, self.site):
            if isinstance(one, (TLSListenerFactory, LeanFactory)):
                one.drain_rest()

    def set_limits(self, limits: ProxyLimits) -> None:
        """Other limits for clients that have not said yet whom they want."""
        if self.tls is not None:
            self.tls.hello_timeout_s = limits.header_timeout_s
            self.tls.max_waiting = limits.max_connections

    @property
    def address(self) -> Address:
        """Where it listens, with the real port."""
        host: Any = self.port.getHost()
        return Address(host.host, host.port)


class DataPlane:
    """
    What serves requests in this process.

    Attributes:
        compiler: Makes the snapshots of ``runner``, which drives the requests.
        secrets: What references in the configuration stand for.
        certificates: What TLS is served with.
        listeners: What is open.
        metrics: What this process counts.
    """

    def __init__(
        self,
        settings: Settings,
        reactor: Any,
        registry: PluginRegistry,
        counters: LocalCounters | None = None,
        metrics_directory: str | None = None,
    ) -> None:
        """
        Args:
            counters: Those of this machine, if other processes share them.
            metrics_directory: Where this process's counts are kept so that others can read them; None: here.
        """
        limit_searches(settings)
        self._calls = TreqCalls(reactor)
        self._counters = make_counters(settings, reactor, counters)
        self._metrics_directory = metrics_directory
        limits = settings.plugins
        queues = QueueLimits(
            limits.logger_pending_entries, limits.logger_pending_bytes, limits.logger_batches_in_flight
        )
        self._batches = BatchProcessor(reactor, queues)
        self._files = PluginFiles(
            max_waiting_bytes=limits.file_logger_waiting_bytes, close_timeout_s=limits.logger_close_timeout_s
        )
        self.metrics = Metrics(
            SystemClock(), max_series=settings.metrics.max_series, directory=metrics_directory
        )
        services = evolve(
            make_services(settings, reactor, self._calls, self._counters),
            metrics=self.metrics,
            sockets=SocketSender(reactor),
            batches=self._batches,
            files=self._files,
            hostname=socket.gethostname(),
            version=__version__,
            public_apis=dict.fromkeys(public_paths(settings), self._scraped),
        )
        self.secrets = make_secrets(settings, reactor, self._calls)
        self.compiler = make_compiler(settings, registry, services, self.secrets)
        self.listeners: list[Listener] = []
        self._settings = settings
        self._reactor = reactor
        self._resolver = CachingResolver(reactor, reactor.nameResolver, ttl_s=settings.proxy.dns_ttl_s)
        self._agent = self._make_agent()
        self._access_log: AccessLog | None = None
        self._lost_lines = 0
        self._exposition: Exposition | None = None
        self.runner = self._make_runner()
        if settings.proxy.health_checks:
            prober = Prober(reactor, resolver=self._resolver)
            self.runner.health = HealthChecks(
                reactor, prober, lambda: self.runner.snapshot, address_of=self._resolver.known
            )
        self.certificates = Certificates(
            lambda: self.runner.snapshot.certificates,
            fallback_context(settings),
            settings.proxy.tls_fallback_sni,
        )
        self.reopen_logs()

    async def load(self, records: Sequence[Record], revision: int, damaged: Collection[Key]) -> None:
        """Serve this configuration. *records* are in the order of creation."""
        self.runner.snapshot = await load_snapshot(self.compiler, self.secrets, records, revision, damaged)

    # -- listeners

    def listen(self, kind: str, address: Address) -> None:
        """
        Listen at *address*, with TLS if *kind* is ``proxy_tls``.

        Raises:
            CannotListenError: somebody else does.
        """
        factory = self._factory(kind == "proxy_tls")
        port = eager.listen(self._reactor, address.port, factory, BACKLOG, address.host)
        self._opened(kind, port, factory)

    def adopt(self, kind: str, listening: socket.socket) -> None:
        """As ``listen``, on a socket that is bound already. The caller keeps *listening* and may close it."""
        listening.setblocking(False)
        listening.listen(BACKLOG)
        factory = self._factory(kind == "proxy_tls")
        port = eager.adopt(self._reactor, listening, factory)
        self._opened(kind, port, factory)

    def _opened(self, kind: str, port: IListeningPort, factory: Any) -> None:
        tls = factory if isinstance(factory, TLSListenerFactory) else None
        self.listeners.append(Listener(kind, port, _site_of(factory), tls))

    def _factory(self, tls: bool) -> Any:
        """What makes the protocols of one listener."""
        site: ProxySite | LeanFactory
        if self._settings.proxy.engine == "lean":
            site = LeanFactory(self.runner, self._reactor, tls=tls)
        else:
            site = ProxySite(ProxyResource(self.runner), self.runner.limits, self._reactor)
        if not tls:
            return site
        limits = self.runner.limits
        return TLSListenerFactory(
            self.certificates,
            site,
            self._reactor,
            hello_timeout_s=limits.header_timeout_s,
            max_waiting=limits.max_connections,
        )

    # -- the end

    async def stop_listening(self) -> None:
        """Take no more connections; those that are idle close, the others after their answer."""
        await DeferredList([maybe(listener.port.stopListening()) for listener in self.listeners])
        for listener in self.listeners:
            if isinstance(listener.site, (ProxySite, LeanFactory)):
                listener.site.drain()

    async def _last_requests(self, wait_s: float) -> None:
        """Who has connected is served once more, if it says something soon."""
        until_s = time.monotonic() + wait_s
        listeners = [one for one in self.listeners if isinstance(one.site, LeanFactory)]
        while time.monotonic() < until_s and any(listener.expecting for listener in listeners):
            await deferLater(self._reactor, LOOK_AGAIN_S)
        for listener in listeners:
            listener.drain_rest()

    async def drain(self, grace_s: float) -> None:
        """Return once no request is in flight; those that last longer than *grace_s* are cut."""
        runner = self.runner
        await self._last_requests(min(grace_s, LAST_REQUEST_S))
        if not runner.runs:
            return
        log.info("waiting for {count} requests in flight", count=len(runner.runs))
        idle = runner.when_idle()
        timer = self._reactor.callLater(grace_s, _cut, runner)
        await idle
        if timer.active():
            timer.cancel()

    async def close(self) -> None:
        """Let go of upstream connections and write what is left of the access log."""
        agent: Callable[[], Any] = self._agent.close
        health = [self.runner.health.close] if self.runner.health is not None else []
        closers: list[Callable[[], Any]] = [
            *health,
            partial(self._batches.close, self._settings.plugins.logger_close_timeout_s),
            self._files.close,
            agent,
            self.secrets.close,
            self._calls.close,
            self._counters.close,
            *([self._access_log.close] if self._access_log is not None else []),
        ]
        for close in closers:
            try:
                await maybe(close())
            except Exception:
                log.failure("closing failed")

    # -- what it can tell

    def facts(self) -> ProcessFacts:
        """What is so at the moment."""
        connections: dict[str, int] = {}
        for listener in self.listeners:
            if isinstance(listener.site, LeanFactory):
                for state, count in listener.site.states().items():
                    connections[state] = connections.get(state, 0) + count
        runner, access = self.runner, self._access_log
        return ProcessFacts(
            revision=runner.snapshot.revision,
            bugs=runner.bugs,
            requests=runner.handled,
            in_flight=runner.in_flight,
            connections=connections,
            health=() if runner.health is None else runner.health.report(),
            batches=self._batches.waiting(),
            dropped=[
                ["access-log", "", self._lost_lines + (0 if access is None else access.dropped)],
                *self._batches.losses(),
                *self._files.losses(),
            ],
            folded=self.metrics.folded,
        )

    def metric_sources(self) -> list[MetricSource]:
        """Where counted metrics come from: this process, or all that share the directory."""
        directory = self._metrics_directory
        counted = self.metrics.registry.collect if directory is None else partial(collect_files, directory)
        return [counted, partial(memory_families, self._counters.local.room)]

    async def _gathered(self) -> list[MetricSource]:
        facts = GatewayFacts(
            socket.gethostname(), __version__, {0: self.facts()}, quarantined=self.quarantined()
        )
        return [*self.metric_sources(), partial(families, facts)]

    def quarantined(self) -> Mapping[str, int]:
        """How many resources of each kind are off."""
        return Counter(kind for _, kind, _ in self.runner.snapshot.quarantined)

    async def _scraped(self, exchange: Exchange) -> Reply:
        """The metrics, for ``public-api``. Of what is not counted, this process knows its own part only."""
        if self._exposition is None:
            self._exposition = Exposition(self._gathered, in_thread(self._reactor))
        text = await self._exposition.text()
        return Reply(200, text, ((b"content-type", CONTENT_TYPE.encode()),), "public_api")

    def reopen_logs(self) -> None:
        """Open the access log, anew if it was open, and plugins' files: they may have been moved away."""
        self._files.reopen()
        logs = self._settings.log
        if logs.access is None:
            old, self._access_log = self._access_log, None
            if old is not None:
                self.runner.on_end = _nobody
                old.close()
            return
        try:
            fresh = AccessLog(
                str(logs.access),
                logs.access_format,
                flush_s=logs.access_flush_s,
                buffer_bytes=logs.access_buffer_bytes,
                share=logs.access_sample,
                random=random.random,
                clock=self._reactor,
            )
        except OSError:
            if self._access_log is None:
                raise
            log.failure("the access log cannot be opened anew; the old file is written on")
            return
        self.runner.on_end = fresh.write
        old, self._access_log = self._access_log, fresh
        if old is not None:
            old.close()
            self._lost_lines += old.dropped

    def reload(self, settings: Settings) -> None:
        """
        Go on with other settings: those of ``gateway.reload.APPLIED``.

        Connections keep the idle time they were given; everything else counts from the next request on.

        Raises:
            OSError, ValueError: the fallback certificate cannot be read, or not be used. Nothing has changed.
        """
        fallback = fallback_context(settings)
        proxy = settings.proxy
        limit_searches(settings)
        self._settings = settings
        self.certificates.fallback = fallback
        self.certificates.fallback_sni = proxy.tls_fallback_sni
        runner = self.runner
        limits = runner.limits = proxy_limits(settings)
        runner.server = server_name(settings)
        runner.show_upstream_status = proxy.show_upstream_status
        runner.real_ip = real_ip(settings)
        self._agent.limit_heads(
            proxy.upstream_max_header_bytes, proxy.upstream_max_headers, proxy.upstream_max_interim
        )
        self._resolver.ttl_s = proxy.dns_ttl_s
        for listener in self.listeners:
            site: Any = listener.site
            site.limits = limits
            if isinstance(site, ProxySite):
                site.timeOut = limits.idle_timeout_s
            listener.set_limits(limits)
        self.reopen_logs()

    # -- parts

    def _make_agent(self) -> UpstreamAgent:
        proxy = self._settings.proxy
        return UpstreamAgent(
            self._reactor,
            resolver=self._resolver,
            connect_tcp=eager.connector(self._reactor),
            max_header_bytes=proxy.upstream_max_header_bytes,
            max_headers=proxy.upstream_max_headers,
            max_interim=proxy.upstream_max_interim,
            known_heads=proxy.upstream_known_heads,
            max_idle=proxy.upstream_max_idle,
        )

    def _make_runner(self) -> Runner:
        proxy = self._settings.proxy
        return Runner(
            snapshot=self.compiler.empty(),
            dispatcher=Dispatcher(
                ProxyClient(self._agent), trusted_peers(self._settings), tunnels=proxy.engine == "lean"
            ),
            clock=SystemClock(),
            limits=proxy_limits(self._settings),
            on_end=_nobody,
            server=server_name(self._settings),
            show_upstream_status=proxy.show_upstream_status,
            real_ip=real_ip(self._settings),
        )


def maybe(result: Any) -> Deferred[Any]:
    """*result* itself if it is a Deferred, else one that has fired with it."""
    return result if isinstance(result, Deferred) else succeed(result)


def _site_of(factory: Any) -> Site | LeanFactory:
    site: Site | LeanFactory = getattr(factory, "wrappedFactory", factory)
    return site


def _nobody(exchange: Exchange) -> None:
    """There is no access log."""


def _cut(runner: Runner) -> None:
    for run in list(runner.runs):
        run.stop()
