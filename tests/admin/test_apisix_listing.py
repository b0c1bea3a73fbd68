"""Filters and pages of lists (Admin API contract §4.4)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.admin.apisix_listing import searcher
from tests.admin.apisix_kit import UPSTREAM, ApisixGateway


class ListTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.gateway = ApisixGateway()
        self.gateway.put("/services/1", {})
        self.gateway.put("/upstreams/u", UPSTREAM)
        for number in range(1, 13):
            body = {"uri": f"/path{number}", "plugins": {}, "name": f"name-{number}"}
            if number % 2:
                body.update(service_id="1", labels={"odd": "yes"})
            if number % 3 == 0:
                body.update(upstream_id="u")
            self.gateway.put(f"/routes/{number}", body)
        self.gateway.put("/routes/13", {"uris": ["/first", "/second"], "plugins": {}})

    def ids(self, query: str) -> list[str]:
        reply = self.gateway.send("GET", f"/routes?{query}")
        self.assertEqual(reply.status, 200, reply.raw)
        return [item["value"]["id"] for item in reply.json["list"]]

    def test_pages(self) -> None:
        """Pages are in the order of creation; the total counts what the filters leave."""
        self.assertEqual(len(self.ids("")), 13)
        self.assertEqual(self.ids("page=1&page_size=10"), [str(n) for n in range(1, 11)])
        self.assertEqual(self.ids("page=2&page_size=10"), ["11", "12", "13"])
        self.assertEqual(self.ids("page=-3&page_size=10"), [str(n) for n in range(1, 11)])
        self.assertEqual(self.ids("page=2.0&page_size=1e1"), ["11", "12", "13"])
        self.assertEqual(self.ids("page=99&page_size=10"), [])
        for query in ("page=1", "page_size=10", "page=a&page_size=10", "page=1&page_size=x"):
            self.assertEqual(len(self.ids(query)), 13)
        reply = self.gateway.send("GET", "/routes?page=2&page_size=10&name=name")
        self.assertEqual((reply.json["total"], len(reply.json["list"])), (12, 2))

    def test_page_size(self) -> None:
        """A page of another size is refused in plain text."""
        for size in (9, 501, 0, -1):
            reply = self.gateway.send("GET", f"/routes?page=1&page_size={size}")
            self.assertEqual((reply.status, reply.raw), (400, b"page_size must be between 10 and 500"))

    def test_filters(self) -> None:
        """Names and paths are searched by expressions, labels by key, references by equality."""
        self.assertEqual(self.ids("name=name-1$"), ["1"])
        self.assertEqual(self.ids("name=e-1[12]"), ["11", "12"])
        self.assertEqual(self.ids("name=("), [])
        self.assertEqual(self.ids("uri=second"), ["13"])
        self.assertEqual(self.ids("uri=path1"), ["1", "10", "11", "12"])
        self.assertEqual(self.ids("label=odd"), ["1", "3", "5", "7", "9", "11"])
        self.assertEqual(self.ids("label=yes"), [])
        self.assertEqual(len(self.ids("label=")), 13)
        self.assertEqual(self.ids("filter=service_id%3D1%26upstream_id%3Du"), ["3", "9"])
        self.assertEqual(self.ids("filter=service_id%3D9"), [])
        self.assertEqual(len(self.ids("filter=other%3D9")), 13)
        self.assertEqual(self.ids("name=1&label=odd&uri=path1"), ["1", "11"])

    def test_filters_elsewhere(self) -> None:
        """What is for routes is passed over for other kinds."""
        reply = self.gateway.send("GET", "/services?uri=x&filter=service_id%3D9")
        self.assertEqual(reply.json["total"], 1)


class SearcherTests(SynchronousTestCase):
    def test_never_for_ever(self) -> None:
        """An expression that could take for ever is looked for as it stands."""
        for pattern in ("(a+)+$", "(a*)*", "(a|aa)+$", r"(a)\1", "(?=a)", "a{1,9}{1,9}", "x" * 257):
            self.assertFalse(searcher(pattern)("a" * 60 + "!"), pattern)
        self.assertTrue(searcher("(a+)+$")("is (a+)+$ in here"))
        self.assertTrue(searcher("^a.c$")("abc"))
