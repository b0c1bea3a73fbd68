"""Tests for gateway.core.metric_options."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.core.metric_options import CountOptions


class CountOptionsTests(SynchronousTestCase):
    def test_forms(self) -> None:
        """Labels are switched off for all metrics, or metric by metric, prefix or not."""
        self.assertEqual(CountOptions.parse(True, None), CountOptions(True, {}))
        all_of_them = dict.fromkeys(("http_status", "http_latency", "bandwidth"), frozenset({"node"}))
        self.assertEqual(CountOptions.parse(False, ["node"]).disabled, all_of_them)
        some = {"apisix_http_status": ["node"], "bandwidth": []}
        self.assertEqual(CountOptions.parse(False, some).disabled, {"http_status": frozenset({"node"})})
