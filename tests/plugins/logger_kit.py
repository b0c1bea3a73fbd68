"""A logger that sends over sockets, with a world that keeps what it was told."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, succeed

from gateway.core.exchange import Exchange, Outcome
from gateway.interfaces import IBodyTapPhase
from gateway.testing.exchanges import exchange
from tests.plugins.kit import PluginTestCase

HOST = "collector.test"


def ended() -> Exchange:
    """A request that no route took."""
    made = exchange("GET", "/x", [("Host", "a.example")])
    made.outcome = Outcome(404, "router", "route_not_found")
    return made


class SocketLoggerTestCase(PluginTestCase):
    """Tests of one such plugin, ``factory``."""

    def setUp(self) -> None:
        super().setUp()
        self.entries: list[bytes] = []
        self.calls: list[tuple[Any, ...]] = []
        self.more: dict[str, Any] = {}

    def send(self, *call: Any, **more: Any) -> Awaitable[None]:
        self.calls.append(call)
        self.more = more
        return succeed(None)

    def open(self, name: str, route: str, options: Any, deliver: Any) -> Any:
        self.assertEqual((name, route), (self.factory.name, "r1"))
        self.deliver = deliver
        self.options = options
        return self

    def add(self, entry: bytes, server_addr: str = "") -> None:
        self.entries.append(entry)

    def instance(self, **config: Any) -> Any:
        settings = {"host": HOST, "port": 5140, **config}
        return self.make(settings, sockets=self, batches=self, hostname="gw1")

    def delivered(self, entries: Sequence[bytes]) -> tuple[Any, ...]:
        """The last call that delivering *entries* made."""
        self.successResultOf(Deferred.fromCoroutine(self.deliver(entries)))
        return self.calls[-1]

    def check_interfaces(self, name: str, priority: int) -> None:
        """It takes note in the log phase; content costs where it is asked for."""
        self.provides(name, priority)
        self.assertFalse(IBodyTapPhase.providedBy(self.instance()))
        with_content = self.instance(include_resp_body=True)
        made = ended()
        self.assertIsNone(with_content.rewrite(made))
        with_content.body_tap(made, b"answer")
        with_content.log(made)
        self.assertIn(b'"body":"answer"', self.entries[-1])
