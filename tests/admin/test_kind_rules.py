from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from gateway.admin.kind_rules import secret_id
from gateway.model.record import Change
from tests.admin.kit import Gateway, done

ADMIN = "/apisix/admin"


class CascadeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.gateway = Gateway()

    def _put(self, path: str, body: object) -> dict[str, Any]:
        reply = self.gateway.call("PUT", f"{ADMIN}/{path}", body)
        self.assertEqual(reply.status, 200, reply.raw)
        value: dict[str, Any] = reply.json
        return value

    def _status(self, path: str) -> int:
        return self.gateway.call("GET", f"{ADMIN}/{path}").status

    def test_service(self) -> None:
        """A service takes its routes, stream routes and additional upstreams along, and nobody else's."""
        for id, type in (("h", "http"), ("h2", "http"), ("s", "stream")):
            self._put(f"services/{id}", {"name": id, "type": type})
            self._put(f"services/{id}/upstreams/blue", {"name": "blue"})
        for id, service in (("r", "h"), ("r2", "h2")):
            self._put(f"routes/{id}", {"name": id, "paths": ["/"], "service_id": service})
        self._put("stream_routes/t", {"name": "t", "service_id": "s", "server_port": 9100})
        for gone, kept in (("h", ("h2", "s")), ("s", ("h2",))):
            self.assertEqual(self.gateway.call("DELETE", f"{ADMIN}/services/{gone}").status, 200)
            self.assertEqual(self._status(f"services/{gone}/upstreams"), 404)
            for service in kept:
                self.assertEqual(self._status(f"services/{service}/upstreams/blue"), 200)
        self.assertEqual([self._status(f"routes/{id}") for id in ("r", "r2")], [404, 200])
        self.assertEqual(self._status("stream_routes/t"), 404)
        left = {
            key
            for kind in ("route", "stream_route", "service_upstream")
            for key in self.gateway.control.state.all("default", kind)
        }
        self.assertEqual(left, {"r2", "h2/blue"})

    def test_group(self) -> None:
        """Deleting a group leaves nothing of it behind."""
        group = self.gateway.call("POST", "/api/gateway_groups", {"name": "g"}).value["id"]
        query = {"gateway_group_id": group}
        for path, body in (
            ("services/s", {"name": "s"}),
            ("services/s/upstreams/u", {}),
            ("routes/r", {"name": "r", "paths": ["/"], "service_id": "s"}),
            ("protos/p", {"content": "message A {}"}),
            ("secret_providers/vault/v", {"uri": "u", "prefix": "p", "token": "t"}),
        ):
            self.assertEqual(self.gateway.call("PUT", f"{ADMIN}/{path}", body, query=query).status, 200, path)
        other = Change(group, "plugin_config", "1", {"plugins": {}}, "apisix")
        done(Deferred.fromCoroutine(self.gateway.control.write(lambda state: [other], author="test")))
        self.assertEqual(self.gateway.call("DELETE", f"/api/gateway_groups/{group}").status, 200)
        self.assertEqual([r.key for r in self.gateway.store._load().records if r.group == group], [])


class SecretIdTests(SynchronousTestCase):
    def test_segments(self) -> None:
        """A secret provider's id is a manager that is known, and an id."""
        self.assertEqual(secret_id("vault/a"), [])
        self.assertEqual(secret_id("safe/a")[0].message, "invalid secret manager: safe")
        self.assertEqual([p.pointer for p in secret_id("vault/")], ["/id", "/id"])
