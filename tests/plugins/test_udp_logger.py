"""Tests for gateway.plugins.udp_logger; what arrives is tested with the sender and end to end."""

from __future__ import annotations

import json

from gateway.plugins import udp_logger
from gateway.registry import PluginRegistry
from tests.plugins.logger_kit import HOST, SocketLoggerTestCase, ended


class UdpLoggerTests(SocketLoggerTestCase):
    factory = udp_logger.plugin

    def test_interfaces(self) -> None:
        """It takes note in the log phase; content costs where it is asked for."""
        self.check_interfaces("udp-logger", 400)

    def test_entry(self) -> None:
        """An entry is JSON, made when the request has ended."""
        self.instance().log(ended())
        (entry,) = map(json.loads, self.entries)
        self.assertEqual(entry["response"]["status"], 404)

    def test_forms(self) -> None:
        """Entries go together in datagrams, as many as fit; alone if the settings say so."""
        self.instance()
        self.assertEqual(self.options.max_entry_bytes, 65505)
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
