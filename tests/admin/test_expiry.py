"""Resources with a time to live (Admin API contract §4.4)."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gateway.admin.expiry import KIND, Expiries
from gateway.errors import StoreUnavailable
from gateway.model.record import Change
from tests.admin.apisix_kit import UPSTREAM, ApisixGateway
from tests.admin.kit import TOKEN

ROUTE = {"uri": "/a", "upstream": UPSTREAM}


class ExpiryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = Clock()
        self.gateway = ApisixGateway(call_later=self.reactor.callLater)
        self.gateway.api.start()

    def advance(self, seconds: float) -> None:
        self.gateway.clock.now += seconds
        self.reactor.advance(seconds)

    def paths(self) -> list[str]:
        return [item["key"] for item in self.gateway.send("GET", "/routes").json["list"]]

    def marks(self) -> list[str]:
        return list(self.gateway.control.state.all("default", KIND))

    def test_it_goes(self) -> None:
        """What was written with a time to live goes when that is over, as a revision that says why."""
        self.gateway.put("/routes/1?ttl=10", ROUTE)
        self.gateway.put("/routes/2?ttl=20.5", ROUTE)
        self.gateway.put("/routes/3", ROUTE)
        self.advance(9)
        self.assertEqual(len(self.paths()), 3)
        self.advance(1)
        self.assertEqual(self.paths(), ["/apisix/routes/2", "/apisix/routes/3"])
        self.advance(11)
        self.assertEqual(self.paths(), ["/apisix/routes/3"])
        self.assertEqual((self.marks(), self.reactor.getDelayedCalls()), ([], []))
        last = self.gateway.call("GET", "/api/revisions").json["list"][0]
        self.assertEqual((last["author"], last["reason"]), ("gateway", "expired"))

    def test_made_permanent(self) -> None:
        """A later write without one, through either dialect, makes it permanent; a deletion forgets it."""
        self.gateway.put("/routes/1?ttl=10", ROUTE)
        self.gateway.put("/routes/1", ROUTE)
        self.gateway.put("/services/s?ttl=10", {"name": "s"})
        self.gateway.call("PUT", "/apisix/admin/services/s", {"name": "s"}, token=TOKEN)
        self.gateway.put("/routes/2?ttl=10", ROUTE)
        self.gateway.send("DELETE", "/routes/2")
        self.assertEqual(self.marks(), [])
        self.advance(100)
        self.assertEqual(self.paths(), ["/apisix/routes/1"])

    def test_extended(self) -> None:
        """A PATCH or PUT with a new one counts from then."""
        self.gateway.put("/routes/1?ttl=10", ROUTE)
        self.advance(9)
        self.assertEqual(self.gateway.send("PATCH", "/routes/1?ttl=10", {"desc": "x"}).status, 200)
        self.advance(9)
        self.assertEqual(len(self.paths()), 1)
        self.advance(1)
        self.assertEqual(self.paths(), [])

    def test_consumer(self) -> None:
        """A consumer takes its credentials along."""
        self.gateway.put("/consumers/a?ttl=5", {"username": "a"})
        self.gateway.put("/consumers/a/credentials/c", {"plugins": {"key-auth": {"key": "k"}}})
        self.advance(5)
        self.assertEqual(self.gateway.control.state.all("default", "credential"), {})

    def test_restart(self) -> None:
        """It outlives a restart: what ended meanwhile goes at once."""
        self.gateway.put("/routes/1?ttl=10", ROUTE)
        self.gateway.api.stop()
        self.gateway.clock.now += 60
        self.assertEqual(len(self.paths()), 1)
        self.gateway.api.start()
        self.reactor.advance(0)
        self.assertEqual(self.paths(), [])

    def test_store_away(self) -> None:
        """A store that does not take it now is asked again."""
        self.gateway.put("/routes/1?ttl=10", ROUTE)
        self.gateway.publisher.fault = StoreUnavailable("away")
        self.advance(10)
        self.assertEqual(len(self.paths()), 1)
        self.gateway.publisher.fault = None
        self.advance(10)
        self.assertEqual(self.paths(), [])

    def test_nothing_left_to_remove(self) -> None:
        """A mark whose resource is gone goes too."""
        expiries = Expiries(
            self.gateway.api.resources, self.gateway.clock, self.reactor.callLater, lambda state, key: []
        )
        mark = Change("default", KIND, "route/9", {"at": 1.0})
        self.successResultOf(self.gateway.store.commit([mark], author="x", reason=None, at=1.0))
        view = self.successResultOf(self.gateway.store.load())
        self.gateway.control.state = type(self.gateway.control.state).of(view)
        expiries.follow()
        self.advance(0)
        self.assertEqual(self.marks(), [])
