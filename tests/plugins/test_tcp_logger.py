"""Tests for gateway.plugins.tcp_logger; what arrives is tested with the sender and end to end."""

from __future__ import annotations

import json

from gateway.plugins import tcp_logger
from gateway.registry import PluginRegistry
from tests.plugins.logger_kit import HOST, SocketLoggerTestCase, ended


class TcpLoggerTests(SocketLoggerTestCase):
    factory = tcp_logger.plugin

    def test_interfaces(self) -> None:
        """It takes note in the log phase; content costs where it is asked for."""
        self.check_interfaces("tcp-logger", 405)

    def test_entry(self) -> None:
        """An entry is JSON, made when the request has ended."""
        self.instance().log(ended())
        (entry,) = map(json.loads, self.entries)
        self.assertEqual(entry["response"]["status"], 404)

    def test_forms(self) -> None:
        """Entries go together as a JSON array, one alone as an object; a line each time."""
        self.instance()
        self.assertEqual(self.delivered([b"{}", b"[]"]), ("tcp", HOST, 5140, [b"[{},[]]\n"]))
        self.assertEqual(self.more, {"timeout_s": 1.0, "server_name": None})
        self.instance(batch_max_size=1, tls=True, tls_options="a.example", timeout=2500)
        self.assertEqual(self.delivered([b"{}"]), ("tls", HOST, 5140, [b"{}\n"]))
        self.assertEqual(self.more, {"timeout_s": 2.5, "server_name": "a.example"})

    def test_schema(self) -> None:
        """Settings and metadata that cannot work are refused."""
        registry = PluginRegistry([(tcp_logger.plugin, "tests")])
        for bad in ({}, {"host": "a"}, {"host": "a", "port": -1}, {"host": "a", "port": 1, "timeout": 0}):
            self.assertTrue(self.problems(bad), bad)
        self.assertEqual(registry.check_metadata("tcp-logger", {"max_pending_entries": 5}), [])
