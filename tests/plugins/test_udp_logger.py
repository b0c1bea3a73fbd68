"""Tests for gateway.plugins.udp_logger; what arrives is tested with the sender and end to end."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, succeed

from gateway.core.exchange import Exchange, Outcome
from gateway.interfaces import IBodyTapPhase
from gateway.plugins import udp_logger
from gateway.registry import PluginRegistry
from gateway.testing.exchanges import exchange
from tests.plugins.kit import PluginTestCase

HOST = "collector.test"


def ended() -> Exchange:
    made = exchange("GET", "/x", [("Host", "a.example")])
    made.outcome = Outcome(404, "router", "route_not_found")
    return made


class UdpLoggerTests(PluginTestCase):
    factory = udp_logger.plugin

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
        self.assertEqual((name, route), ("udp-logger", "r1"))
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
        self.provides("udp-logger", 400)
        self.assertFalse(IBodyTapPhase.providedBy(self.instance()))
        with_content = self.instance(include_resp_body=True)
        made = ended()
        self.assertIsNone(with_content.rewrite(made))
        with_content.body_tap(made, b"answer")
        with_content.log(made)
        self.assertIn(b'"body":"answer"', self.entries[-1])

    def test_entry(self) -> None:
        """An entry is JSON, made when the request has ended."""
        self.instance().log(ended())
        (entry,) = map(json.loads, self.entries)
        self.assertEqual(entry["response"]["status"], 404)

    def test_forms(self) -> None:
        """Entries go together in datagrams, as many as fit; alone if the settings say so."""
        self.instance()
        self.assertEqual(self.delivered([b"{}", b"[]"]), ("udp", HOST, 5140, [b"[{},[]]"]))
        large = b"1" * 40_000
        self.delivered([large, large, b"2"])
        self.assertEqual([call[3] for call in self.calls[-2:]], [[b"[%b]" % large], [b"[%b,2]" % large]])
        self.instance(batch_max_size=1, timeout=7)
        self.assertEqual(self.delivered([b"{}"]), ("udp", HOST, 5140, [b"{}"]))
        self.assertEqual(self.more, {"timeout_s": 7})

    def test_schema(self) -> None:
        """Settings and metadata that cannot work are refused."""
        registry = PluginRegistry([(udp_logger.plugin, "tests")])
        for bad in ({}, {"host": "a"}, {"host": "a", "port": -1}, {"host": "a", "port": 1, "timeout": 0}):
            self.assertTrue(self.problems(bad), bad)
        self.assertEqual(registry.check_metadata("udp-logger", {"max_pending_entries": 5}), [])
