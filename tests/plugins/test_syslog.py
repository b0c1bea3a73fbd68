"""Tests for gateway.plugins.syslog; what arrives is tested with the sender and end to end."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, succeed

from gateway.core.exchange import Exchange, Outcome
from gateway.interfaces import IBodyTapPhase
from gateway.plugins import syslog
from gateway.registry import PluginRegistry
from gateway.testing.exchanges import exchange
from tests.plugins.kit import PluginTestCase

HOST = "collector.test"


def ended() -> Exchange:
    made = exchange("GET", "/x", [("Host", "a.example")])
    made.outcome = Outcome(404, "router", "route_not_found")
    return made


class SyslogTests(PluginTestCase):
    factory = syslog.plugin

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
        self.assertEqual((name, route), ("syslog", "r1"))
        self.deliver = deliver
        return self

    def add(self, entry: bytes) -> None:
        self.entries.append(entry)

    def instance(self, **config: Any) -> Any:
        settings = {"host": HOST, "port": 5140, **config}
        return self.make(settings, sockets=self, batches=self, hostname="gw1")

    def delivered(self, entries: Sequence[bytes]) -> tuple[Any, ...]:
        self.successResultOf(Deferred.fromCoroutine(self.deliver(entries)))
        return self.calls[-1]

    def test_interfaces(self) -> None:
        """It takes note in the log phase; content costs where it is asked for."""
        self.provides("syslog", 401)
        self.assertFalse(IBodyTapPhase.providedBy(self.instance()))
        with_content = self.instance(include_resp_body=True)
        made = ended()
        self.assertIsNone(with_content.rewrite(made))
        with_content.body_tap(made, b"answer")
        with_content.log(made)
        self.assertIn(b'"body":"answer"', self.entries[-1])

    def test_frames(self) -> None:
        """Each entry is a frame of RFC 5424, a line each."""
        plugin = self.instance()
        plugin.log(ended())
        (frame,) = self.entries
        self.assertRegex(frame, rb'\A<46>1 2023-11-14T22:13:20\.000Z gw1 gateway - - - \{"request":.*\}\n\Z')
        self.assertEqual(self.delivered([frame, b"x"]), ("tcp", HOST, 5140, [frame, b"x"]))
        self.assertEqual(self.more, {"timeout_s": 3.0})
        for config, kind in (
            ({"sock_type": "udp"}, "udp"),
            ({"tls": True}, "tls"),
            ({"sock_type": "udp", "tls": True}, "udp"),
        ):
            self.instance(**config)
            self.assertEqual(self.delivered([frame])[0], kind)

    def test_schema(self) -> None:
        """Settings and metadata that cannot work are refused."""
        registry = PluginRegistry([(syslog.plugin, "tests")])
        for bad in ({}, {"host": "a"}, {"host": "a", "port": -1}, {"host": "a", "port": 1, "timeout": 0}):
            self.assertTrue(self.problems(bad), bad)
        self.assertEqual(registry.check_metadata("syslog", {"max_pending_entries": 5}), [])
