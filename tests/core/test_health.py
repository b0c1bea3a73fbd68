"""The health of a node, as a table of events and what follows."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.core import reasons
from gateway.core.health import (
    NEW,
    Checks,
    Event,
    Limits,
    NodeHealth,
    PassiveCheck,
    State,
    failure_event,
    observe,
)
from gateway.model.schema import Checker
from gateway.model.upstream import SCHEMA, Upstream

LIMITS = Limits(successes=2, http_failures=3, tcp_failures=2, timeouts=2)
EVENTS = {"s": Event.SUCCESS, "h": Event.HTTP_FAILURE, "t": Event.TCP_FAILURE, "o": Event.TIMEOUT}
STATES = {
    "H": State.HEALTHY,
    "mh": State.MOSTLY_HEALTHY,
    "mu": State.MOSTLY_UNHEALTHY,
    "U": State.UNHEALTHY,
}


class StateTests(SynchronousTestCase):
    def after(self, events: str, limits: Limits = LIMITS, health: NodeHealth = NEW) -> NodeHealth:
        for letter in events:
            health = observe(health, EVENTS[letter], limits)
        return health

    def test_table(self) -> None:
        """Each sequence of events leads to its state and counters (s, h, t, o)."""
        for events, state, counters in (
            ("", "H", (0, 0, 0, 0)),
            ("sss", "H", (0, 0, 0, 0)),
            ("h", "mh", (0, 1, 0, 0)),
            ("hh", "mh", (0, 2, 0, 0)),
            ("hhh", "U", (0, 3, 0, 0)),
            ("tt", "U", (0, 0, 2, 0)),
            ("oo", "U", (0, 0, 0, 2)),
            ("hto", "mh", (0, 1, 1, 1)),
            ("htot", "U", (0, 1, 2, 1)),
            ("hhs", "mh", (1, 0, 0, 0)),
            ("hhsh", "mh", (0, 1, 0, 0)),
            ("hhss", "H", (2, 0, 0, 0)),
            ("hhssh", "mh", (0, 1, 0, 0)),
            ("ttt", "U", (0, 0, 2, 0)),
            ("tts", "mu", (1, 0, 0, 0)),
            ("ttss", "H", (2, 0, 0, 0)),
            ("ttst", "mu", (0, 0, 1, 0)),
            ("ttstt", "U", (0, 0, 2, 0)),
            ("ttsts", "mu", (1, 0, 0, 0)),
        ):
            health = self.after(events)
            self.assertEqual(
                (health.state, tuple(health.counters().values())), (STATES[state], counters), events
            )

    def test_usable(self) -> None:
        """Healthy and mostly healthy nodes are used, the others not."""
        for events, usable in (("", True), ("h", True), ("tt", False), ("tts", False), ("ttss", True)):
            self.assertEqual(self.after(events).usable, usable, events)

    def test_one_is_enough(self) -> None:
        """A limit of 1 flips at once, both ways."""
        once = Limits(1, 1, 1, 1)
        self.assertEqual(self.after("h", once).state, State.UNHEALTHY)
        self.assertEqual(self.after("hs", once).state, State.HEALTHY)

    def test_off(self) -> None:
        """A limit of 0 ignores that kind of event altogether."""
        off = Limits(0, 0, 0, 2)
        self.assertIs(self.after("hhhttts", off), NEW)
        failing = self.after("o")
        self.assertIs(self.after("s", off, failing), failing)

    def test_nothing_new(self) -> None:
        """What changes nothing gives the same object, so that nobody has to compare."""
        self.assertIs(self.after("s"), NEW)
        down = self.after("tt")
        self.assertIs(self.after("hot", health=down), down)

    def test_counter_names(self) -> None:
        """The report names the counters as the control API does."""
        self.assertEqual(list(NEW.counters()), ["success", "http_failure", "tcp_failure", "timeout_failure"])


class SettingsTests(SynchronousTestCase):
    def checks(self, document: object) -> Checks:
        parsed = Upstream.parse({"nodes": [], "checks": document}).checks
        assert parsed is not None
        return Checks.of(parsed)

    def test_defaults(self) -> None:
        """Every default is the one that users know."""
        found = self.checks({"active": {}, "passive": {}})
        active, passive = found.active, found.passive
        assert passive is not None
        self.assertEqual((active.type, active.timeout_s, active.concurrency), ("http", 1.0, 10))
        self.assertEqual((active.method, active.path, active.body, active.headers), ("GET", "/", "", ()))
        self.assertEqual((active.host, active.port, active.verify), (None, None, True))
        self.assertEqual((active.healthy_interval_s, active.unhealthy_interval_s), (1, 1))
        self.assertEqual(active.healthy_statuses, {200, 302})
        self.assertEqual(active.unhealthy_statuses, {429, 404, 500, 501, 502, 503, 504, 505})
        self.assertEqual(active.limits, Limits(2, 5, 2, 3))
        self.assertEqual(passive.type, "http")
        self.assertEqual(passive.healthy_statuses, {*range(200, 209), 226, *range(300, 309)})
        self.assertEqual(passive.unhealthy_statuses, {429, 500, 503})
        self.assertEqual(passive.limits, Limits(5, 5, 2, 7))
        self.assertIsNone(self.checks({"active": {}}).passive)

    def test_ranges(self) -> None:
        """What is out of range is refused where it is written."""
        for document, accepted in (
            ({"passive": {}}, False),
            ({"active": {"unhealthy": {"tcp_failures": 0}}}, False),
            ({"active": {"unhealthy": {"tcp_failures": 255}}}, False),
            ({"active": {"unhealthy": {"tcp_failures": 254}}}, True),
            ({"active": {"healthy": {"interval": 0}}}, False),
            ({"active": {"unhealthy": {"http_statuses": [199]}}}, False),
            ({"active": {"unhealthy": {"http_statuses": [500, 500]}}}, False),
            ({"active": {"type": "udp"}}, False),
            ({"active": {}, "passive": {"healthy": {"successes": 0}}}, True),
            ({"active": {}, "passive": {"unhealthy": {"timeouts": 255}}}, False),
        ):
            found = Checker(SCHEMA).problems({"nodes": [], "checks": document})
            self.assertEqual(not found, accepted, document)

    def test_statuses(self) -> None:
        """A status in neither list shows nothing; one in both, and garbage, is a failure."""
        active = self.checks({"active": {"healthy": {"http_statuses": [200, 500]}}}).active
        for status, event in (
            (200, Event.SUCCESS),
            (500, Event.HTTP_FAILURE),
            (418, None),
            (0, Event.HTTP_FAILURE),
        ):
            self.assertEqual(active.event(status), event)

    def test_passive_tcp(self) -> None:
        """A passive check of type tcp takes any answer for a success."""
        passive = PassiveCheck("tcp", frozenset(), frozenset((500,)), LIMITS)
        self.assertEqual(passive.event(500), Event.SUCCESS)

    def test_failures(self) -> None:
        """Every way in which a try can fail counts as something."""
        for kind, event in (
            (reasons.UPSTREAM_CONNECT_FAILED, Event.TCP_FAILURE),
            (reasons.UPSTREAM_CLOSED, Event.TCP_FAILURE),
            (reasons.UPSTREAM_CONNECT_TIMEOUT, Event.TIMEOUT),
            (reasons.UPSTREAM_SEND_TIMEOUT, Event.TIMEOUT),
            (reasons.UPSTREAM_READ_TIMEOUT, Event.TIMEOUT),
            (reasons.UPSTREAM_BAD_RESPONSE, Event.HTTP_FAILURE),
        ):
            self.assertEqual(failure_event(kind), event)
        self.assertRaises(KeyError, failure_event, "something_else")
