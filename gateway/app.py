"""The composition root: from settings to a running gateway. It knows the reactor, as ``tap``, ``worker`` do.

``make_service`` checks what can be checked before the process goes into the background.
``GatewayService`` opens the store, compiles the configuration, listens, and takes it all down again.
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from attrs import evolve
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.error import CannotListenError
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.web.server import Site

from gateway import __version__, bootstrap, certificates
from gateway.admin.access import AccessLimits
from gateway.admin.app import AdminAPI, ApisixOptions
from gateway.admin.calls import Limits
from gateway.admin.control_api import ControlAPI
from gateway.admin.site import APISIX_TOO_LARGE, AdminSite
from gateway.admin.static_keys import StaticKeys
from gateway.certificate_care import CertificateCare
from gateway.control.amp_commands import pack
from gateway.control.control import Control
from gateway.control.explainer import Explainer
from gateway.control.local import LocalPublisher
from gateway.control.observation import Observation, absorb_files, of_workers, shared_directory
from gateway.control.remote import WorkersPublisher, WorkersReport, state_document
from gateway.control.served import Mirror, Served
from gateway.control.shared_sockets import SharedAddress
from gateway.control.state import State
from gateway.control.status import StatusReport, without_tunnels
from gateway.control.turns import turn
from gateway.control.worker import Worker
from gateway.control.worker_process import WorkerProcess
from gateway.control.workers import Workers
from gateway.core.exchange import Exchange, Reply
from gateway.core.secrets import Secrets, no_manager
from gateway.counters.local import LocalCounters
from gateway.data_plane import DataPlane, maybe
from gateway.errors import GatewayError, SettingsErrors
from gateway.first_records import ensure_first_records
from gateway.heap import settle
from gateway.inherited import Sockets, inherited, variables
from gateway.interfaces import CountersFailed, IConfigStore
from gateway.model.record import Key, StoreView
from gateway.parts import (
    SystemClock,
    limit_searches,
    load_snapshot,
    make_compiler,
    make_counters,
    make_secrets,
    make_services,
    metrics_directory,
    public_paths,
    real_ip,
)
from gateway.registry import PluginRegistry, load_plugins
from gateway.reload import Reload, Source, merge
from gateway.settings import Settings
from gateway.settings_fields import Address
from gateway.settings_text import to_text
from gateway.site_listeners import SiteListeners
from gateway.store.keyfile import load_or_create
from gateway.store.sealing import Sealer
from gateway.store.urls import open_store
from gateway.telemetry.exposition import Exposition
from gateway.telemetry.exposition import Source as MetricSource
from gateway.telemetry.facts import ProcessFacts, memory_families
from gateway.threads import in_thread
from gateway.upstream.calls import TreqCalls

log = Logger()


MAX_CALL_BYTES = 65536
"""Content of a call of the control API, which has none to speak of."""


async def _of_workers(exchange: Exchange) -> Reply:
    raise RuntimeError("workers answer this")


def make_service(settings: Settings, reactor: Any, source: Source | None = None) -> GatewayService:
    """
    Build the gateway; nothing listens and nothing is opened yet.

    Args:
        source: Where the settings came from; None if they cannot be read again.

    Raises:
        SettingsErrors, PluginLoadError: it cannot be started with these settings.
    """
    bootstrap.check_formats(settings)
    registry = load_plugins(settings.plugins.enabled)
    bootstrap.worker_count(settings)
    bootstrap.ensure_data_dir(settings)
    token = bootstrap.admin_token(settings)
    key = bootstrap.apisix_key(settings)
    # Before twistd forks: the process it is said to be for is this one.
    sockets = inherited(settings, variables(os.environ), os.getpid())
    return GatewayService(settings, reactor, registry, token, key, sockets, source)


class GatewayService(Service):
    """The gateway as twistd starts and stops it."""

    name = "gateway"

    def __init__(
        self,
        settings: Settings,
        reactor: Any,
        registry: PluginRegistry,
        token: bootstrap.AdminToken,
        apisix_key: bootstrap.AdminToken,
        sockets: Sockets = MappingProxyType({}),
        source: Source | None = None,
    ) -> None:
        self._settings = settings
        self._reactor = reactor
        self._registry = registry
        self._token = token
        self._sockets = sockets
        self._source = source
        self._care: CertificateCare | None = None
        self._secrets: Secrets = no_manager
        self._apisix_key = apisix_key
        self._clock = SystemClock()
        self._sites = SiteListeners(reactor, sockets)
        self._closers: list[Callable[[], Any]] = []
        self._plane: DataPlane | None = None
        self._workers: Workers | None = None
        self._shared: list[SharedAddress] = []
        self._counting = DeferredLock()
        self._counters: LocalCounters | None = None
        self.started: Deferred[None] = Deferred()

    # -- start

    def startService(self) -> None:
        """Start; ``started`` fires when everything listens. A failure ends the process with status 1."""
        super().startService()
        bootstrap.remove_ports(self._settings.gateway.data_dir)
        try:
            signal.signal(signal.SIGHUP, lambda *_: self._reactor.callFromThread(self.reload))
        except ValueError:
            pass  # not the main thread: whoever embeds the gateway so calls reload
        Deferred.fromCoroutine(self._start()).addCallbacks(self.started.callback, self._start_failed)

    def _start_failed(self, failure: Any) -> None:
        error = failure.value
        if isinstance(error, (GatewayError, CannotListenError, OSError)):
            log.critical("the gateway cannot start: {why}", why=str(error))
            # sys.stderr is the log by now.
            print(f"gateway: {error}", file=sys.__stderr__, flush=True)
        else:
            log.failure("the gateway cannot start", failure)
        # twistd has no exit status of its own for this; supervisors and users need one.
        atexit.register(os._exit, 1)
        self._reactor.callWhenRunning(self._reactor.stop)

    async def _start(self) -> None:
        settings = self._settings
        limit_searches(settings)
        warning = bootstrap.allow_open_files(settings)
        if warning:
            log.warn("{text}", text=warning)
        keys = load_or_create(str(settings.store.key_file))
        sealer = Sealer(keys, self._registry.secret_fields)
        store = await self._open_store(sealer)
        view: StoreView = await store.load()
        view = await ensure_first_records(store, view, settings, self._token.text, self._clock)

        count = bootstrap.worker_count(settings)
        served, local = await self._first_snapshot(view, getattr(store, "damaged", ()), count)
        workers = self._workers = self._make_workers(count) if count else None
        group = settings.gateway.group
        publisher = local if workers is None else WorkersPublisher(local, workers, group)
        control = Control(store, publisher, self._clock, State.of(view))
        status = StatusReport(served, control, self._clock, self._clock.time(), __version__)
        report = status if workers is None else WorkersReport(status, workers)
        explainer = Explainer(served, self._clock, lambda: real_ip(self._settings))
        api = AdminAPI(
            control,
            self._registry,
            clock=self._clock,
            limits=Limits(max_body_bytes=settings.admin.max_body_bytes),
            history=store.history,
            explain=explainer.explain,
            status=report.report,
            ready=report.not_ready_because,
            apisix=self._apisix_options(sealer),
            call_later=self._reactor.callLater,
            access=AccessLimits(
                settings.admin.login_attempts, settings.admin.login_window_s, settings.admin.session_ttl_s
            ),
            elsewhere=self._in_a_thread,
            instances=lambda: [status.instance(group, socket.gethostname())],
        )
        care = self._care = CertificateCare(
            settings, lambda: control.state, self._clock.time, os.environ, self._secrets
        )
        status.notice_sources.append(care.expiry.notices)
        if settings.proxy.engine == "twisted":
            status.notice_sources.append(lambda: without_tunnels(served.snapshot, group))
        observation = self._make_observation(control, served, care)
        api.start()
        self._closers.append(api.stop)
        settle()
        self._listen(api, status, report.not_ready_because, care.admin)
        self._listen_inside(observation, ControlAPI(control, self._registry, group, observation.health))
        if workers is not None:
            await workers.start(
                lambda: state_document(control.state, group, tuple(getattr(store, "damaged", ())))
            )
        self._announce(store.describe())
        care.start(self._reactor)
        self._closers.append(care.stop)

    def _apisix_options(self, sealer: Sealer) -> ApisixOptions:
        settings = self._settings.apisix
        viewer = None if settings.viewer_key is None else settings.viewer_key.text
        return ApisixOptions(
            keys=StaticKeys(
                self._apisix_key.text,
                viewer,
                self._settings.gateway.group,
                required=settings.admin_key_required,
            ),
            seal=sealer.seal,
            stream_routes=settings.stream_routes,
            cors=settings.enable_admin_cors,
            version_shown=self._settings.proxy.server_tokens,
        )

    async def _open_store(self, sealer: Sealer) -> IConfigStore:
        store: IConfigStore = open_store(str(self._settings.store.url), self._reactor, sealer)
        await store.open()
        self._closers.append(store.close)
        return store

    async def _first_snapshot(
        self, view: StoreView, damaged: Collection[Key], count: int
    ) -> tuple[Served, LocalPublisher]:
        """Compile everything, for the requests of this process or as a mirror of what workers serve."""
        in_order = sorted(view.records, key=lambda r: r.created_revision)
        if not count:
            plane = self._plane = DataPlane(self._settings, self._reactor, self._registry)
            await plane.load(in_order, view.revision, damaged)
            self._secrets = plane.secrets.value
            return plane.runner, LocalPublisher(
                plane.compiler, plane.runner, plane.metrics.applied, pause=self._pause, secrets=plane.secrets
            )
        self._counters = LocalCounters.make(
            self._settings.plugins.counters_keys, time.monotonic, processes=count
        )
        # Compiled to be looked at: nothing is served here, so no plugin calls out, but to look at counters.
        calls = TreqCalls(self._reactor)
        counters = make_counters(self._settings, self._reactor, self._counters)
        # Which APIs there are is to be seen; workers answer them.
        apis = dict.fromkeys(public_paths(self._settings), _of_workers)
        services = evolve(make_services(self._settings, self._reactor, calls, counters), public_apis=apis)
        secrets = make_secrets(self._settings, self._reactor, calls)
        self._secrets = secrets.value
        self._closers += [calls.close, secrets.close, counters.close]
        compiler = make_compiler(self._settings, self._registry, services, secrets)
        snapshot = await load_snapshot(compiler, secrets, in_order, view.revision, damaged)
        mirror = Mirror(snapshot)
        return mirror, LocalPublisher(compiler, mirror, pause=self._pause, secrets=secrets)

    def _pause(self) -> Deferred[None]:
        """A turn of the reactor for everybody else."""
        return turn(self._reactor.callLater)

    def _make_workers(self, count: int) -> Workers:
        """Hold the addresses of the data plane; no worker is started yet."""
        proxy = self._settings.proxy
        for kind, wanted in (("proxy", proxy.listen), ("proxy_tls", proxy.tls_listen)):
            for one in self._sockets.get(kind, ()):
                self._shared.append(SharedAddress.inherited(kind, one))
            for address in () if kind in self._sockets else wanted:
                self._shared.append(SharedAddress.reserve(kind, address))
        return Workers(
            count,
            self._shared,
            self._start_worker,
            self._reactor,
            settings=pack({"settings": to_text(self._settings)}),
            version=__version__,
            timeout_s=proxy.worker_timeout_s,
        )

    def _make_observation(self, control: Control, served: Served, care: CertificateCare) -> Observation:
        """What the metrics and the control API know."""
        settings, workers, plane = self._settings, self._workers, self._plane
        directory = metrics_directory(settings)

        async def here() -> Mapping[int, ProcessFacts]:
            return {0: plane.facts()} if plane is not None else {}

        observation = Observation(
            control,
            served,
            here if workers is None else of_workers(workers),
            self._shared_sources(directory) if plane is None else plane.metric_sources,
            group=settings.gateway.group,
            hostname=socket.gethostname(),
            version=__version__,
            certificates=care.expiry,
        )
        if workers is not None:
            observation.restarts = lambda: workers.restarts

            def ended(pid: int, facts: Mapping[str, Any]) -> None:
                observation.worker_ended(facts)
                self._absorb(directory, pid)

            workers.on_exit = ended
        return observation

    def _absorb(self, directory: Path, pid: int) -> None:
        """Keep what a worker that has ended had counted, in fewer files."""
        if self.running:
            done = self._count(lambda: absorb_files(directory, pid))
            done.addErrback(lambda failure: log.failure("the counts of a worker are lost", failure))

    def _shared_sources(self, directory: Path) -> Callable[[], list[MetricSource]]:
        """Where metrics come from that workers count."""
        counted, counters = shared_directory(directory), self._counters
        assert counters is not None
        return lambda: [*counted(), partial(memory_families, counters.room)]

    def _count(self, work: Callable[[], bytes]) -> Deferred[bytes]:
        """Read or write the files of metrics, one after another, in a thread."""
        done: Deferred[bytes] = self._counting.run(in_thread(self._reactor), work)
        return done

    def _start_worker(self, worker: Worker) -> WorkerProcess:
        counters = self._counters
        assert counters is not None

        def ended() -> None:
            try:
                counters.forget_the_dead()
            except CountersFailed as error:
                log.error("what a worker had in flight still counts: {why}", why=str(error))

        return WorkerProcess.start(worker, self._reactor, counters=counters.fd, ended=ended)

    # -- while it runs

    def reload(self) -> None:
        """SIGHUP: gw.ini may have changed, certificates too, and log files may have been moved away."""
        try:
            fresh = None if self._source is None else self._source.load()
            if fresh is not None:
                bootstrap.check_formats(fresh)
        except SettingsErrors as errors:
            log.error("the settings are wrong and are left as they were:")
            for problem in errors.problems:
                log.error("{problem}", problem=problem)
            fresh = None
        if fresh is None:
            self.reopen_logs()
            return
        try:
            self._go_on_with(merge(self._settings, fresh))
        except (OSError, ValueError):
            log.failure("the settings cannot be changed; the old ones are kept")

    def _go_on_with(self, change: Reload) -> None:
        settings = change.settings
        if self._care is not None:
            self._care.reload(settings)
        if self._plane is not None:
            self._plane.reload(settings)
        if self._workers is not None:
            packed = pack({"settings": to_text(settings)})
            self._workers.reload(packed, settings.proxy.worker_timeout_s)
        limit_searches(settings)
        self._settings = settings
        if self._source is not None:
            self._source.set_log_level(settings.log.level)
        warning = bootstrap.allow_open_files(settings)
        if warning:
            log.warn("{text}", text=warning)
        log.info("settings read again: {keys}", keys=", ".join(change.applied) or "nothing has changed")
        if change.waiting:
            log.warn("these wait for a restart: {keys}", keys=", ".join(change.waiting))

    def reopen_logs(self) -> None:
        """The files of the access log may have been moved away."""
        log.info("opening the access log anew")
        if self._plane is not None:
            self._plane.reopen_logs()
        if self._workers is not None:
            self._workers.reopen()

    async def _in_a_thread(self, work: Callable[[], Any]) -> Any:
        return await deferToThreadPool(self._reactor, self._reactor.getThreadPool(), work)

    # -- listeners

    def _listen(
        self,
        api: AdminAPI,
        status: StatusReport,
        why_not: Callable[[], str | None],
        admin_tls: certificates.ReplaceableOptions | None,
    ) -> None:
        settings = self._settings
        admin, proxy = settings.admin, settings.proxy
        admin_site = AdminSite(
            api.resource(admin.allow), max_body_bytes=admin.max_body_bytes, reactor=self._reactor, timeout=60
        )
        self._sites.open("admin", admin.listen, admin_site, admin_tls)
        apisix_site = AdminSite(
            api.resource(settings.apisix.allow_admin, page=True),
            max_body_bytes=admin.max_body_bytes,
            cut_off=APISIX_TOO_LARGE,
            reactor=self._reactor,
            timeout=60,
        )
        self._sites.open("apisix", settings.apisix.listen, apisix_site)
        plane = self._plane
        if plane is not None:
            for kind, wanted in (("proxy", proxy.listen), ("proxy_tls", proxy.tls_listen)):
                for one in self._sockets.get(kind, ()):
                    with one:
                        plane.adopt(kind, one)
                for address in () if kind in self._sockets else wanted:
                    plane.listen(kind, address)
        site = Site(status.resource(why_not), reactor=self._reactor, timeout=60)
        self._sites.open("status", settings.status.listen, site)

    def _listen_inside(self, observation: Observation, control_api: ControlAPI) -> None:
        """The listeners for those who look after the gateway."""
        calls = AdminSite(
            control_api.resource(), max_body_bytes=MAX_CALL_BYTES, reactor=self._reactor, timeout=60
        )
        self._sites.open("control", self._settings.control.listen, calls)
        metrics = self._settings.metrics
        exposition = Exposition(observation.gather, self._count)
        site = Site(exposition.resource(metrics.path), reactor=self._reactor, timeout=60)
        self._sites.open("metrics", metrics.listen, site)

    def _addresses(self) -> Mapping[str, Sequence[Address]]:
        found: dict[str, list[Address]] = {}
        for listener in (
            *self._sites.listeners,
            *self._shared,
            *(self._plane.listeners if self._plane else ()),
        ):
            found.setdefault(listener.kind, []).append(listener.address)
        return found

    def _announce(self, store: str) -> None:
        addresses = self._addresses()
        ports = bootstrap.name_ports({kind: [a.port for a in some] for kind, some in addresses.items()})
        lines = bootstrap.start_lines(
            self._settings, addresses, token=self._token, store=store, apisix_key=self._apisix_key
        )
        for line in lines:
            log.info("{line}", line=line)
        bootstrap.write_ports(self._settings.gateway.data_dir, ports)

    # -- stop

    def stopService(self) -> Deferred[None]:
        """Stop accepting, let the requests in flight end within the grace period, close everything."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        bootstrap.remove_ports(self._settings.gateway.data_dir)
        await self._sites.stop()
        grace_s = self._settings.gateway.shutdown_grace_s
        if self._workers is not None:
            await self._workers.stop(grace_s, self._settings.plugins.logger_close_timeout_s)
        if self._plane is not None:
            await self._plane.stop_listening()
            await self._plane.drain(grace_s)
            await self._plane.close()
        for close in reversed(self._closers):
            try:
                await maybe(close())
            except Exception:
                log.failure("closing failed")
