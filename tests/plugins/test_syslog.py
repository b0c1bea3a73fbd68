"""Tests for gateway.plugins.syslog; what arrives is tested with the sender and end to end."""

from __future__ import annotations

from gateway.plugins import syslog
from gateway.registry import PluginRegistry
from tests.plugins.logger_kit import HOST, SocketLoggerTestCase, ended


class SyslogTests(SocketLoggerTestCase):
    factory = syslog.plugin

    def test_interfaces(self) -> None:
        """It takes note in the log phase; content costs where it is asked for."""
        self.check_interfaces("syslog", 401)

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
            self.assertEqual(self.options.max_entry_bytes, 65507 if kind == "udp" else None)

    def test_schema(self) -> None:
        """Settings and metadata that cannot work are refused."""
        registry = PluginRegistry([(syslog.plugin, "tests")])
        for bad in ({}, {"host": "a"}, {"host": "a", "port": -1}, {"host": "a", "port": 1, "timeout": 0}):
            self.assertTrue(self.problems(bad), bad)
        self.assertEqual(registry.check_metadata("syslog", {"max_pending_entries": 5}), [])
