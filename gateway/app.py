"""The composition root: from settings to a running gateway.

``make_service`` checks what can be checked before the process goes into the background.
``GatewayService`` opens the store, compiles the configuration, listens, and takes it all down again.
"""

from __future__ import annotations

import atexit
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import define, field, frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from twisted.web.server import Site

from gateway import __version__, bootstrap, certificates
from gateway.admin.app import AdminAPI
from gateway.admin.calls import Limits
from gateway.admin.groups import default_group_change
from gateway.admin.site import AdminSite
from gateway.admin.tokens import bootstrap_change
from gateway.binding import PluginBinder
from gateway.control.control import Control
from gateway.control.explainer import Explainer
from gateway.control.local import LocalPublisher
from gateway.control.state import State
from gateway.control.status import StatusReport
from gateway.core.addresses import AddressSet
from gateway.core.compiler import Compiler
from gateway.errors import GatewayError
from gateway.interfaces import IConfigStore, PluginServices
from gateway.model.record import Change, StoreView
from gateway.proxy.dispatch import Dispatcher
from gateway.proxy.lean import LeanFactory
from gateway.proxy.limits import ProxyLimits
from gateway.proxy.resource import ProxyResource
from gateway.proxy.runner import Runner
from gateway.proxy.site import ProxySite
from gateway.registry import PluginRegistry, load_plugins
from gateway.settings import Settings
from gateway.settings_fields import Address
from gateway.store.keyfile import load_or_create
from gateway.store.sealing import Sealer
from gateway.store.urls import open_store
from gateway.telemetry.access_log import AccessLog
from gateway.upstream.agent import UpstreamAgent
from gateway.upstream.client import ProxyClient

log = Logger()


@frozen
class SystemClock:
    """Time, as it is (``gateway.interfaces.Clock``)."""

    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


@frozen
class PluginLogger:
    """``gateway.interfaces.PluginLog`` over twisted's logger."""

    _log: Logger = field(factory=lambda: Logger(namespace="gateway.plugins"))

    def warn(self, format: str, **fields: object) -> None:
        self._log.warn(format, **fields)

    def error(self, format: str, **fields: object) -> None:
        self._log.error(format, **fields)


def make_service(settings: Settings, reactor: Any) -> GatewayService:
    """
    Build the gateway; nothing listens and nothing is opened yet.

    Raises:
        SettingsErrors, PluginLoadError: it cannot be started with these settings.
    """
    bootstrap.check_formats(settings)
    registry = load_plugins(settings.plugins.enabled)
    bootstrap.ensure_data_dir(settings)
    token = bootstrap.admin_token(settings)
    return GatewayService(settings, reactor, registry, token)


@define(eq=False)
class _Listener:
    kind: str
    port: IListeningPort
    site: Site | LeanFactory

    @property
    def address(self) -> Address:
        host: Any = self.port.getHost()
        return Address(host.host, host.port)


class GatewayService(Service):
    """The gateway as twistd starts and stops it."""

    name = "gateway"

    def __init__(
        self, settings: Settings, reactor: Any, registry: PluginRegistry, token: bootstrap.AdminToken
    ) -> None:
        self._settings = settings
        self._reactor = reactor
        self._registry = registry
        self._token = token
        self._clock = SystemClock()
        self._listeners: list[_Listener] = []
        self._closers: list[Callable[[], Any]] = []
        self._runner: Runner | None = None
        self.started: Deferred[None] = Deferred()

    # -- start

    def startService(self) -> None:
        """Start; ``started`` fires when everything listens. A failure ends the process with status 1."""
        super().startService()
        bootstrap.remove_ports(self._settings.gateway.data_dir)
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
        warning = bootstrap.allow_open_files(settings)
        if warning:
            log.warn("{text}", text=warning)
        store = await self._open_store()
        view: StoreView = await store.load()
        view = await self._first_records(store, view)

        limits = _limits(settings)
        compiler = Compiler(self._binder(), settings.gateway.group)
        runner = self._runner = self._make_runner(limits, compiler)
        in_order = sorted(view.records, key=lambda r: r.created_revision)
        runner.snapshot = compiler.load(in_order, view.revision, getattr(store, "damaged", ()))
        for quarantined, why in runner.snapshot.quarantined.items():
            log.error("{key} is quarantined: {why}", key="/".join(quarantined), why=why)

        control = Control(store, LocalPublisher(compiler, runner), self._clock, State.of(view))
        status = StatusReport(runner, control, self._clock, self._clock.time(), __version__)
        explainer = Explainer(runner, self._clock)
        api = AdminAPI(
            control,
            self._registry,
            clock=self._clock,
            limits=Limits(max_body_bytes=settings.admin.max_body_bytes),
            history=store.history,
            explain=explainer.explain,
            status=status.report,
            ready=status.not_ready_because,
        )
        self._listen(api, status, runner)
        self._announce(store.describe())

    async def _open_store(self) -> IConfigStore:
        settings = self._settings.store
        keys = load_or_create(str(settings.key_file))
        store: IConfigStore = open_store(
            str(settings.url), self._reactor, Sealer(keys, self._registry.secret_fields)
        )
        await store.open()
        self._closers.append(store.close)
        return store

    async def _first_records(self, store: IConfigStore, view: StoreView) -> StoreView:
        """Make the default group and the first token, where they are not there yet."""
        changes = [default_group_change(), bootstrap_change(self._token.text)]
        state = State.of(view)
        changes = [change for change in changes if not _stored(state, change)]
        if not changes:
            return view
        await store.commit(
            changes, author="gateway", reason="start", at=self._clock.time(), expected=view.revision
        )
        after: StoreView = await store.load()
        return after

    def _binder(self) -> PluginBinder:
        services = PluginServices(self._clock, PluginLogger(), settings=self._settings.plugins.limits)
        return PluginBinder(self._registry, services, os.environ)

    def _make_runner(self, limits: ProxyLimits, compiler: Compiler) -> Runner:
        settings = self._settings
        proxy, logs = settings.proxy, settings.log
        agent = UpstreamAgent(
            self._reactor,
            max_header_bytes=proxy.upstream_max_header_bytes,
            max_headers=proxy.upstream_max_headers,
        )
        self._closers.append(agent.close)
        access_log = None
        if logs.access is not None:
            access_log = AccessLog(
                str(logs.access),
                logs.access_format,
                flush_s=logs.access_flush_s,
                buffer_bytes=logs.access_buffer_bytes,
                clock=self._reactor,
            )
            self._closers.append(access_log.close)
        trusted = proxy.trusted_addresses
        return Runner(
            snapshot=compiler.empty(),
            dispatcher=Dispatcher(
                ProxyClient(agent), None if trusted is None else AddressSet.parse([str(n) for n in trusted])
            ),
            clock=self._clock,
            limits=limits,
            on_end=(lambda exchange: None) if access_log is None else access_log.write,
            server=f"gateway/{__version__}".encode() if proxy.server_tokens else b"gateway",
            show_upstream_status=proxy.show_upstream_status,
        )

    # -- listeners

    def _listen(self, api: AdminAPI, status: StatusReport, runner: Runner) -> None:
        settings = self._settings
        admin, proxy = settings.admin, settings.proxy
        pair = self._certificate() if admin.tls or proxy.tls_listen else None
        admin_site = AdminSite(
            api.resource(), max_body_bytes=admin.max_body_bytes, reactor=self._reactor, timeout=60
        )
        _mute(admin_site)
        for address in admin.listen:
            self._open("admin", address, admin_site, pair if admin.tls else None)
        for address in proxy.listen:
            self._open("proxy", address, self._proxy_factory(runner))
        for address in proxy.tls_listen:
            self._open("proxy_tls", address, self._proxy_factory(runner, tls=True), pair)
        for address in settings.status.listen:
            site = Site(status.resource(), reactor=self._reactor, timeout=60)
            _mute(site)
            self._open("status", address, site)

    def _proxy_factory(self, runner: Runner, *, tls: bool = False) -> ProxySite | LeanFactory:
        if self._settings.proxy.engine == "lean":
            return LeanFactory(runner, self._reactor, tls=tls)
        return ProxySite(ProxyResource(runner), runner.limits, self._reactor)

    def _certificate(self) -> certificates.CertificateFiles:
        admin = self._settings.admin
        if admin.certificate is not None and admin.private_key is not None:
            return certificates.CertificateFiles(admin.certificate, admin.private_key)
        return certificates.ensure_self_signed(self._settings.gateway.data_dir, socket.gethostname())

    def _open(
        self,
        kind: str,
        address: Address,
        site: Site | LeanFactory,
        pair: certificates.CertificateFiles | None = None,
    ) -> None:
        if pair is None:
            port = self._reactor.listenTCP(address.port, site, backlog=4096, interface=address.host)
        else:
            context = certificates.server_options(pair)
            port = self._reactor.listenSSL(address.port, site, context, backlog=4096, interface=address.host)
        self._listeners.append(_Listener(kind, port, site))

    def _addresses(self) -> Mapping[str, Sequence[Address]]:
        found: dict[str, list[Address]] = {}
        for listener in self._listeners:
            found.setdefault(listener.kind, []).append(listener.address)
        return found

    def _announce(self, store: str) -> None:
        addresses = self._addresses()
        ports = bootstrap.name_ports({kind: [a.port for a in some] for kind, some in addresses.items()})
        for line in bootstrap.start_lines(self._settings, addresses, token=self._token, store=store):
            log.info("{line}", line=line)
        bootstrap.write_ports(self._settings.gateway.data_dir, ports)

    # -- stop

    def stopService(self) -> Deferred[None]:
        """Stop accepting, let the requests in flight end within the grace period, close everything."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        bootstrap.remove_ports(self._settings.gateway.data_dir)
        await DeferredList([_maybe(listener.port.stopListening()) for listener in self._listeners])
        for listener in self._listeners:
            if isinstance(listener.site, (ProxySite, LeanFactory)):
                listener.site.drain()
        runner = self._runner
        if runner is not None and runner.runs:
            log.info("waiting for {count} requests in flight", count=len(runner.runs))
            idle = runner.when_idle()
            timer = self._reactor.callLater(self._settings.gateway.shutdown_grace_s, _cut, runner)
            await idle
            if timer.active():
                timer.cancel()
        for close in reversed(self._closers):
            try:
                await _maybe(close())
            except Exception:
                log.failure("closing failed")


def _stored(state: State, change: Change) -> bool:
    record = state.get(*change.key)
    return record is not None and record.value == change.value


def _cut(runner: Runner) -> None:
    for run in list(runner.runs):
        run.stop()


def _maybe(result: Any) -> Deferred[Any]:
    return result if isinstance(result, Deferred) else succeed(result)


def _mute(site: Site) -> None:
    site.log = lambda request: None  # type: ignore[method-assign]  # twisted.web's log lines hold query strings


def _limits(settings: Settings) -> ProxyLimits:
    proxy = settings.proxy
    return ProxyLimits(
        max_in_flight=proxy.max_in_flight,
        max_connections=proxy.max_connections,
        max_body_bytes=proxy.max_body_bytes,
        max_header_bytes=proxy.max_header_bytes,
        max_headers=proxy.max_headers,
        idle_timeout_s=proxy.idle_timeout_s,
        header_timeout_s=proxy.header_timeout_s,
        body_timeout_s=proxy.body_timeout_s,
        send_timeout_s=proxy.send_timeout_s,
        linger_s=proxy.linger_s,
        linger_bytes=proxy.linger_bytes,
        read_ahead_bytes=proxy.read_ahead_bytes,
    )
