"""Checkers: when they start and end, what they know, and what requests tell them."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from gateway.core import reasons
from gateway.core.certificates import CertificateSource, NoTLS
from gateway.core.compiler import Compiler
from gateway.core.exchange import Reply
from gateway.core.health import Event
from gateway.core.snapshot import Snapshot
from gateway.model.record import Change
from gateway.model.upstream import Node
from gateway.proxy.health import HealthChecks
from gateway.proxy.limits import ProxyLimits
from gateway.proxy.tls_contexts import ContextLoader
from gateway.settings import TLS_CIPHERS
from gateway.upstream.errors import UpstreamError
from gateway.upstream.probes import Probe, ProbeResult
from tests import certs
from tests.core.configs import change, records, route, service
from tests.proxy.fakes import FakeResponse, InMemoryGateway
from tests.proxy.runner_kit import ScriptedPlugins, TestClock

REFUSED = UpstreamError(reasons.UPSTREAM_CONNECT_FAILED, "refused", sent=False)
ACTIVE: dict[str, Any] = {"healthy": {"successes": 2}, "unhealthy": {"tcp_failures": 2}}
PASSIVE: dict[str, Any] = {"unhealthy": {"tcp_failures": 2, "http_failures": 2}}


@define(eq=False)
class FakeProber:
    """Holds every probe until the test answers it."""

    sent: list[tuple[Probe, Deferred[ProbeResult]]] = field(factory=list)
    cancelled: int = 0
    closed: bool = False

    def probe(self, probe: Probe) -> Deferred[ProbeResult]:
        deferred: Deferred[ProbeResult] = Deferred(self._cancelled)
        self.sent.append((probe, deferred))
        return deferred

    def _cancelled(self, deferred: Any) -> None:
        self.cancelled += 1

    def close(self) -> Deferred[None]:
        self.closed = True
        deferred: Deferred[None] = Deferred()
        deferred.callback(None)
        return deferred

    def answer_all(self, **events: Event | None) -> list[str]:
        """Answer every open probe: ``p8000=Event…``; success for the others. Returns their nodes."""
        sent, self.sent = self.sent, []
        for probe, deferred in sent:
            deferred.callback(
                ProbeResult(events.get(f"p{probe.peer.port}", Event.SUCCESS), "as the test says")
            )
        return [probe.key for probe, _ in sent]


class HealthCase(SynchronousTestCase):
    """A runner with health checks, one service, and nodes on ports 8000, 8001, …"""

    def setUp(self) -> None:
        self.clock = MemoryReactorClock()
        self.prober = FakeProber()
        self.plugins = ScriptedPlugins()
        self.plugins.hooks = {}
        self.loader: CertificateSource = NoTLS()

    def service(self, nodes: int = 2, active: Any = ACTIVE, passive: Any = PASSIVE, **more: Any) -> Change:
        checks = {"active": active, **({} if passive is None else {"passive": passive})}
        some = [{"host": "127.0.0.1", "port": 8000 + n, "weight": 1} for n in range(nodes)]
        return service("s", upstream={"nodes": some, "checks": checks, **more})

    def start(self, *changes: Change, **options: Any) -> InMemoryGateway:
        self.compiler = Compiler(self.plugins, "default", certificates=self.loader)
        snapshot = self.compiler.load(records(*(changes or (self.service(),)), route("r", "/x")), 1)
        self.assertEqual(snapshot.quarantined, {})
        clock = TestClock()
        gateway = self.gateway = InMemoryGateway(snapshot, clock, ProxyLimits())
        prober: Any = self.prober
        self.health = HealthChecks(self.clock, prober, lambda: gateway.runner.snapshot, **options)
        gateway.runner.health = self.health
        return gateway

    def change(self, *changes: Change) -> Snapshot:
        """Serve another configuration."""
        served = self.gateway.runner.snapshot
        snapshot = self.gateway.runner.snapshot = self.compiler.apply(served, changes, served.revision + 1)
        return snapshot

    def get(self, status: int = 200) -> int:
        """A request that is answered; returns the port it went to."""
        self.gateway.request("GET", "/x")
        self.gateway.dispatcher.answer(FakeResponse(status)).end()
        return self.gateway.dispatcher.sent[-1][0].port

    def refused(self) -> list[int]:
        """A request that every node it is sent to refuses; returns their ports."""
        before = len(self.gateway.dispatcher.sent)
        client, _ = self.gateway.request("GET", "/x")
        while client.status is None:
            self.gateway.dispatcher.fail(REFUSED)
        return [node.port for node, _ in self.gateway.dispatcher.sent[before:]]

    def used(self) -> set[int]:
        return {self.get() for _ in range(6)}

    def statuses(self) -> dict[int, str]:
        (report,) = self.health.report()
        return {node["port"]: node["status"] for node in report["nodes"]}

    def tick(self, seconds: float = 1, **events: Event | None) -> list[str]:
        """Time passes; the probes it brings are answered. Returns the nodes probed."""
        self.clock.advance(seconds)
        return self.prober.answer_all(**events)

    def take_out(self, port: int = 8000) -> None:
        """Let the node fail its probes."""
        self.get()
        self.tick(**{f"p{port}": Event.TCP_FAILURE})
        self.tick(**{f"p{port}": Event.TCP_FAILURE})
        self.assertEqual(self.statuses()[port], "unhealthy")


class LifeTests(HealthCase):
    def test_lazy(self) -> None:
        """Nothing is probed before the first request, and then a second later; nothing without checks."""
        self.start()
        self.clock.advance(5)
        self.assertEqual((self.prober.sent, self.health.report()), ([], []))
        self.get()
        self.clock.advance(0.9)
        self.assertEqual(self.prober.sent, [])
        self.assertEqual(self.tick(0.1), ["127.0.0.1:8000", "127.0.0.1:8001"])
        self.start(service("s"))
        self.get()
        self.clock.advance(5)
        self.assertEqual(self.health.report(), [])

    def test_a_request_that_hangs(self) -> None:
        """Probing starts although the first request has no answer yet."""
        self.start()
        self.gateway.request("GET", "/x")
        self.assertEqual(len(self.tick(1)), 2)

    def test_out_and_back(self) -> None:
        """A node that fails its probes gets no requests; when it is well again it does."""
        self.start()
        self.take_out()
        self.assertEqual(self.used(), {8001})
        self.tick()
        self.assertEqual((self.statuses()[8000], self.used()), ("mostly_unhealthy", {8001}))
        self.tick()
        self.assertEqual((self.statuses()[8000], self.used()), ("healthy", {8000, 8001}))

    def test_all_out(self) -> None:
        """If every node is unhealthy, all are used."""
        self.start()
        self.get()
        for _ in range(2):
            self.tick(p8000=Event.TCP_FAILURE, p8001=Event.TCP_FAILURE)
        self.assertEqual(set(self.statuses().values()), {"unhealthy"})
        self.assertEqual(self.used(), {8000, 8001})

    def test_the_upstream_goes(self) -> None:
        """Checking ends with the upstream; probes under way are cut."""
        self.start()
        self.take_out()
        self.clock.advance(1)
        self.change(change("route", "r", None))
        self.clock.advance(1)
        self.assertEqual((self.health.report(), self.prober.cancelled), ([], 2))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_checks_go(self) -> None:
        """Checking ends with the checks; then every node is used again."""
        self.start()
        self.take_out()
        some = [{"host": "127.0.0.1", "port": port, "weight": 1} for port in (8000, 8001)]
        self.change(service("s", upstream={"nodes": some}))
        self.assertEqual(self.used(), {8000, 8001})
        self.tick()
        self.assertEqual((self.health.report(), self.clock.getDelayedCalls()), ([], []))

    def test_a_late_request(self) -> None:
        """A request that started before the upstream went does not bring its checker back for long."""
        release: list[Deferred[None]] = []

        async def wait(exchange: Any) -> Reply | None:
            release.append(Deferred())
            await release[-1]
            return None

        self.plugins.hooks = {"wait": {"access": wait}}
        gateway = self.start()
        self.change(route("r", "/x", plugins={"wait": {}}))
        gateway.request("GET", "/x")
        self.change(change("route", "r", None))
        release[0].callback(None)
        self.assertEqual(len(self.health.report()), 1)
        self.clock.advance(1)
        self.assertEqual((self.health.report(), self.prober.sent), ([], []))

    def test_nodes_come_and_go(self) -> None:
        """What is known of a node is kept when others come or go; a node that is new is healthy."""
        self.start()
        self.take_out()
        self.change(self.service(nodes=3))
        self.assertEqual(self.used(), {8001, 8002})
        self.assertEqual(self.statuses(), {8000: "unhealthy", 8001: "healthy", 8002: "healthy"})
        self.change(self.service(nodes=1))
        self.health.follow()
        self.assertEqual((self.statuses(), self.used()), ({8000: "unhealthy"}, {8000}))

    def test_other_changes(self) -> None:
        """Changes that do not concern the upstream leave everything as it is, probes under way included."""
        self.start()
        self.take_out()
        self.clock.advance(1)
        self.change(route("r", "/x", desc="words"), service("t"))
        self.clock.advance(1)
        self.assertEqual((self.prober.cancelled, self.statuses()[8000]), (0, "unhealthy"))

    def test_new_checks(self) -> None:
        """New checks start anew, and a probe under way for the old ones counts no more."""
        self.start()
        self.take_out()
        self.clock.advance(1)
        self.change(self.service(active={**ACTIVE, "http_path": "/new"}))
        self.assertEqual(self.used(), {8000, 8001})
        self.assertEqual(self.prober.cancelled, 2)
        self.prober.sent.clear()
        self.clock.advance(1)
        self.assertEqual([probe.target for probe, _ in self.prober.sent], [b"/new", b"/new"])
        self.assertEqual(set(self.statuses().values()), {"healthy"})

    def test_old_requests(self) -> None:
        """A request that started with the old configuration does not bring it back."""
        self.start()
        self.get()
        gateway = self.gateway
        gateway.request("GET", "/x")
        self.change(self.service(nodes=3))
        self.get()
        self.assertEqual(len(self.statuses()), 3)
        gateway.dispatcher.sent[1][1].errback(REFUSED)
        self.assertEqual(len(self.statuses()), 3)

    def test_close(self) -> None:
        """When the gateway stops, probes end and none is sent any more."""
        self.start()
        self.get()
        self.clock.advance(1)
        self.successResultOf(self.health.close())
        self.assertEqual(
            (self.prober.cancelled, self.prober.closed, self.clock.getDelayedCalls()), (2, True, [])
        )
        self.get()
        self.assertEqual(self.health.report(), [])
        self.successResultOf(self.health.close())


class ProbingTests(HealthCase):
    def test_intervals(self) -> None:
        """Nodes that are used and nodes that are not are probed at intervals of their own."""
        active = {"healthy": {"interval": 4}, "unhealthy": {"interval": 2, "tcp_failures": 1}}
        self.start(self.service(active=active))
        self.get()
        probed: list[tuple[int, str]] = []
        for second in range(1, 10):
            events = {"p8000": Event.TCP_FAILURE}
            probed += [(second, key[-4:]) for key in self.tick(**events)]
        self.assertEqual([second for second, port in probed if port == "8001"], [1, 5, 9])
        self.assertEqual([second for second, port in probed if port == "8000"], [1, 3, 5, 7, 9])

    def test_one_at_a_time(self) -> None:
        """A node whose probe has not ended is not probed again."""
        self.start()
        self.get()
        self.clock.pump([1] * 5)
        self.assertEqual(len(self.prober.sent), 2)

    def test_concurrency(self) -> None:
        """At most ``concurrency`` probes of an upstream run at a time; each that ends lets another start."""
        self.start(self.service(nodes=5, active={"concurrency": 2}))
        self.get()
        self.clock.advance(1)
        self.assertEqual(len(self.prober.sent), 2)
        self.prober.sent[0][1].callback(ProbeResult(None, "over"))
        self.assertEqual(len(self.prober.sent), 3)
        self.clock.pump([1] * 5)
        self.assertEqual(len(self.prober.sent), 3)

    def test_all_upstreams_together(self) -> None:
        """There is a limit on the probes of all upstreams together; the others wait their turn."""
        self.start(self.service(nodes=4), max_probes=3)
        self.get()
        self.clock.advance(1)
        self.assertEqual((len(self.prober.sent), self.health.probing), (3, 3))
        self.assertEqual(len(self.prober.answer_all()), 3)
        self.assertEqual(self.prober.answer_all(), ["127.0.0.1:8003"])
        self.assertEqual(self.health.probing, 0)

    def test_nothing_shown(self) -> None:
        """A probe that shows nothing changes nothing."""
        self.start()
        self.get()
        for _ in range(4):
            self.tick(p8000=None, p8001=None)
        self.assertEqual(set(self.statuses().values()), {"healthy"})

    def test_bug(self) -> None:
        """A probe that meets a bug is logged, and probing goes on."""
        self.start()
        self.get()
        self.clock.advance(1)
        self.prober.sent[0][1].errback(RuntimeError("a bug"))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.prober.sent.clear()
        self.assertEqual(self.tick(), ["127.0.0.1:8000"])


class SecuredTests(HealthCase):
    def test_certificate(self) -> None:
        """Probes over TLS show the certificate that requests show, as it is now."""
        tls = {"client_cert_id": "mine"}
        one = self.service(1, active={**ACTIVE, "type": "https"}, scheme="https", tls=tls)
        first, second = certs.pair("gateway.test"), certs.pair("gateway.test", tag="new")

        def mine(pair: certs.Pair) -> Change:
            return change("ssl", "mine", {"type": "client", "cert": pair.cert, "key": pair.key})

        self.loader = ContextLoader({}, TLS_CIPHERS)
        self.start(one, mine(first))
        self.get()
        for pair in (first, second):
            self.change(mine(pair))
            self.clock.advance(1)
            (probe, _), *_ = self.prober.sent
            assert probe.peer.identity is not None
            self.assertEqual(probe.peer.identity.chain[0].serial_number, pair.serial)
            self.prober.answer_all()


class PassiveTests(HealthCase):
    def test_refused(self) -> None:
        """A node that refuses live requests is taken out, and no other one is."""
        self.start()
        for _ in range(2):
            self.gateway.request("GET", "/x")
            if self.gateway.dispatcher.sent[-1][0].port == 8000:
                self.gateway.dispatcher.fail(REFUSED)
            self.gateway.dispatcher.answer(FakeResponse()).end()
        while self.statuses()[8000] != "unhealthy":
            self.gateway.request("GET", "/x")
            if self.gateway.dispatcher.sent[-1][0].port == 8000:
                self.gateway.dispatcher.fail(REFUSED)
            self.gateway.dispatcher.answer(FakeResponse()).end()
        self.assertEqual((self.statuses()[8001], self.used()), ("healthy", {8001}))

    def test_each_try_counts_for_its_node(self) -> None:
        """When several nodes fail one request, each failure counts against the node that failed."""
        self.start(self.service(nodes=3))
        self.assertEqual(sorted(self.refused()), [8000, 8001, 8002])
        (report,) = self.health.report()
        self.assertEqual([node["counter"]["tcp_failure"] for node in report["nodes"]], [1, 1, 1])

    def test_statuses(self) -> None:
        """Answers that are errors count too; a good one wipes them."""
        self.start(self.service(nodes=1))
        self.get(500)
        self.assertEqual(self.statuses(), {8000: "mostly_healthy"})
        self.get(200)
        self.get(500)
        self.assertEqual(self.statuses(), {8000: "mostly_healthy"})
        self.get(404)
        self.get(500)
        self.assertEqual(self.statuses(), {8000: "unhealthy"})

    def test_only_active(self) -> None:
        """Without ``passive`` live requests do not count."""
        self.start(self.service(passive=None))
        for _ in range(9):
            self.refused()
        self.assertEqual(set(self.statuses().values()), {"healthy"})

    def test_not_the_nodes_fault(self) -> None:
        """Clients that leave, faults of this machine and stale kept connections count against nobody."""
        self.start()
        for error in (
            UpstreamError(reasons.UPSTREAM_CONNECT_FAILED, "no ports", sent=False, local=True),
            UpstreamError(reasons.UPSTREAM_CLOSED, "stale", reused=True),
            None,
        ):
            for _ in range(9):
                _, run = self.gateway.request("POST", "/x")
                if error is not None:
                    self.gateway.dispatcher.fail(error)
                run.client_gone()
        self.assertEqual(set(self.statuses().values()), {"healthy"})

    def test_off(self) -> None:
        """With health checks switched off nothing happens."""
        self.start()
        self.gateway.runner.health = None
        for _ in range(9):
            self.refused()
        self.assertEqual((self.used(), self.health.report()), ({8000, 8001}, []))

    def test_probes_bring_it_back(self) -> None:
        """A node that live requests took out comes back by probes."""
        self.start()
        for _ in range(2):
            self.refused()
        self.assertEqual(set(self.statuses().values()), {"unhealthy"})
        self.tick()
        self.tick()
        self.assertEqual(set(self.statuses().values()), {"healthy"})


class ReportTests(HealthCase):
    def test_shape(self) -> None:
        """The report has the control API's form."""
        self.start(
            self.service(active={**ACTIVE, "host": "a.example", "port": 9}),
            address_of={"127.0.0.1": "::1"}.get,
        )
        self.refused()
        counter = {"success": 0, "http_failure": 0, "tcp_failure": 1, "timeout_failure": 0}
        node = {
            "ip": "::1",
            "port": 9,
            "hostname": "a.example",
            "status": "mostly_healthy",
            "counter": counter,
        }
        expected = {"name": "/apisix/services/s", "type": "http", "nodes": [node, node]}
        self.assertEqual(self.health.report(), [expected])
        self.assertEqual(self.health.report_of("service/s"), expected)
        self.assertIsNone(self.health.report_of("service/other"))


class ReleaseTests(HealthCase):
    """Every way in which a try can end gives its count back, once."""

    def setUp(self) -> None:
        super().setUp()
        self.told: list[tuple[int, float, bool | None]] = []

    def start(self, *changes: Change, **options: Any) -> InMemoryGateway:
        made = super().start(*(changes or (service("s", upstream={"type": "least_conn", "nodes": NODES}),)))
        upstream = made.snapshot.routes["r"].upstream
        assert upstream is not None
        picker: Any = upstream.picker
        done = picker.done

        def note(node: Node, exchange: Any, seconds: float, ok: bool | None) -> None:
            self.told.append((node.port, seconds, ok))
            done(node, exchange, seconds, ok)

        picker.done = note
        self.picker = picker
        return made

    def active(self) -> int:
        return sum(load.active for load in self.picker.loads.values())

    def test_answered(self) -> None:
        """A request counts until its answer is complete; its time is that of the answer's head."""
        gateway = self.start()
        gateway.request("GET", "/x")
        gateway.clock.advance(0.5)
        response = gateway.dispatcher.answer(FakeResponse())
        gateway.clock.advance(9)
        self.assertEqual((self.active(), self.told), (1, []))
        response.end()
        self.assertEqual((self.active(), self.told), (0, [(8000, 0.5, True)]))

    def test_cut(self) -> None:
        """An answer that breaks off, and a client that leaves in the middle."""
        for leaves in (False, True):
            gateway = self.start()
            self.told.clear()
            _, run = gateway.request("GET", "/x")
            response = gateway.dispatcher.answer(FakeResponse())
            if leaves:
                run.client_gone()
            else:
                response.end(UpstreamError(reasons.UPSTREAM_CLOSED, "it ended"))
            run.client_gone()
            self.assertEqual((self.active(), self.told), (0, [(8000, 0.0, True)]))

    def test_retried(self) -> None:
        """A failed try is given back before the next one is picked."""
        gateway = self.start()
        gateway.request("GET", "/x")
        gateway.clock.advance(2)
        gateway.dispatcher.fail(REFUSED)
        self.assertEqual((self.active(), self.told), (1, [(8000, 2.0, False)]))
        gateway.clock.advance(1)
        gateway.dispatcher.fail(REFUSED)
        self.assertEqual((self.active(), self.told[1:]), (0, [(8001, 1.0, False)]))

    def test_client_leaves(self) -> None:
        """A client that leaves before the answer: the time it waited, and no verdict."""
        gateway = self.start()
        _, run = gateway.request("GET", "/x")
        gateway.clock.advance(3)
        run.client_gone()
        self.assertEqual((self.active(), self.told), (0, [(8000, 3.0, None)]))

    def test_other_ends(self) -> None:
        """A body that is too large, a gateway that stops, and a bug in sending."""
        for end in ("too_large", "stop", "bug"):
            gateway = self.start()
            self.told.clear()
            _, run = gateway.request("POST", "/x")
            if end == "bug":
                gateway.dispatcher.fail(RuntimeError("a bug"))
                self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
            else:
                getattr(run, end)()
            self.assertEqual((self.active(), self.told), (0, [(8000, 0.0, None)]), end)

    def test_a_hook_answers(self) -> None:
        """A hook that answers after the node was picked, or breaks, gives it back with no time at all."""

        def refuse(exchange: Any) -> Reply:
            return Reply.text(403, "no", reason="no")

        def broken(exchange: Any) -> None:
            raise RuntimeError("a bug")

        for hook in (refuse, broken):
            self.plugins.hooks = {"hook": {"before_proxy": hook}}
            gateway = self.start(
                service("s", upstream={"type": "least_conn", "nodes": NODES}, plugins={"hook": {}})
            )
            self.told.clear()
            gateway.clock.advance(100)
            gateway.request("GET", "/x")
            self.assertEqual((self.active(), self.told), (0, [(8000, 0.0, None)]))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_nobody_wants_to_know(self) -> None:
        """Round-robin without checks does not watch its tries at all."""
        gateway = super().start(service("s"))
        upstream = gateway.snapshot.routes["r"].upstream
        assert upstream is not None
        self.assertFalse(upstream.watched)
        _, run = gateway.request("GET", "/x")
        self.assertIsNone(run._watched)


NODES = [{"host": "127.0.0.1", "port": port, "weight": 1} for port in (8000, 8001)]
