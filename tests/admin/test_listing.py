from __future__ import annotations

from urllib.parse import urlencode

from twisted.trial.unittest import SynchronousTestCase

from tests import certs
from tests.admin.kit import Gateway

ADMIN = "/apisix/admin"


class ListingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.gateway = Gateway()
        for number, name in enumerate(("bravo", "alpha", "charlie")):
            self.gateway.clock.now += 10
            body = {
                "name": name,
                "labels": {"team": name, **({"odd": "1"} if number % 2 else {})},
                "desc": f"The {name.upper()} service",
                **({"type": "stream"} if name == "charlie" else {"hosts": [f"{name}.test", "all.test"]}),
            }
            self.assertEqual(self.gateway.call("PUT", f"{ADMIN}/services/s{number}", body).status, 200)
        self.gateway.clock.now += 10
        self.gateway.call("PATCH", f"{ADMIN}/services/s0", {"desc": "The BRAVO service, changed"})
        for id, service in (("r1", "s0"), ("r2", "s1"), ("r3", "s0")):
            body = {"name": id, "paths": ["/"], "service_id": service}
            self.gateway.call("PUT", f"{ADMIN}/routes/{id}", body)

    def _list(self, path: str = "services", **query: str) -> tuple[list[str], int]:
        reply = self.gateway.call("GET", f"{ADMIN}/{path}", query={"gateway_group_id": "default", **query})
        self.assertEqual(reply.status, 200, reply.raw)
        return [item.get("id", item.get("name")) for item in reply.json["list"]], reply.json["total"]

    def test_order(self) -> None:
        """Lists are ordered by last change, newest first, or as asked."""
        self.assertEqual(self._list()[0], ["s0", "s2", "s1"])
        self.assertEqual(self._list(direction="asc")[0], ["s1", "s2", "s0"])
        self.assertEqual(self._list(order_by="created_at")[0], ["s2", "s1", "s0"])
        self.assertEqual(self._list(order_by="name", direction="asc")[0], ["s1", "s0", "s2"])

    def test_pages(self) -> None:
        """Pages cut the list; the total counts all of it."""
        self.assertEqual(self._list(page="1", page_size="2"), (["s0", "s2"], 3))
        self.assertEqual(self._list(page="2", page_size="2"), (["s1"], 3))
        self.assertEqual(self._list(page="9", page_size="2"), ([], 3))
        self.assertEqual(self._list(page_size="1"), (["s0"], 3))
        self.assertEqual(self._list(page="1"), (["s0", "s2", "s1"], 3))
        self.assertEqual(self._list(page="", page_size=""), (["s0", "s2", "s1"], 3))

    def test_search(self) -> None:
        """A search looks at id, name, description and labels, in any letter case."""
        self.assertEqual(self._list(search="S1"), (["s1"], 1))
        self.assertEqual(self._list(search="ALPHA"), (["s1"], 1))
        self.assertEqual(self._list(search="changed"), (["s0"], 1))
        self.assertEqual(self._list(search="odd"), (["s1"], 1))
        self.assertEqual(self._list(search="nothing"), ([], 0))

    def test_labels(self) -> None:
        """Labels narrow a list by value, or by being there; several must all hold."""
        self.assertEqual(self._list(**{"labels[team]": "alpha"}), (["s1"], 1))
        self.assertEqual(self._list(**{"labels[team]": "alpha", "labels[odd]": "1"}), (["s1"], 1))
        self.assertEqual(self._list(**{"labels[team]": "alpha", "labels[odd]": "2"}), ([], 0))
        self.assertEqual(self._list(label="odd"), (["s1"], 1))

    def test_filters_of_services(self) -> None:
        """Services are found by host and by type."""
        self.assertEqual(self._list(hosts="alpha.test"), (["s1"], 1))
        self.assertEqual(self._list(hosts="all.test")[1], 2)
        self.assertEqual(self._list(type="stream"), (["s2"], 1))

    def test_routes_of_a_service(self) -> None:
        """Routes are found by their service, also after they changed; without one all are there."""
        self.assertEqual(self._list("routes")[1], 3)
        self.assertEqual(self._list("routes", service_id="s0", direction="asc"), (["r1", "r3"], 2))
        self.gateway.call("DELETE", f"{ADMIN}/routes/r1")
        self.assertEqual(self._list("routes", service_id="s0"), (["r3"], 1))
        self.assertEqual(self._list("routes", service_id="none"), ([], 0))

    def test_credentials_by_plugin(self) -> None:
        """Credentials are found by their plugin."""
        self.gateway.call("PUT", f"{ADMIN}/consumers/jack", {})
        for id, plugin in (("a", "key-auth"), ("b", "jwt-auth")):
            body = {"name": id, "plugins": {plugin: {"key": id, "secret": "s"}}}
            self.gateway.call("PUT", f"{ADMIN}/consumers/jack/credentials/{id}", body)
        self.assertEqual(self._list("consumers/jack/credentials")[1], 2)
        self.assertEqual(self._list("consumers/jack/credentials", plugin_name="key-auth"), (["a"], 1))

    def test_bad_parameters(self) -> None:
        """A number or a word that cannot be used is 400, and the answer names the parameter."""
        for name, value in (
            ("page", "0"),
            ("page", "-1"),
            ("page", "x"),
            ("page", "1.5"),
            ("page", "9" * 5000),
            ("page", "-" + "9" * 500),
            ("page", "\u0661"),
            ("page", "--1"),
            ("page_size", "0"),
            ("page_size", "ten"),
            ("direction", "up"),
            ("order_by", "weight"),
        ):
            query = urlencode({"gateway_group_id": "default", name: value})
            reply = self.gateway.call("GET", f"{ADMIN}/services", query=query)
            self.assertEqual(reply.status, 400, (name, value[:9]))
            self.assertIn(f'parameter "{name}" in query has an error: ', reply.error)

    def test_bad_queries(self) -> None:
        """A query that is not UTF-8, or has no end, is 400."""
        for query in ("gateway_group_id=%FF", "&".join("a=1" for _ in range(500))):
            self.assertEqual(self.gateway.call("GET", f"{ADMIN}/services", query=query).status, 400)


class SpecialTests(SynchronousTestCase):
    """Parameters that only one kind of resource has."""

    def _ids(self, gateway: Gateway, path: str, **query: str) -> set[str]:
        reply = gateway.call("GET", f"{ADMIN}/{path}", query={"gateway_group_id": "default", **query})
        self.assertEqual(reply.status, 200, reply.raw)
        return {item["id"] for item in reply.json["list"]}

    def test_certificates(self) -> None:
        """Certificates are found by the name they are served for, and by when they end."""
        gateway = Gateway()
        for id in ("a", "b"):
            pair = certs.pair(f"{id}.test")
            body = {"cert": pair.cert, "key": pair.key}
            self.assertEqual(gateway.call("PUT", f"{ADMIN}/certificates/{id}", body).status, 200)
            sni = {"domain": f"{id}.test", "certificate_id": id, "mtls_enabled": id == "b"}
            self.assertEqual(gateway.call("PUT", f"{ADMIN}/snis/sni-{id}", sni).status, 200)
        self.assertEqual(self._ids(gateway, "certificates", sni_id="sni-a"), {"a"})
        self.assertEqual(self._ids(gateway, "certificates", sni_name="b.test"), {"b"})
        self.assertEqual(self._ids(gateway, "certificates", sni_name="c.test"), set())
        self.assertEqual(self._ids(gateway, "certificates", exptime="1000"), set())
        self.assertEqual(self._ids(gateway, "certificates", exptime="99999999999"), {"a", "b"})
        self.assertEqual(self._ids(gateway, "certificates", exptime="x"), set())
        self.assertEqual(self._ids(gateway, "snis", mtls_enabled="true"), {"sni-b"})
        self.assertEqual(self._ids(gateway, "snis", domain="a.test"), {"sni-a"})
        reply = gateway.call("PUT", f"{ADMIN}/snis/x", {"domain": "x.test", "certificate_id": "none"})
        self.assertEqual((reply.status, reply.error), (400, "certificate none not found"))

    def test_unhealthy(self) -> None:
        """Services are found by whether one of their nodes is not well."""
        nodes = [{"status": "healthy"}, {"status": "unhealthy"}]
        health = [
            {"name": "/apisix/services/s1", "nodes": nodes},
            {"name": "/apisix/services/s2", "nodes": nodes[:1]},
        ]
        gateway = Gateway(status=lambda: {"health": health})
        for id in ("s1", "s2"):
            gateway.call("PUT", f"{ADMIN}/services/{id}", {"name": id})
        self.assertEqual(self._ids(gateway, "services", unhealthy_nodes="true"), {"s1"})
        self.assertEqual(self._ids(gateway, "services", unhealthy_nodes="false"), {"s1", "s2"})
        base = "/api/gateway_groups/default/services"
        self.assertEqual(gateway.call("GET", f"{base}/s1/healthcheck").json["list"], health[:1])
        self.assertEqual(gateway.call("GET", f"{base}/none/healthcheck").status, 404)
