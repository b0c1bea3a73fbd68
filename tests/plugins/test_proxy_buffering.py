"""Tests for gateway.plugins.proxy_buffering."""

from __future__ import annotations

from gateway.plugins import proxy_buffering
from gateway.testing.exchanges import exchange
from tests.plugins.kit import PluginTestCase


class ProxyBufferingTests(PluginTestCase):
    factory = proxy_buffering.plugin

    def test_accepted(self) -> None:
        """Configurations that have it are accepted, and nothing changes."""
        self.provides("proxy-buffering", 21991)
        for config in ({}, {"disable_proxy_buffering": True}, {"disable_proxy_buffering": False}):
            self.assertIsNone(self.make(config).rewrite(exchange()))
        self.assertTrue(self.problems({"disable_proxy_buffering": "yes"}))
