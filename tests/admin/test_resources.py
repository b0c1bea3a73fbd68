from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import ConfigErrors, Problem, StoreUnavailable
from tests.admin.kit import GUIDE, Gateway

SERVICE, ROUTE, CONSUMER, CREDENTIAL = (path for path, _ in GUIDE)
SERVICE_BODY, ROUTE_BODY, CONSUMER_BODY, CREDENTIAL_BODY = (body for _, body in GUIDE)
ADMIN = "/apisix/admin"


def credential(key: str, plugin: str = "jwt-auth") -> dict[str, Any]:
    return {"name": "c", "plugins": {plugin: {"key": key, "secret": "s"}}}


class ReferenceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.gateway = Gateway()
        self.gateway.seed()

    def _refused(self, path: str, body: object, status: int, error: str) -> None:
        revision = self.gateway.control.state.revision
        reply = self.gateway.call("PUT", ADMIN + path, body)
        self.assertEqual((reply.status, reply.error), (status, error))
        self.assertEqual(self.gateway.control.state.revision, revision)

    def test_service_of_a_route(self) -> None:
        """A route's service must exist, and be one for HTTP."""
        self._refused("/routes/r", {**ROUTE_BODY, "service_id": "none"}, 400, "service not found")
        self.gateway.call("PUT", ADMIN + "/services/tcp", {"name": "t", "type": "stream"})
        words = "the service is of type stream, a route needs one of type http"
        self._refused("/routes/r", {**ROUTE_BODY, "service_id": "tcp"}, 400, words)

    def test_shared_settings(self) -> None:
        """Places of one group have the same settings, whatever kind they are; another group has its own."""

        def limited(**settings: Any) -> dict[str, Any]:
            return {**ROUTE_BODY, "plugins": {"limit-count": settings}}

        def put(path: str, body: object) -> int:
            return self.gateway.call("PUT", ADMIN + path, body).status

        self.assertEqual(put("/routes/a", limited(count=1, group="g")), 200)
        same = {"count": 1, "group": "g", "_meta": {"disable": False}}
        self.assertEqual(put("/routes/b", limited(**same)), 200)
        self.assertEqual(put("/consumers/jack", {"plugins": {"limit-count": same}}), 200)
        words = "failed to check the configuration of plugin limit-count err: group conf mismatched"
        for path in ("/routes/a", "/routes/c"):
            self._refused(path, limited(count=2, group="g"), 400, words)
        other = {"plugins": {"limit-count": {"count": 3, "group": "g"}}}
        self._refused("/consumers/jack", other, 400, f"invalid plugins configuration: {words}")
        self.assertEqual(put("/routes/a", limited(count=2, group="h")), 200)
        self.assertEqual(put("/routes/a", limited(count=2)), 200)

    def test_consumer_of_a_credential(self) -> None:
        """A credential's consumer must exist, for every call on it."""
        self._refused("/consumers/none/credentials/c", CREDENTIAL_BODY, 404, "consumer not found")
        for method, path in (("GET", ""), ("POST", ""), ("GET", "/c"), ("DELETE", "/c")):
            reply = self.gateway.call(method, f"{ADMIN}/consumers/none/credentials{path}", CREDENTIAL_BODY)
            self.assertEqual((reply.status, reply.error), (404, "consumer not found"))

    def test_credentials_of_nobody_yet(self) -> None:
        """A consumer without credentials has an empty list of them."""
        self.gateway.call("PUT", ADMIN + "/consumers/new", {})
        reply = self.gateway.call("GET", ADMIN + "/consumers/new/credentials")
        self.assertEqual((reply.status, reply.json), (200, {"list": [], "total": 0}))

    def test_credential_ids_are_per_consumer(self) -> None:
        """Two consumers may call a credential the same."""
        self.gateway.call("PUT", ADMIN + "/consumers/jack", {})
        path = ADMIN + "/consumers/jack/credentials/jwt-auth-consumer-cred"
        self.assertEqual(
            self.gateway.call("PUT", path, credential("other")).value["id"], "jwt-auth-consumer-cred"
        )
        self.assertEqual(self.gateway.call("GET", CREDENTIAL).value["plugins"], CREDENTIAL_BODY["plugins"])

    def test_type_is_fixed(self) -> None:
        """A service cannot become one of another type."""
        words = 'Error at "/type": the type is fixed at creation, it is http'
        self._refused(
            "/services/jwt-auth-httpbin-service",
            {**SERVICE_BODY, "type": "stream", "upstream": {"nodes": []}},
            400,
            words,
        )

    def test_global_rule(self) -> None:
        """A global rule holds one plugin and is called like it."""
        config = {"count": 1}
        self._refused(
            "/global_rules/x",
            {"plugins": {"limit-count": config}},
            400,
            'Error at "/plugins": the rule\'s id "x" is not the name of its plugin',
        )
        for plugins in ({}, {"limit-count": config, "jwt-auth": {}}):
            self._refused(
                "/global_rules/limit-count",
                {"plugins": plugins},
                400,
                'Error at "/plugins": exactly one plugin is needed',
            )
        reply = self.gateway.call(
            "PUT", ADMIN + "/global_rules/limit-count", {"plugins": {"limit-count": config}}
        )
        self.assertEqual(reply.status, 200)

    def test_ids(self) -> None:
        """An id in the body must be the one in the path, whatever name it has there."""
        for path, body, member in (
            (ROUTE, ROUTE_BODY, "id"),
            (ROUTE, ROUTE_BODY, "route_id"),
            (SERVICE, SERVICE_BODY, "id"),
            (SERVICE, SERVICE_BODY, "service_id"),
            (CREDENTIAL, CREDENTIAL_BODY, "id"),
            (CONSUMER, CONSUMER_BODY, "username"),
        ):
            own = path.rpartition("/")[2]
            self.assertEqual(self.gateway.call("PUT", path, {**body, member: own}).status, 200)
            reply = self.gateway.call("PUT", path, {**body, member: "other"})
            self.assertEqual(reply.status, 400)
            self.assertEqual(
                reply.error, f'Error at "/{member}": the id in the body is not the one in the path'
            )

    def test_expression(self) -> None:
        """A route's expression is checked before it is stored."""
        self.assertEqual(
            self.gateway.call("PUT", ROUTE, {**ROUTE_BODY, "vars": [["arg_a", "==", "b"]]}).status, 200
        )
        reply = self.gateway.call("PUT", ROUTE, {**ROUTE_BODY, "vars": [["arg_a", "frob", "b"]]})
        self.assertEqual(reply.status, 400)
        self.assertTrue(reply.error.startswith("failed to validate the 'vars' expression: "), reply.error)

    def test_bad_ids(self) -> None:
        """An id has 1 to 256 letters, digits, dots, dashes or underscores."""
        for id in ("*", "a%20b", "a%2Fb%3F", "x" * 257, "%E2%82%AC"):
            reply = self.gateway.call("PUT", f"{ADMIN}/services/{id}", SERVICE_BODY)
            self.assertIn(reply.status, (400, 404), id)
            self.assertEqual(self.gateway.call("GET", f"{ADMIN}/services/{id}").status, 404)
        self.assertEqual(self.gateway.call("PUT", f"{ADMIN}/services/{'x' * 256}", SERVICE_BODY).status, 200)
        self.assertEqual(self.gateway.call("PUT", f"{ADMIN}/services/a-Z_0.9", SERVICE_BODY).status, 200)
        self.assertEqual(self.gateway.call("PUT", f"{ADMIN}/consumers/a.b", {}).status, 400)


class DuplicateKeyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.gateway = Gateway()
        for name in ("jack", "jill"):
            self.gateway.call("PUT", f"{ADMIN}/consumers/{name}", {})

    def _put(self, path: str, body: object) -> str:
        reply = self.gateway.call("PUT", f"{ADMIN}/consumers/{path}", body)
        return "" if reply.status == 200 else reply.error

    def test_two_credentials(self) -> None:
        """A key has one owner in a group, also among one consumer's credentials."""
        words = "duplicate key of plugin jwt-auth found with credential: a of consumer: jack"
        self.assertEqual(self._put("jack/credentials/a", credential("k")), "")
        self.assertEqual(self._put("jack/credentials/a", credential("k")), "")
        self.assertEqual(self._put("jill/credentials/a", credential("k")), words)
        self.assertEqual(self._put("jack/credentials/b", credential("k")), words)
        self.assertEqual(self._put("jill/credentials/a", credential("k", "key-auth")), "")

    def test_consumers(self) -> None:
        """A key on a consumer counts too, but not against that consumer's credentials."""
        body = {"plugins": {"jwt-auth": {"key": "k", "secret": "s"}}}
        words = "duplicate key of plugin jwt-auth found with consumer: jack"
        self.assertEqual(self._put("jack", body), "")
        self.assertEqual(self._put("jill", body), words)
        self.assertEqual(self._put("jill/credentials/a", credential("k")), words)
        self.assertEqual(self._put("jack/credentials/a", credential("k")), "")
        self.assertEqual(self._put("jack", body), "")

    def test_freed_keys(self) -> None:
        """A key is free again once its credential changed, or is gone, or its consumer is."""
        self._put("jack/credentials/a", credential("k"))
        self._put("jack/credentials/a", credential("other"))
        self.assertEqual(self._put("jill/credentials/a", credential("k")), "")
        self.gateway.call("DELETE", f"{ADMIN}/consumers/jill/credentials/a")
        self.assertEqual(self._put("jack/credentials/a", credential("k")), "")
        self.gateway.call("DELETE", f"{ADMIN}/consumers/jack")
        self.assertEqual(self._put("jill/credentials/a", credential("k")), "")

    def test_references_are_skipped(self) -> None:
        """What a reference stands for is not known here, so it is nobody's duplicate."""
        self.assertEqual(self._put("jack/credentials/a", credential("$env://KEY")), "")
        self.assertEqual(self._put("jill/credentials/a", credential("$env://KEY")), "")

    def test_concurrent_writers(self) -> None:
        """Of two writers who want the same free key at the same time, one gets it."""
        waiting: Deferred[None] = Deferred()
        self.gateway.publisher.waiting = waiting
        starts = [
            self.gateway.start("PUT", f"{ADMIN}/consumers/{name}/credentials/a", credential("k"))
            for name in ("jack", "jill")
        ]
        self.gateway.agent.flush()
        self.gateway.publisher.waiting = None
        waiting.callback(None)
        self.gateway.agent.flush()
        self.assertEqual([self.successResultOf(start).code for start in starts], [200, 400])


class CascadeTests(SynchronousTestCase):
    def test_service(self) -> None:
        """A service takes its routes along, in one revision; other routes stay."""
        gateway = Gateway()
        gateway.seed()
        gateway.call("PUT", ADMIN + "/services/other", SERVICE_BODY)
        gateway.call("PUT", ADMIN + "/routes/other", {**ROUTE_BODY, "service_id": "other"})
        revision = gateway.control.state.revision
        reply = gateway.call("DELETE", SERVICE)
        self.assertEqual(reply.field("X-Gateway-Revision"), str(revision + 1))
        self.assertEqual(gateway.call("GET", ROUTE).status, 404)
        self.assertEqual(gateway.call("GET", ADMIN + "/routes/other").status, 200)

    def test_consumer(self) -> None:
        """A consumer takes its credentials along, and only its own."""
        gateway = Gateway()
        gateway.seed()
        gateway.call("PUT", CONSUMER + "2", {})
        gateway.call("PUT", CONSUMER + "2/credentials/c", credential("k"))
        gateway.call("DELETE", CONSUMER)
        self.assertEqual(len(gateway.control.state.all("default", "credential")), 1)
        gateway.call("PUT", CONSUMER, {})
        self.assertEqual(gateway.call("GET", CONSUMER + "/credentials").json["total"], 0)


class FailureTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.gateway = Gateway()
        self.gateway.seed()

    def test_cannot_be_served(self) -> None:
        """What could not be served is refused in the words of a check, and not stored."""
        problem = Problem(
            ("route", "jwt-auth-route", "vars"), "expression", "failed to validate the 'vars' expression: x"
        )
        self.gateway.publisher.fault = ConfigErrors([problem])
        reply = self.gateway.call("PUT", ROUTE, ROUTE_BODY)
        self.assertEqual((reply.status, reply.error), (400, problem.message))
        self.assertEqual(reply.json["errors"][0]["pointer"], "/vars")

    def test_removal_cannot_be_served(self) -> None:
        """The same holds for a removal."""
        self.gateway.publisher.fault = ConfigErrors([Problem(("route", "r"), "value", "no")])
        self.assertEqual(self.gateway.call("DELETE", ROUTE).status, 400)

    def test_store_unavailable(self) -> None:
        """A store that does not take the write is 503; what is served stays."""
        self.gateway.store.close()
        reply = self.gateway.call("PUT", ROUTE, ROUTE_BODY)
        self.assertEqual(reply.status, 503)
        self.assertIn("not open", reply.error)
        self.assertEqual(self.gateway.call("GET", ROUTE).status, 200)
        self.gateway.publisher.fault = StoreUnavailable("no")
        self.assertEqual(self.gateway.call("DELETE", ROUTE).status, 503)

    def test_bug(self) -> None:
        """A bug is answered 500 without details, and logged."""
        self.gateway.publisher.fault = RuntimeError("hunter2")
        reply = self.gateway.call("PUT", ROUTE, ROUTE_BODY)
        self.assertEqual((reply.status, reply.json), (500, {"error_msg": "internal error"}))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_client_hangs_up(self) -> None:
        """A write whose client is gone is still published, and the next one is not blocked."""
        waiting: Deferred[None] = Deferred()
        self.gateway.publisher.waiting = waiting
        start = self.gateway.start("PUT", ROUTE, {**ROUTE_BODY, "desc": "x"})
        self.gateway.agent.flush()
        start.cancel()
        self.gateway.agent.flush()
        self.failureResultOf(start)
        published = len(self.gateway.publisher.published)
        self.gateway.publisher.waiting = None
        waiting.callback(None)
        self.assertEqual(len(self.gateway.publisher.published), published + 1)
        self.assertEqual(self.gateway.call("GET", ROUTE).value["desc"], "x")
        self.assertEqual(self.gateway.call("PUT", ROUTE, ROUTE_BODY).status, 200)


class RevisionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.gateway = Gateway()
        self.gateway.seed()

    def test_revision_field(self) -> None:
        """Every answer tells a revision: a write its own, a read the one it shows."""
        revision = self.gateway.control.state.revision
        self.assertEqual(self.gateway.call("GET", ROUTE).field("X-Gateway-Revision"), str(revision))
        reply = self.gateway.call("PUT", ROUTE, ROUTE_BODY)
        self.assertEqual(reply.field("X-Gateway-Revision"), str(revision + 1))
        self.assertEqual(reply.field("ETag"), f'"{revision + 1}"')
        self.assertEqual(self.gateway.call("GET", ROUTE).field("ETag"), f'"{revision + 1}"')

    def test_author_and_reason(self) -> None:
        """The log of revisions names the token and the words the writer gave."""
        token = self.gateway.call("POST", "/api/tokens", {"name": "ci"}).value["token"]
        self.gateway.call("PUT", ROUTE, ROUTE_BODY, token=token, headers={"X-Gateway-Reason": "ticket 7"})
        found = self.gateway.call("GET", "/api/revisions?limit=1").json["list"][0]
        self.assertEqual((found["author"], found["reason"]), ("ci", "ticket 7"))

    def test_conditional_writes(self) -> None:
        """A write made for another revision is 412, and changes nothing."""
        tag = str(self.gateway.call("GET", ROUTE).field("ETag"))
        for method, body in (
            ("PUT", {**ROUTE_BODY, "desc": "x"}),
            ("PATCH", {"desc": "x"}),
            ("DELETE", None),
        ):
            reply = self.gateway.call(method, ROUTE, body, headers={"If-Match": '"1"'})
            self.assertEqual(reply.status, 412)
        self.assertEqual(self.gateway.call("GET", ROUTE).field("ETag"), tag)
        self.assertEqual(self.gateway.call("PUT", ROUTE, ROUTE_BODY, headers={"If-Match": tag}).status, 200)
        self.assertEqual(self.gateway.call("PUT", ROUTE, ROUTE_BODY, headers={"If-Match": tag}).status, 412)
        self.assertEqual(
            self.gateway.call("PUT", ROUTE, ROUTE_BODY, headers={"If-None-Match": "*"}).status, 412
        )
        new = ADMIN + "/routes/new"
        self.assertEqual(self.gateway.call("PUT", new, ROUTE_BODY, headers={"If-Match": "*"}).status, 412)
        self.assertEqual(
            self.gateway.call("PUT", new, ROUTE_BODY, headers={"If-None-Match": "*"}).status, 200
        )
