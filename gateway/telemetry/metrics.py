"""What one process counts for Prometheus, with the official client library.

In a gateway of one process the numbers are in its memory. Workers keep theirs in files that they map
into memory (the library's multi-process mode): whoever renders the metrics adds the files up, and what a
worker had counted when it died stays. Names, labels and buckets are those of data-plane contract §17,
and ``gateway_*`` for what that does not know.

The number of time series is bounded: label values beyond the limit are counted together, as
``overflow``, so that sums stay true.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Histogram, values
from prometheus_client.metrics_core import Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector

from gateway.core.exchange import Exchange, Outcome
from gateway.core.fields import written_bytes
from gateway.core.metric_options import CountOptions
from gateway.interfaces import Clock

LATENCY_BUCKETS_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 30000, 60000)
APPLY_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
OVERFLOW = "overflow"
"""The value of labels past the limit of time series."""

_GROUP_LABELS = ("route", "service", "consumer", "node", "request_type", "request_llm_model", "llm_model")
STATUS_LABELS = ("code", "route", "matched_uri", "matched_host", *_GROUP_LABELS[1:], "response_source")
LATENCY_LABELS = ("type", *_GROUP_LABELS)
_TRADITIONAL = ("traditional_http", "", "")
_DEAD = "0"
"""In the place of a process id: the file that has what ended processes counted."""
_LOCK = "lock"
"""Held by who reads the files, together, and by who adds them up, alone."""


def _text(value: str | None) -> str:
    """A label's value; half characters have no place in the format."""
    return "" if value is None else value.encode("utf-8", "replace").decode("utf-8")


class Metrics:
    """
    The counters of this process.

    Attributes:
        folded: Observations that were counted as ``overflow``.
    """

    def __init__(self, clock: Clock, *, max_series: int, directory: str | None = None) -> None:
        """
        Args:
            max_series: Sets of label values of one metric.
            directory: Where numbers are kept that outlive this process; None: in memory. The choice is the
                process's: the library keeps it in a global.
        """
        prometheus_client.disable_created_metrics()
        if directory is not None:
            os.makedirs(directory, mode=0o700, exist_ok=True)
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory
            pid = os.getpid()
            values.ValueClass = values.MultiProcessValue(lambda: pid)
        self.folded = 0
        self.registry = CollectorRegistry(auto_describe=False)
        self._clock = clock
        self._max_series = max_series
        self._status = Counter(
            "apisix_http_status", "HTTP status codes per service", STATUS_LABELS, registry=self.registry
        )
        self._latency = Histogram(
            "apisix_http_latency",
            "HTTP request latency in milliseconds per service",
            LATENCY_LABELS,
            registry=self.registry,
            buckets=LATENCY_BUCKETS_MS,
        )
        self._bandwidth = Counter(
            "apisix_bandwidth",
            "Total bandwidth in bytes consumed per service",
            LATENCY_LABELS,
            registry=self.registry,
        )
        self._reasons = Counter(
            "gateway_requests",
            "Requests by who decided how they end, and why",
            ("decided_by", "reason"),
            registry=self.registry,
        )
        self._apply = Histogram(
            "gateway_config_apply_seconds",
            "Seconds from a change of the configuration to its being served",
            registry=self.registry,
            buckets=APPLY_BUCKETS_S,
        )
        self._groups: dict[tuple[str, str, str, str], _Group] = {}
        self._statuses: dict[tuple[str, ...], Callable[[], None]] = {}
        self._decided: dict[tuple[str, str], Callable[[], None]] = {}

    def applied(self, seconds: float) -> None:
        """A change of the configuration is served."""
        self._apply.observe(seconds)

    # -- requests

    def request(self, exchange: Exchange, options: CountOptions) -> None:
        """Count a request that has ended (``gateway.interfaces.RequestMetrics``)."""
        outcome = exchange.outcome
        assert outcome is not None
        route, attempts = exchange.route, exchange.attempts
        route_label = service_label = ""
        if route is not None:
            route_label, service_label = route.id, route.service_id or ""
            if options.prefer_name:
                route_label, service_label = route.name or route_label, route.service_name or service_label
        consumer = "" if exchange.consumer is None else exchange.consumer.username
        node = attempts[-1].node if attempts else ""
        match = exchange.match
        pattern, host = ("", "") if match is None else (match.pattern, match.host)
        key: tuple[str, ...] = (
            str(outcome.status),
            route_label,
            pattern,
            host,
            service_label,
            consumer,
            node,
            _source(exchange, outcome),
        )
        group_key = (route_label, service_label, consumer, node)
        if options.disabled:
            key, group_key = _blanked(key, group_key, options)
        count = self._statuses.get(key)
        (count if count is not None else self._status_of(key))()
        group = self._groups.get(group_key)
        if group is None:
            group = self._group_of(group_key, options)
        total_s = max(0.0, self._clock.time() - exchange.started_s)
        group.request(total_s * 1000.0)
        if attempts:
            upstream_s = sum([attempt.seconds for attempt in attempts])
            if exchange.from_upstream:
                upstream_s += max(0.0, self._clock.monotonic() - exchange.answered_at)
            upstream_s = min(upstream_s, total_s)
            group.upstream(upstream_s * 1000.0)
            total_s -= upstream_s
        group.gateway(total_s * 1000.0)
        head = exchange.request
        line = 14 + len(head.method) + len(head.target)
        group.ingress(line + written_bytes(head.fields) + exchange.bytes_received)
        group.egress(exchange.answer_bytes)
        reason = (outcome.decided_by, outcome.reason)
        decided = self._decided.get(reason)
        (decided if decided is not None else self._decided_by(reason))()

    def _status_of(self, key: tuple[str, ...]) -> Callable[[], None]:
        full = len(self._statuses) >= self._max_series
        code, route, pattern, host, service, consumer, node, source = key
        if full:
            self.folded += 1
            route = pattern = host = service = consumer = node = OVERFLOW
        labels = (code, route, pattern, host, service, consumer, _address(node), *_TRADITIONAL, source)
        made: Callable[[], None] = self._status.labels(*map(_text, labels)).inc
        if not full:
            self._statuses[key] = made
        return made

    def _group_of(self, key: tuple[str, str, str, str], options: CountOptions) -> _Group:
        full = len(self._groups) >= self._max_series
        if full:
            self.folded += 1
            route = service = consumer = node = OVERFLOW
        else:
            route, service, consumer, node = key
        labels = tuple(map(_text, (route, service, consumer, _address(node), *_TRADITIONAL)))
        made = _Group(self._latency, self._bandwidth, labels)
        if not full:
            self._groups[key] = made
        return made

    def _decided_by(self, key: tuple[str, str]) -> Callable[[], None]:
        full = len(self._decided) >= self._max_series
        if full:
            self.folded += 1
        labels = (OVERFLOW, OVERFLOW) if full else key
        made: Callable[[], None] = self._reasons.labels(*map(_text, labels)).inc
        if not full:
            self._decided[key] = made
        return made


class _Group:
    """The series of latency and bandwidth of one set of labels, looked up once."""

    __slots__ = ("_latency", "egress", "gateway", "ingress", "request", "upstream")

    def __init__(self, latency: Histogram, bandwidth: Counter, labels: tuple[str, ...]) -> None:
        self._latency = latency, labels
        self.request = latency.labels("request", *labels).observe
        # There is no such series where no upstream has been asked.
        self.upstream: Callable[[float], None] = self._first
        self.gateway = latency.labels("apisix", *labels).observe
        self.ingress = bandwidth.labels("ingress", *labels).inc
        self.egress = bandwidth.labels("egress", *labels).inc

    def _first(self, ms: float) -> None:
        latency, labels = self._latency
        self.upstream = latency.labels("upstream", *labels).observe
        self.upstream(ms)


def _address(node: str) -> str:
    """The host of ``host:port``."""
    return node.rpartition(":")[0].strip("[]") if ":" in node else node


def _source(exchange: Exchange, outcome: Outcome) -> str:
    """Who made the answer: the upstream, the gateway for want of one, or the gateway itself."""
    if exchange.from_upstream:
        return "upstream"
    return "nginx" if exchange.attempts and outcome.decided_by in ("upstream", "balancer") else "apisix"


_STATUS_PLACES = {
    name: place
    for place, name in enumerate(
        ("code", "route", "matched_uri", "matched_host", "service", "consumer", "node", "response_source")
    )
}
_GROUP_PLACES = {name: place for place, name in enumerate(_GROUP_LABELS[:4])}


def _blanked(
    key: tuple[str, ...], group: tuple[str, str, str, str], options: CountOptions
) -> tuple[tuple[str, ...], tuple[str, str, str, str]]:
    """The keys without the labels that the settings have switched off."""
    status, shared = list(key), list(group)
    for name in options.disabled.get("http_status", ()):
        if name in _STATUS_PLACES:
            status[_STATUS_PLACES[name]] = ""
    # Latency and bandwidth share their sets of labels: what is off for both is off.
    latency = options.disabled.get("http_latency", frozenset())
    for name in latency & options.disabled.get("bandwidth", frozenset()):
        if name in _GROUP_PLACES:
            shared[_GROUP_PLACES[name]] = ""
    route, service, consumer, node = shared
    return tuple(status), (route, service, consumer, node)


# -- what several processes have counted


def files_of(directory: str, pid: int | str) -> list[str]:
    """The files of one process."""
    return [entry.path for entry in os.scandir(directory) if entry.name.endswith(f"_{pid}.db")]


@contextmanager
def _locked(directory: str, operation: int) -> Iterator[None]:
    descriptor = os.open(os.path.join(directory, _LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, operation)
        yield
    finally:
        os.close(descriptor)


def collect_files(directory: str) -> Iterable[Metric]:
    """The sums of what all processes have counted, those that ended included. Reads files: for a thread."""
    with _locked(directory, fcntl.LOCK_SH), os.scandir(directory) as entries:
        # A process that begins makes its files empty; a moment later they can be read.
        paths = [entry.path for entry in entries if entry.name.endswith(".db") and entry.stat().st_size]
        found: Iterable[Metric] = MultiProcessCollector.merge(paths)
        return found


def absorb(directory: str, pid: int) -> None:
    """
    Add the files of a process that has ended to those of all ended ones. Reads and writes: for a thread.

    A gateway that replaces workers for months so has a handful of files.
    """
    with _locked(directory, fcntl.LOCK_EX):
        for path in files_of(directory, pid):
            _add_up(directory, path)


def _add_up(directory: str, path: str) -> None:
    if os.path.getsize(path):  # Whoever was killed early may have left an empty one.
        kind = os.path.basename(path).rpartition("_")[0]
        total = MmapedDict(os.path.join(directory, f"{kind}_{_DEAD}.db"))
        try:
            for key, value, _, _ in MmapedDict.read_all_values_from_file(path):
                total.write_value(key, total.read_value(key)[0] + value, 0.0)
        finally:
            total.close()
    os.unlink(path)
