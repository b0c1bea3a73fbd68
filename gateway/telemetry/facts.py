"""What is so at the moment, for those who scrape metrics: gauges made from facts, when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC
from typing import Any

from attrs import field, frozen
from cryptography import x509
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

CONNECTION_STATES = ("active", "accepted", "handled", "reading", "writing", "waiting")


@frozen
class ProcessFacts:
    """
    What one process that serves says of itself. Travels between processes as JSON (``to_json``).

    Attributes:
        revision: Of the configuration it serves. bugs: Unexpected exceptions so far.
        requests: Requests it has ended. in_flight: Requests being served.
        connections: Of clients, by state.
        health: The upstreams being checked, as the control API shows them.
        batches: ``[name, route id, address, entries waiting]`` for each.
        dropped: What was not written, by ``[what, where]``: ``[what, where, count]``.
        folded: Observations past the limit of time series.
    """

    revision: int = 0
    bugs: int = 0
    requests: int = 0
    in_flight: int = 0
    connections: Mapping[str, int] = field(factory=dict)
    health: Sequence[Mapping[str, Any]] = ()
    batches: Sequence[Sequence[Any]] = ()
    dropped: Sequence[Sequence[Any]] = ()
    folded: int = 0

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return {name: getattr(self, name) for name in _MEMBERS}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> ProcessFacts:
        """Read ``to_json``; members that are missing or unknown, of another version, do not matter."""
        return cls(**{name: document[name] for name in _MEMBERS if name in document})


_MEMBERS = tuple(one.name for one in ProcessFacts.__attrs_attrs__)


@frozen
class GatewayFacts:
    """
    What the gateway as a whole says of itself.

    Attributes:
        processes: Of those that serve, by worker number; of a gateway in one process the number is 0.
        ended: Totals of workers that are gone: requests, accepted connections, dropped.
        store_revision: The last revision written.
        store_reachable: Whether the store took the last write, or was opened since; None if it is not known.
        kinds: The last revision that changed each kind of resource.
        quarantined: Resources that are off because they cannot be compiled, by kind.
        certificates: Name and Unix time of expiry.
        restarts: Workers replaced so far.
    """

    hostname: str
    version: str
    processes: Mapping[int, ProcessFacts]
    ended: ProcessFacts = ProcessFacts()
    store_revision: int = 0
    store_reachable: bool | None = None
    kinds: Mapping[str, int] = field(factory=dict)
    quarantined: Mapping[str, int] = field(factory=dict)
    certificates: Sequence[tuple[str, float]] = ()
    restarts: int = 0


def families(facts: GatewayFacts) -> Iterator[Metric]:
    """The gauges (data-plane contract §17, and our own)."""
    every = [*facts.processes.values(), facts.ended]
    yield _gauge(
        "apisix_http_requests_total", "The total number of client requests", sum(p.requests for p in every)
    )
    connections = GaugeMetricFamily(
        "apisix_nginx_http_current_connections", "Number of HTTP connections", labels=["state"]
    )
    for state in CONNECTION_STATES:
        connections.add_metric([state], sum(p.connections.get(state, 0) for p in every))
    yield connections
    yield _node_info(facts)
    yield _upstreams(facts)
    if facts.store_reachable is not None:
        yield _gauge(
            "apisix_etcd_reachable", "Whether the store could be reached last", int(facts.store_reachable)
        )
    indexes = GaugeMetricFamily(
        "apisix_etcd_modify_indexes", "Last revision of each kind of resource", labels=["key"]
    )
    for kind, revision in {
        **{_plural(kind): revision for kind, revision in facts.kinds.items()},
        "max_modify_index": max(facts.kinds.values(), default=0),
        "x_etcd_index": facts.store_revision,
    }.items():
        indexes.add_metric([kind], revision)
    yield indexes
    batches = GaugeMetricFamily(
        "apisix_batch_process_entries",
        "Log entries waiting to be sent",
        labels=["name", "route_id", "server_addr"],
    )
    for labels, count in _summed(one for p in every for one in p.batches).items():
        batches.add_metric(labels, count)
    yield batches
    yield from _own(facts, every)


def memory_families(rooms: Callable[[], Iterable[tuple[str, int, int]]]) -> Iterator[Metric]:
    """
    The memory that processes share.

    Args:
        rooms: Says what each piece is for, its bytes, and those that are free.
    """
    capacity = GaugeMetricFamily(
        "apisix_shared_dict_capacity_bytes", "Bytes of memory that processes share", labels=["name"]
    )
    free = GaugeMetricFamily(
        "apisix_shared_dict_free_space_bytes", "Those of them that are free", labels=["name"]
    )
    for name, size, left in rooms():
        capacity.add_metric([name], size)
        free.add_metric([name], left)
    yield capacity
    yield free


def _own(facts: GatewayFacts, every: Sequence[ProcessFacts]) -> Iterator[Metric]:
    revisions = GaugeMetricFamily(
        "gateway_config_revision", "Revision of the configuration served", labels=["worker"]
    )
    for number, process in facts.processes.items():
        revisions.add_metric([str(number)], process.revision)
    yield revisions
    yield _gauge("gateway_config_stored_revision", "Last revision written", facts.store_revision)
    quarantined = GaugeMetricFamily(
        "gateway_quarantined_resources",
        "Resources that are off because they cannot be compiled",
        labels=["kind"],
    )
    for kind, count in facts.quarantined.items():
        quarantined.add_metric([kind], count)
    yield quarantined
    expiry = GaugeMetricFamily(
        "gateway_certificate_expiry_timestamp_seconds",
        "When a certificate expires, in Unix seconds",
        labels=["name"],
    )
    for name, at in facts.certificates:
        expiry.add_metric([name], at)
    yield expiry
    yield _gauge("gateway_requests_in_flight", "Requests being served", sum(p.in_flight for p in every))
    yield _counter("gateway_bugs", "Unexpected exceptions", sum(p.bugs for p in every))
    yield _counter("gateway_worker_restarts", "Workers replaced", facts.restarts)
    yield _counter(
        "gateway_metrics_folded", "Observations past the limit of series", sum(p.folded for p in every)
    )
    dropped = CounterMetricFamily(
        "gateway_dropped_entries", "Log entries that were not written", labels=["what", "route_id"]
    )
    for (what, where), count in _summed(one for p in every for one in p.dropped).items():
        dropped.add_metric([what, where], count)
    yield dropped


def _node_info(facts: GatewayFacts) -> Metric:
    made = GaugeMetricFamily("apisix_node_info", "Info of this gateway", labels=["hostname", "version"])
    made.add_metric([facts.hostname, facts.version], 1)
    return made


def _upstreams(facts: GatewayFacts) -> Metric:
    """A node is 1 where every process that checks it can use it."""
    made = GaugeMetricFamily(
        "apisix_upstream_status", "Upstream status from health checks", labels=["name", "ip", "port"]
    )
    found: dict[tuple[str, str, str], int] = {}
    for process in facts.processes.values():
        for upstream in process.health:
            for node in upstream["nodes"]:
                key = (upstream["name"], str(node["ip"]), str(node["port"]))
                usable = int(node["status"] in ("healthy", "mostly_healthy"))
                found[key] = min(usable, found.get(key, 1))
    for key, usable in found.items():
        made.add_metric(list(key), usable)
    return made


def _summed(rows: Iterable[Sequence[Any]]) -> dict[tuple[str, ...], int]:
    """Rows of labels and, last, a number; added up where the labels are the same."""
    found: dict[tuple[str, ...], int] = {}
    for *labels, count in rows:
        found[tuple(labels)] = found.get(tuple(labels), 0) + count
    return found


def _gauge(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(name, documentation, value=value)


def _counter(name: str, documentation: str, value: float) -> Metric:
    return CounterMetricFamily(name, documentation, value=value)


def _plural(kind: str) -> str:
    return kind if kind.endswith("metadata") else f"{kind}s"


def expiry_of(pem: str) -> float | None:
    """When the first certificate in a PEM text expires, in Unix seconds; None if there is none."""
    try:
        found = x509.load_pem_x509_certificate(pem.encode())
    except ValueError:
        return None
    return found.not_valid_after_utc.replace(tzinfo=UTC).timestamp()


def summed(facts: Iterable[ProcessFacts]) -> ProcessFacts:
    """What ended processes leave: totals, and nothing that was so at a moment."""
    some = list(facts)
    connections = {
        state: sum(one.connections.get(state, 0) for one in some) for state in ("accepted", "handled")
    }
    return ProcessFacts(
        bugs=sum(one.bugs for one in some),
        requests=sum(one.requests for one in some),
        connections=connections,
        dropped=[[*key, count] for key, count in _summed(row for one in some for row in one.dropped).items()],
        folded=sum(one.folded for one in some),
    )
