"""Small parts of a compiled route."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway.core.merge import PluginUse
from gateway.core.route_parts import filter_of, predicate, tunnels
from gateway.model.problems import ConfigErrors
from gateway.model.route import Route
from gateway.model.service import Service


class RoutePartTests(SynchronousTestCase):
    def test_tunnels(self) -> None:
        """What the route says counts, else what the service says."""
        open_service = Service.parse("s", {"name": "s", "enable_websocket": True})
        route = {"name": "r", "paths": ["/"]}
        self.assertTrue(tunnels(Route.parse("r", route), open_service))
        self.assertFalse(tunnels(Route.parse("r", route), None))
        self.assertFalse(tunnels(Route.parse("r", {**route, "enable_websocket": False}), open_service))

    def test_predicate(self) -> None:
        """No expression is no condition; one that cannot be evaluated is named."""
        self.assertIsNone(predicate(None, "vars"))
        self.assertIsNone(predicate([], "vars"))
        self.assertIsNotNone(predicate([["arg_a", "==", "1"]], "vars"))
        error = self.assertRaises(ConfigErrors, predicate, [["a", "===", "b"]], "vars")
        self.assertEqual(error.problems[0].pointer, "/vars")

    def test_filter(self) -> None:
        """A filter that is none, or cannot be evaluated, lets the plugin run."""

        def of(**settings: Any) -> object:
            return filter_of(PluginUse("p", settings, "route/r"))

        self.assertIsNone(of())
        for bad in ([], "x", [["a", "===", "b"]]):
            self.assertIsNone(of(_meta={"filter": bad}))
        self.assertIsNotNone(of(_meta={"filter": [["arg_a", "==", "1"]]}))
