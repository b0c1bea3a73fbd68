from __future__ import annotations

import ast
import inspect
import re

from twisted.trial.unittest import SynchronousTestCase

from gateway.core import reasons


class ReasonTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.codes = {name: value for name, value in vars(reasons).items() if name.isupper()}

    def test_distinct(self) -> None:
        """Each code is one lower-case word of its own, fit for a metric's label."""
        self.assertEqual(len(set(self.codes.values())), len(self.codes))
        for code in self.codes.values():
            self.assertTrue(re.fullmatch(r"[a-z][a-z_]*[a-z]", code), code)

    def test_stable(self) -> None:
        """Codes are part of logs and alerts: none is ever renamed."""
        self.assertEqual(
            sorted(
                {
                    "ok",
                    "route_not_found",
                    "bad_request",
                    "body_too_large",
                    "no_upstream",
                    "no_nodes",
                    "no_healthy_node",
                    "upstream_connect_failed",
                    "upstream_connect_timeout",
                    "upstream_send_timeout",
                    "upstream_read_timeout",
                    "upstream_closed",
                    "upstream_bad_response",
                    "retry_timeout",
                    "client_gone",
                    "internal_error",
                    "overloaded",
                    "shutting_down",
                    "plugin_replied",
                    "anonymous_consumer_missing",
                }
                - set(self.codes.values())
            ),
            [],
        )

    def test_explained(self) -> None:
        """Each code says in words when it is given, and the status that goes with it."""
        body = ast.parse(inspect.getsource(reasons)).body
        for here, after in zip(body, [*body[1:], None], strict=True):
            if isinstance(here, ast.Assign):
                self.assertIsInstance(after, ast.Expr, ast.unparse(here))
