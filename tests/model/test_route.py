from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway.model.route import SCHEMA, Route
from gateway.model.schema import fill_scalars
from gateway.model.timeout import Timeout
from tests.model.shapes import announced, faults, refused

MINIMAL = {"name": "r", "service_id": "s", "paths": ["/"]}


class SchemaTests(SynchronousTestCase):
    """Admin API contract §3.4, field by field."""

    def _check(self, member: str, good: list[Any], bad: list[Any]) -> None:
        self.assertEqual(refused(SCHEMA, MINIMAL, member, good), [])
        self.assertEqual(refused(SCHEMA, MINIMAL, member, bad), bad)

    def test_guide(self) -> None:
        """The route of the jwt-auth guide fits."""
        document = {
            "name": "jwt-auth-route",
            "paths": ["/anything/jwt-auth"],
            "methods": ["GET"],
            "service_id": "jwt-auth-httpbin-service",
            "plugins": {"jwt-auth": {}},
        }
        self.assertEqual(faults(SCHEMA, document), [])

    def test_required(self) -> None:
        """A route has a name, a service and a path; all that is missing is told."""
        self.assertEqual(
            faults(SCHEMA, {}), [("/name", "required"), ("/service_id", "required"), ("/paths", "required")]
        )

    def test_other_dialect(self) -> None:
        """Members that only the other dialect's routes have are refused."""
        names = (
            "uri uris host hosts remote_addr remote_addrs upstream upstream_id plugin_config_id script status"
        )
        for member in names.split():
            self.assertEqual(
                faults(SCHEMA, {**MINIMAL, member: "x"}), [(f"/{member}", "additionalProperties")]
            )

    def test_paths(self) -> None:
        """There are 1 to 64 paths of 1 to 4096 characters, each starting with ``/``."""
        self._check(
            "paths",
            [["/"], ["/anything/*", "/a/:b"], [f"/{n}" for n in range(64)], ["/" + "x" * 4095]],
            [[], [f"/{n}" for n in range(65)], ["a"], [""], ["/" + "x" * 4096], "/", [1], ["$env://A"]],
        )

    def test_methods(self) -> None:
        """There are 1 to 9 methods, each once, of those that HTTP and its caches know."""
        known = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "CONNECT", "TRACE"]
        self._check(
            "methods",
            [*([name] for name in known), known, ["PURGE"]],
            [[], ["GET", "GET"], [*known, "PURGE"], ["get"], ["FETCH"], "GET", [1], ["$env://A"]],
        )

    def test_members(self) -> None:
        """The other members have the documented types."""
        self._check("vars", [[], [["arg_a", "==", "1"]]], ["x", {}, None])
        self._check("priority", [0, -5, 100, 3.0], [1.5, "1", True, None])
        self._check("enable_websocket", [True, False, None], [1, "true"])
        self._check(
            "timeout", [{}, {"connect": 0.5, "send": 1, "read": 1}], [{"connect": 0}, {"other": 1}, 60]
        )
        self._check("plugins", [{}, {"a": {}}], [[], {"a": None}])
        for member in ("id", "route_id", "service_id"):
            self._check(member, ["a-b_c.1", "x" * 256], ["", "x" * 257, "a/b", 1, None])
        self._check("name", ["r"], ["", 1])
        self._check("labels", [{"a": "b"}], [{"a": 1}])


class DefaultTests(SynchronousTestCase):
    """Admin API contract §6.4."""

    def test_announced(self) -> None:
        """The defaults announced are exactly those of the enterprise gateway."""
        self.assertEqual(
            announced(SCHEMA), {"priority": 0, "timeout": {"connect": 60, "send": 60, "read": 60}}
        )

    def test_stored(self) -> None:
        """Only the priority is added, and the members of time limits that are there."""
        self.assertEqual(fill_scalars(SCHEMA, MINIMAL), {**MINIMAL, "priority": 0})
        filled = fill_scalars(SCHEMA, {**MINIMAL, "timeout": {"read": 1}, "plugins": {"jwt-auth": {}}})
        self.assertEqual(filled["timeout"], {"connect": 60, "send": 60, "read": 1})
        self.assertEqual(filled["plugins"], {"jwt-auth": {}})


class ParseTests(SynchronousTestCase):
    def test_defaults(self) -> None:
        """A minimal route takes any method, inherits what it does not say, and is on."""
        self.assertEqual(
            Route.parse("r1", MINIMAL), Route(id="r1", name="r", service_id="s", paths=("/",), plugins={})
        )

    def test_members(self) -> None:
        """Everything that was configured is there."""
        parsed = Route.parse(
            "r1",
            {
                **MINIMAL,
                "methods": ["GET", "HEAD"],
                "vars": [["arg_a", "==", "1"]],
                "priority": -2.0,
                "enable_websocket": False,
                "timeout": {"read": 1},
                "plugins": {"p": {}},
            },
        )
        self.assertEqual(parsed.methods, frozenset(("GET", "HEAD")))
        self.assertEqual(parsed.vars, (["arg_a", "==", "1"],))
        self.assertEqual(repr(parsed.priority), "-2")
        self.assertIs(parsed.enable_websocket, False)
        self.assertEqual(parsed.timeout, Timeout(60.0, 60.0, 1.0))
        self.assertEqual(parsed.plugins, {"p": {}})

    def test_websocket_inherited(self) -> None:
        """``enable_websocket: null`` is as good as none."""
        self.assertIsNone(Route.parse("r1", {**MINIMAL, "enable_websocket": None}).enable_websocket)

    def test_no_settings_in_repr(self) -> None:
        """Plugin settings, which may hold secrets, are not in the repr."""
        self.assertNotIn(
            "hunter2", repr(Route.parse("r", {**MINIMAL, "plugins": {"p": {"secret": "hunter2"}}}))
        )
