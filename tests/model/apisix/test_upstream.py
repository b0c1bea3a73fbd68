"""An upstream of the apisix dialect (Admin API contract §5.3)."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway.model.apisix.upstream import SCHEMA, problems
from gateway.model.schema import Checker

NODES: dict[str, Any] = {"nodes": {"a:1": 1}}


class UpstreamTests(SynchronousTestCase):
    def test_forms(self) -> None:
        """Nodes come as an object, as an array, or by discovery."""
        checker = Checker(SCHEMA)
        for document in (
            {"nodes": {}},
            {"nodes": {"a.test": 0}},
            {"nodes": [{"host": "a", "weight": 1, "priority": -1, "metadata": {"x": 1}}]},
            {"service_name": "s", "discovery_type": "dns", "discovery_args": {"x": 1}},
            {**NODES, "checks": {"active": {}}, "type": "mine", "scheme": "kafka"},
            {**NODES, "tls": {"client_cert_id": 1}},
        ):
            self.assertEqual(checker.problems(document), [], document)
        self.assertTrue(checker.problems({**NODES, "checks": {"passive": {}}}))

    def test_rules(self) -> None:
        """What the schema cannot say: ports, keys, hosts, brackets."""
        for document, text in (
            ({"nodes": {"a:70000": 1}}, "invalid port 70000"),
            ({**NODES, "type": "chash"}, "missing key"),
            ({**NODES, "type": "chash", "key": "nonsense"}, "failed to match pattern"),
            ({**NODES, "type": "chash", "hash_on": "header", "key": "a b"}, "failed to match pattern"),
            ({**NODES, "pass_host": "rewrite"}, "can't be empty"),
            ({"nodes": {"::1": 1}}, "must be enclosed"),
            ({"nodes": [{"host": "::1", "weight": 1}]}, "must be enclosed"),
        ):
            (problem,) = problems(document)
            self.assertIn(text, problem.message)
        for document in (
            {"nodes": {"[::1]:80": 1}},
            {**NODES, "type": "chash", "key": "arg_x"},
            {**NODES, "type": "chash", "key": "$env://K"},
            {**NODES, "type": "chash", "hash_on": "vars_combinations", "key": "$a$b"},
            {**NODES, "pass_host": "rewrite", "upstream_host": "a"},
        ):
            self.assertEqual(problems(document), [])

    def test_any_document(self) -> None:
        """Documents of any form are looked at without an accident."""
        for document in ({"nodes": [1, {}]}, {"nodes": "x"}, {"type": "chash", "hash_on": [], "key": 1}):
            problems(document)
