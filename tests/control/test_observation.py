"""Tests for gateway.control.observation; processes that are really there are tested end to end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from gateway.control.certificate_expiry import CertificateExpiry
from gateway.control.observation import Observation, shared_directory
from gateway.control.served import Mirror
from gateway.control.state import State
from gateway.core.compiler import Compiler
from gateway.model.record import Record, StoreView
from gateway.telemetry.facts import ProcessFacts
from tests.certs import pair
from tests.core.configs import FakePlugins, records, route, service

CHECKED = {"name": "/apisix/services/s", "nodes": [{"ip": "10.0.0.1", "port": 80, "status": "healthy"}]}


class Control:
    store_reachable = False

    def __init__(self, *more: Record) -> None:
        made = records(service("s"), route("r", "/x"), route("bad", "/b", plugins={"refused": {}}))
        self.state = State.of(StoreView(9, [*made, *more]))


class ObservationTests(SynchronousTestCase):
    def observation(self, *more: Record, **certificates: Path) -> Observation:
        async def processes() -> Mapping[int, ProcessFacts]:
            return {n: ProcessFacts(revision=n, requests=n, health=[CHECKED]) for n in (1, 2)}

        made = records(service("s"), route("r", "/x"), route("bad", "/b", plugins={"refused": {}}))
        served = Mirror(Compiler(FakePlugins(), "default").load(made, 9))
        control: Any = Control(*more)
        return Observation(
            control,
            served,
            processes,
            lambda: [],
            group="default",
            hostname="host",
            version="1.2",
            certificates=CertificateExpiry(
                lambda: control.state, "default", lambda: 0.0, files=certificates, environ={}, notice_days=0
            ),
        )

    def values(self, observation: Observation) -> dict[str, dict[tuple[str, ...], float]]:
        found: dict[str, dict[tuple[str, ...], float]] = {}
        for source in self.successResultOf(Deferred.fromCoroutine(observation.gather())):
            for metric in source():
                for sample in metric.samples:
                    found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
        return found

    def test_gather(self) -> None:
        """Every process, what is stored and what is off are told."""
        observation = self.observation()
        observation.worker_ended({"requests": 100})
        observation.worker_ended({})
        found = self.values(observation)
        self.assertEqual(found["apisix_http_requests_total"], {(): 103})
        self.assertEqual(found["gateway_config_revision"], {("1",): 1, ("2",): 2})
        self.assertEqual(found["gateway_config_stored_revision"], {(): 9})
        self.assertEqual(found["apisix_etcd_reachable"], {(): 0})
        self.assertEqual(found["gateway_quarantined_resources"], {("route",): 1})
        indexes = found["apisix_etcd_modify_indexes"]
        self.assertEqual((indexes["services",], indexes["routes",], indexes["x_etcd_index",]), (1, 3, 9))

    def test_certificates(self) -> None:
        """Files and resources say when their certificates expire; what cannot be read is left out."""
        file = Path(self.mktemp())
        file.write_text(pair("a.example").cert)
        values = ({"cert": pair("b.example").cert}, {"cert": "$env://CERT"})
        kept = [
            Record("default", "ssl", f"c{n}", value, "apisix", 0, 0, 5, 5) for n, value in enumerate(values)
        ]
        observation = self.observation(*kept, admin=file, proxy=Path("nowhere.crt"))
        for _ in range(2):
            found = self.values(observation)["gateway_certificate_expiry_timestamp_seconds"]
            self.assertEqual(sorted(found), [("admin",), ("ssl/c0",)])

    def test_health(self) -> None:
        """An upstream that several processes check is told once."""
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(self.observation().health())), [CHECKED])

    def test_directory(self) -> None:
        """Counts of the last start do not go on; other files are not touched."""
        path = Path(self.mktemp())
        path.mkdir()
        for name in ("counter_5.db", "other"):
            (path / name).touch()
        sources = shared_directory(path)
        self.assertEqual([one.name for one in path.iterdir()], ["other"])
        self.assertEqual([list(source()) for source in sources()], [[]])
