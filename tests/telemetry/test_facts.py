"""Tests for gateway.telemetry.facts."""

from __future__ import annotations

from prometheus_client.metrics_core import Metric
from twisted.trial.unittest import SynchronousTestCase

from gateway.telemetry.facts import GatewayFacts, ProcessFacts, expiry_of, families, memory_families, summed
from tests.certs import pair

NODE = {"ip": "10.0.0.1", "port": 80, "hostname": "a", "status": "healthy", "counter": {}}
SICK = {**NODE, "status": "unhealthy"}


def upstream(*nodes: object) -> dict[str, object]:
    return {"name": "/apisix/services/s", "type": "http", "nodes": list(nodes)}


def values(facts: GatewayFacts) -> dict[str, dict[tuple[str, ...], float]]:
    found: dict[str, dict[tuple[str, ...], float]] = {}
    metrics: list[Metric] = list(families(facts))
    for metric in metrics:
        for sample in metric.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


class FactsTests(SynchronousTestCase):
    def test_sums(self) -> None:
        """What processes count for themselves is added up, ended ones included."""
        one = ProcessFacts(
            revision=5,
            requests=10,
            connections={"active": 2, "accepted": 7},
            health=[upstream(NODE)],
            batches=[["http-logger", "r1", "127.0.0.1", 3]],
            dropped=[["http-logger", "r1", 1]],
        )
        two = ProcessFacts(
            revision=4,
            requests=1,
            connections={"active": 1},
            health=[upstream(SICK)],
            batches=[["http-logger", "r1", "127.0.0.1", 4], ["mine", "r1", "127.0.0.1", 0]],
        )
        ended = summed(
            [
                ProcessFacts(
                    requests=100, connections={"active": 9, "accepted": 1}, dropped=[["http-logger", "r1", 2]]
                )
            ]
        )
        found = values(
            GatewayFacts(
                "host",
                "0.1",
                {1: one, 2: two},
                ended=ended,
                store_revision=5,
                kinds={"route": 3, "plugin_metadata": 2},
                quarantined={"route": 2},
                certificates=[("admin", 9.0)],
                restarts=1,
            )
        )
        self.assertEqual(found["apisix_http_requests_total"], {(): 111})
        connections = found["apisix_nginx_http_current_connections"]
        self.assertEqual((connections["active",], connections["accepted",]), (3, 8))
        self.assertEqual(found["apisix_upstream_status"], {("/apisix/services/s", "10.0.0.1", "80"): 0})
        self.assertEqual(
            found["apisix_batch_process_entries"],
            {("http-logger", "r1", "127.0.0.1"): 7, ("mine", "r1", "127.0.0.1"): 0},
        )
        self.assertEqual(found["gateway_dropped_entries_total"], {("http-logger", "r1"): 3})
        self.assertEqual(found["gateway_config_revision"], {("1",): 5, ("2",): 4})
        self.assertEqual(found["gateway_quarantined_resources"], {("route",): 2})
        self.assertEqual(found["gateway_certificate_expiry_timestamp_seconds"], {("admin",): 9.0})
        self.assertEqual(found["gateway_worker_restarts_total"], {(): 1})
        indexes = {("routes",): 3, ("plugin_metadata",): 2, ("max_modify_index",): 3, ("x_etcd_index",): 5}
        self.assertEqual(found["apisix_etcd_modify_indexes"], indexes)
        self.assertEqual(found["apisix_node_info"], {("host", "0.1"): 1})
        self.assertNotIn("apisix_etcd_reachable", found)

    def test_store(self) -> None:
        """Whether the store can be reached is told where it is known."""
        for reachable, value in ((True, 1), (False, 0)):
            found = values(GatewayFacts("host", "0.1", {}, store_reachable=reachable))
            self.assertEqual(found["apisix_etcd_reachable"], {(): value})

    def test_memory(self) -> None:
        """The memory that processes share is told as that of shared dictionaries is."""
        capacity, free = memory_families(lambda: [("quotas", 10, 4), ("concurrency", 20, 20)])
        for metric, name, wanted in (
            (capacity, "apisix_shared_dict_capacity_bytes", [("quotas", 10), ("concurrency", 20)]),
            (free, "apisix_shared_dict_free_space_bytes", [("quotas", 4), ("concurrency", 20)]),
        ):
            self.assertEqual(metric.name, name)
            self.assertEqual([(one.labels["name"], one.value) for one in metric.samples], wanted)

    def test_json(self) -> None:
        """They travel between processes; members of another version do not matter."""
        facts = ProcessFacts(revision=5, batches=[["a", "b", 1]])
        self.assertEqual(ProcessFacts.from_json({**facts.to_json(), "new": 1}), facts)
        self.assertEqual(ProcessFacts.from_json({}), ProcessFacts())

    def test_expiry(self) -> None:
        """A certificate says when it expires; what is none says nothing."""
        self.assertIsNone(expiry_of("no certificate"))
        self.assertIsNone(expiry_of("$env://CERT"))
        self.assertGreater(expiry_of(pair("a.example").cert) or 0, 1_700_000_000)
