"""What a data plane is made of, each part made from the settings; for whatever process.

``gateway.data_plane`` puts them together. The process that only administers takes some of them, to compile
what workers serve.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Collection, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from attrs import field, frozen
from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from gateway import __version__
from gateway.binding import PluginBinder
from gateway.core.addresses import AddressSet
from gateway.core.compiler import Compiler
from gateway.core.real_ip import RealIp
from gateway.core.regex_limits import LIMIT
from gateway.core.secrets import Secrets, no_manager
from gateway.core.snapshot import Snapshot
from gateway.counters.local import LocalCounters
from gateway.counters.source import Source
from gateway.interfaces import HttpCalls, PluginServices
from gateway.model.record import Change, Key, Record
from gateway.proxy.limits import ProxyLimits
from gateway.proxy.tls_contexts import ContextLoader
from gateway.registry import PluginRegistry
from gateway.secrets.managers import Asking
from gateway.secrets.source import SecretLimits, SecretSource
from gateway.settings import Settings
from gateway.telemetry.exposition import DEFAULT_PATH
from gateway.telemetry.slow_patterns import SlowPatterns
from gateway.threads import in_thread

log = Logger()


@frozen
class SystemClock:
    """Time, as it is (``gateway.interfaces.Clock``)."""

    # Nothing between the caller and the system.
    monotonic = staticmethod(time.monotonic)
    time = staticmethod(time.time)


@frozen
class PluginLogger:
    """``gateway.interfaces.PluginLog`` over twisted's logger."""

    _log: Logger = field(factory=lambda: Logger(namespace="gateway.plugins"))

    def warn(self, format: str, **fields: object) -> None:
        self._log.warn(format, **fields)

    def error(self, format: str, **fields: object) -> None:
        self._log.error(format, **fields)


def make_services(settings: Settings, reactor: Any, calls: HttpCalls, counters: Source) -> PluginServices:
    """What the plugins of one process share."""

    def sleep(seconds: float) -> Deferred[None]:
        return deferLater(reactor, seconds)

    def spawn(work: Coroutine[Any, Any, Any]) -> None:
        done = Deferred.fromCoroutine(work)
        done.addErrback(lambda failure: log.failure("a plugin's own work failed", failure))

    peers = trusted_peers(settings)
    return PluginServices(
        SystemClock(),
        PluginLogger(),
        settings=_plugin_settings(settings),
        http=calls,
        sleep=sleep,
        spawn=spawn,
        in_thread=in_thread(reactor),
        counters=counters,
        breakers=counters.local,
        random=random.random,
        trusted=(lambda address: False) if peers is None else peers.__contains__,
    )


def limit_searches(settings: Settings) -> None:
    """Have searches for regular expressions given up in time, in this process, and told in its log."""
    LIMIT.seconds = settings.plugins.regex_timeout_ms / 1000
    LIMIT.reached = _slow_patterns.reached


_slow_patterns = SlowPatterns(time.monotonic)


def make_counters(settings: Settings, reactor: Any, local: LocalCounters | None = None) -> Source:
    """
    Where the plugins of one process get their counters from.

    Args:
        local: Those of this machine, if other processes share them.
    """
    local = local or LocalCounters.make(settings.plugins.counters_keys, time.monotonic)
    plugins = settings.plugins
    return Source(local, reactor, retry_s=plugins.redis_retry_s, synced_keys=plugins.counters_keys)


def make_secrets(settings: Settings, reactor: Any, calls: HttpCalls) -> SecretSource:
    """What secret references of the group that is served stand for."""
    given = settings.secrets
    # A worker that waits for a manager must not be taken for one that hangs.
    timeout_s = min(given.timeout_s, settings.proxy.worker_timeout_s / 2)
    return SecretSource(
        Asking(calls, time.time, timeout_s),
        reactor,
        settings.gateway.group,
        os.environ,
        SecretLimits(given.ttl_s, given.failure_ttl_s),
    )


def make_compiler(
    settings: Settings, registry: PluginRegistry, services: PluginServices, secrets: SecretSource
) -> Compiler:
    """A compiler for the group that is served, with plugin instances of its own."""
    return Compiler(
        PluginBinder(registry, services, os.environ, secrets.value),
        settings.gateway.group,
        now=time.monotonic,
        random=random.random,
        certificates=_loader(settings, secrets.value),
    )


def _loader(settings: Settings, secrets: Secrets = no_manager) -> ContextLoader:
    return ContextLoader(
        os.environ,
        settings.proxy.tls_ciphers,
        secrets,
        session_timeout_s=settings.proxy.tls_session_timeout_s,
    )


def fallback_context(settings: Settings) -> SSL.Context | None:
    """
    The context for names that no ssl is for; None if gw.ini names no certificate.

    Raises:
        OSError, ValueError: its files cannot be read, or not used.
    """
    proxy = settings.proxy
    if proxy.tls_certificate is None or proxy.tls_private_key is None:
        return None
    pair = proxy.tls_certificate.read_text(), proxy.tls_private_key.read_text()
    return _loader(settings).context([pair])


async def load_snapshot(
    compiler: Compiler,
    secrets: SecretSource,
    records: Sequence[Record],
    revision: int,
    damaged: Collection[Key],
) -> Snapshot:
    """
    Compile everything, and log what had to be quarantined.

    Args:
        secrets: Asked first for what *records* refer to. records: In the order of creation.
    """
    changes = [Change(r.group, r.kind, r.id, r.value, r.dialect) for r in records if r.key not in damaged]
    await secrets.foresee(changes)
    snapshot = compiler.load(records, revision, damaged)
    secrets.follow(changes)
    for quarantined, why in snapshot.quarantined.items():
        log.error("{key} is quarantined: {why}", key="/".join(quarantined), why=why)
    return snapshot


def _plugin_settings(settings: Settings) -> Mapping[str, str]:
    """The section [plugins]; a port that was not named is that of the first HTTPS listener."""
    limits = dict(settings.plugins.limits)
    if not settings.plugins.redirect_https_port and settings.proxy.tls_listen:
        limits["redirect_https_port"] = str(settings.proxy.tls_listen[0].port)
    return limits


def public_paths(settings: Settings) -> tuple[str, ...]:
    """Where ``public-api`` finds the metrics."""
    return settings.metrics.path, DEFAULT_PATH


def metrics_directory(settings: Settings) -> Path:
    """Where workers keep what they count, for each other and for the process that administers."""
    return settings.gateway.data_dir / "metrics"


def server_name(settings: Settings) -> bytes:
    return f"gateway/{__version__}".encode() if settings.proxy.server_tokens else b"gateway"


def trusted_peers(settings: Settings) -> AddressSet | None:
    trusted = settings.proxy.trusted_addresses
    return None if trusted is None else AddressSet.parse([str(network) for network in trusted])


def real_ip(settings: Settings) -> RealIp | None:
    proxy = settings.proxy
    if proxy.real_ip_from is None:
        return None
    trusted = AddressSet.parse([str(network) for network in proxy.real_ip_from])
    return RealIp(proxy.real_ip_header.lower().encode("ascii"), trusted, proxy.real_ip_recursive)


def proxy_limits(settings: Settings) -> ProxyLimits:
    proxy = settings.proxy
    return ProxyLimits(**{one.name: getattr(proxy, one.name) for one in attrs.fields(ProxyLimits)})
