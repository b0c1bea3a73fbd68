"""Metrics over real sockets, read with the client library's own parser."""

from __future__ import annotations

import http.client
import os
import signal
from collections.abc import Mapping
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.gateway_process import (
    LIMIT_S,
    AdminClient,
    Answer,
    EndToEndCase,
    GatewayProcess,
    exchange,
    wait_for,
)
from tests.e2e.raw_upstream import OK, RawUpstream

PATH = "/apisix/prometheus/metrics"


class Scrape:
    """What a scrape says: the values of samples by name and labels."""

    def __init__(self, answer: Answer) -> None:
        self.families = {
            family.name: family for family in text_string_to_metric_families(answer.body.decode())
        }
        self.samples = [sample for family in self.families.values() for sample in family.samples]

    def value(self, name: str, /, **labels: str) -> float:
        """The sum of the samples that have these labels."""
        found = [s for s in self.samples if s.name == name and labels.items() <= s.labels.items()]
        return sum(sample.value for sample in found)

    def labels(self, name: str) -> list[Mapping[str, str]]:
        return [sample.labels for sample in self.samples if sample.name == name]


class PrometheusTests(EndToEndCase):
    def started(self, workers: int) -> GatewayProcess:
        self.nodes = RawUpstream(OK)
        self.addCleanup(self.nodes.close)
        inside = dict.fromkeys(("GATEWAY_METRICS_LISTEN", "GATEWAY_CONTROL_LISTEN"), "127.0.0.1:0")
        served = self.gateway(settings=f"[proxy]\nworkers = {workers}\n", environ=inside).start()
        upstream = {
            "nodes": [{"host": "127.0.0.1", "port": self.nodes.port, "weight": 1}],
            "checks": {"active": {"healthy": {"interval": 1}, "unhealthy": {"interval": 1}}},
        }
        counted: dict[str, Any] = {"plugins": {"prometheus": {}}}
        with AdminClient(served) as admin:
            for path, document in (
                ("services/s", {"name": "shop", "upstream": upstream}),
                ("routes/r", {"name": "cart", "service_id": "s", "paths": ["/cart/*"], **counted}),
                ("routes/plain", {"name": "plain", "service_id": "s", "paths": ["/plain"]}),
                (
                    "routes/named",
                    {
                        "name": "by name",
                        "service_id": "s",
                        "paths": ["/named"],
                        "plugins": {
                            "prometheus": {"prefer_name": True},
                            "fault-injection": {
                                "abort": {"http_status": 418, "vars": [[["arg_no", "==", "1"]]]}
                            },
                        },
                    },
                ),
                (
                    "routes/api",
                    {
                        "name": "api",
                        "service_id": "s",
                        "paths": ["/m*"],
                        "plugins": {"public-api": {"uri": PATH}},
                    },
                ),
            ):
                status, answer = admin.call("PUT", f"/apisix/admin/{path}", document)
                self.assertEqual(status, 200, answer)
        return served

    def scraped(self, served: GatewayProcess) -> Scrape:
        connection = http.client.HTTPConnection("127.0.0.1", served.ports["metrics"], timeout=LIMIT_S)
        self.addCleanup(connection.close)
        answer = exchange(connection, "GET", PATH, headers={})
        self.assertEqual((answer.status, answer.headers["content-type"].split(";")[0]), (200, "text/plain"))
        self.assertEqual(exchange(connection, "GET", "/other", headers={}).status, 404)
        return Scrape(answer)

    def counted(self, served: GatewayProcess, name: str, value: float, /, **labels: str) -> Scrape:
        """Scrape until a value is there: the last request may be counted after its answer is read."""
        found: list[Scrape] = []

        def fact() -> bool:
            found[:] = [self.scraped(served)]
            return found[0].value(name, **labels) == value

        wait_for(fact, f"{name} to be {value}", lambda: str(found[0].samples))
        return found[0]

    def traffic(self, served: GatewayProcess) -> None:
        for _ in range(20):
            self.assertEqual(served.get("/cart/1").status, 200)
            self.assertEqual(served.get("/plain").status, 200)
        for _ in range(5):
            self.assertEqual(served.get("/named?no=1").status, 418)
        self.assertEqual(served.get("/nowhere").status, 404)

    def checked(self, served: GatewayProcess) -> None:
        """The control API and the metrics know what workers know of upstreams."""
        connection = http.client.HTTPConnection("127.0.0.1", served.ports["control"], timeout=LIMIT_S)
        self.addCleanup(connection.close)

        def health() -> Any:
            answer = exchange(connection, "GET", "/v1/healthcheck/services/s", headers={})
            return answer.json if answer.status == 200 else None

        (node,) = wait_for(health, "the workers' checks")["nodes"]
        self.assertEqual((node["port"], node["status"]), (self.nodes.port, "healthy"))
        answer = exchange(connection, "GET", "/v1/route/r", headers={})
        self.assertEqual(answer.json["value"]["paths"], ["/cart/*"])
        labels = {"name": "/apisix/services/s", "port": str(self.nodes.port)}
        self.counted(served, "apisix_upstream_status", 1, **labels)

    def check(self, scrape: Scrape, workers: int) -> None:
        route = {"route": "r", "service": "s", "node": "127.0.0.1", "request_type": "traditional_http"}
        self.assertEqual(scrape.families["apisix_http_status"].type, "counter")
        status = "apisix_http_status_total"  # as the parser calls counters
        (labels,) = [found for found in scrape.labels(status) if found["route"] == "r"]
        self.assertEqual(
            labels,
            {
                **route,
                "code": "200",
                "matched_uri": "/cart/*",
                "matched_host": "",
                "consumer": "",
                "request_llm_model": "",
                "llm_model": "",
                "response_source": "upstream",
            },
        )
        self.assertEqual(scrape.value(status, route="r"), 20)
        aborted = {"code": "418", "route": "by name", "service": "shop", "response_source": "apisix"}
        self.assertEqual(scrape.value(status, **aborted), 5)
        self.assertEqual(scrape.value(status), 25, "only where the plugin is configured")
        for kind in ("request", "upstream", "apisix"):
            self.assertEqual(scrape.value("apisix_http_latency_count", type=kind, **route), 20)
        self.assertEqual(scrape.value("apisix_http_latency_bucket", le="+Inf", type="request", **route), 20)
        self.assertGreaterEqual(
            scrape.value("apisix_bandwidth_total", type="egress", **route), 20 * len("ok")
        )
        self.assertGreater(
            scrape.value("apisix_bandwidth_total", type="ingress", **route), 20 * len("GET /cart/1")
        )
        self.assertEqual(scrape.value("gateway_requests_total", decided_by="upstream", reason="ok"), 20)
        self.assertEqual(scrape.value("gateway_requests_total", decided_by="plugin:fault-injection"), 5)
        self.assertEqual(scrape.value("apisix_http_requests_total"), 46)
        self.assertEqual(scrape.value("apisix_node_info"), 1)
        stored = scrape.value("gateway_config_stored_revision")
        served = [s.value for s in scrape.samples if s.name == "gateway_config_revision"]
        self.assertEqual(served, [stored] * max(1, workers))
        self.assertEqual(scrape.value("apisix_etcd_modify_indexes", key="routes"), stored)
        self.assertEqual(scrape.value("apisix_etcd_reachable"), 1)
        self.assertGreater(scrape.value("apisix_shared_dict_capacity_bytes", name="quotas"), 0)
        self.assertEqual(scrape.value("gateway_config_apply_seconds_count"), 5 * max(1, workers))
        self.assertGreater(scrape.value("gateway_certificate_expiry_timestamp_seconds", name="admin"), 1.7e9)
        self.assertGreaterEqual(scrape.value("apisix_nginx_http_current_connections", state="accepted"), 46)

    def test_one_process(self) -> None:
        """What is scraped is what was sent; a route can show it too."""
        served = self.started(0)
        self.traffic(served)
        self.check(self.counted(served, "apisix_http_requests_total", 46), 0)
        shown = Scrape(served.get("/metrics"))
        self.assertEqual(shown.value("apisix_http_status_total"), 25)
        self.assertEqual(served.get("/m", method="POST").status, 404)

    def test_workers(self) -> None:
        """Several processes count as one, and what a killed one had counted stays."""
        served = self.started(2)
        self.traffic(served)
        self.check(self.counted(served, "apisix_http_requests_total", 46), 2)
        self.assertEqual(Scrape(served.get("/metrics")).value("apisix_http_status_total"), 25)
        self.checked(served)
        _, status = served.admin("GET", "/api/status")
        pids = [row["pid"] for row in status["value"]["workers"]]
        os.kill(pids[0], signal.SIGKILL)
        wait_for(lambda: not os.path.exists(f"/proc/{pids[0]}"), "the worker to end")
        scrape = self.counted(served, "gateway_worker_restarts_total", 1)
        self.assertEqual(scrape.value("apisix_http_status_total"), 25)
        self.assertGreaterEqual(scrape.value("apisix_http_requests_total"), 46)
        self.assertEqual(served.get("/cart/1").status, 200)
        scrape = self.counted(served, "apisix_http_status_total", 21, route="r")
        self.assertEqual(scrape.value("apisix_http_latency_count", type="request", route="r"), 21)
        names = [name for name in os.listdir(served.data_dir / "metrics") if name.endswith(f"_{pids[0]}.db")]
        self.assertEqual(names, [], "the files of an ended worker are gone")
