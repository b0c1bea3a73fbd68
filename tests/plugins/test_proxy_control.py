"""Tests for gateway.plugins.proxy_control."""

from __future__ import annotations

from gateway.plugins import proxy_control
from gateway.testing.exchanges import exchange
from tests.plugins.kit import PluginTestCase


class ProxyControlTests(PluginTestCase):
    factory = proxy_control.plugin

    def test_accepted(self) -> None:
        """Configurations that have it are accepted, and nothing changes."""
        self.provides("proxy-control", 21990)
        for config in ({}, {"request_buffering": True}, {"request_buffering": False}):
            self.assertIsNone(self.make(config).rewrite(exchange()))
        self.assertTrue(self.problems({"request_buffering": "yes"}))
