"""A route of the apisix dialect (Admin API contract §5.1)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.model.apisix.route import SCHEMA, first_problems, lua_problems
from gateway.model.schema import Checker


class RouteTests(SynchronousTestCase):
    def test_forms(self) -> None:
        """A route has one form of path, and something to do."""
        checker = Checker(SCHEMA)
        for document in (
            {"uri": "/a", "plugins": {}},
            {"uris": ["/a", "/b"], "service_id": 1},
            {"uri": "/a", "upstream_id": "u", "host": "*", "remote_addrs": ["::1"], "methods": []},
            {"uri": "/a", "script": "return 1 -- x"},
        ):
            self.assertEqual(checker.problems(document), [])
        for document in ({"uri": "/a"}, {"plugins": {}}, {"uri": "/a", "uris": ["/b"], "plugins": {}}):
            self.assertTrue(checker.problems(document))

    def test_two_forms(self) -> None:
        """Two forms of one field are told by name."""
        found = first_problems({"host": "a", "hosts": ["b"], "remote_addr": "::1", "remote_addrs": ["::1"]})
        self.assertEqual([problem.path for problem in found], [("hosts",), ("remote_addrs",)])

    def test_lua(self) -> None:
        """Program text is refused, member by member."""
        found = lua_problems({"filter_func": "function() end", "script": "x", "uri": "/a"})
        self.assertEqual([problem.path for problem in found], [("filter_func",), ("script",)])
