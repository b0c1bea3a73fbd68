from __future__ import annotations

import json
from urllib.parse import urlencode

from twisted.internet.defer import succeed
from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import ConfigErrors, Problem
from gateway.model import route, service
from tests.admin.kit import Gateway


class ControlPlaneTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.gateway = Gateway()

    def test_version(self) -> None:
        """The version is new enough for clients to validate and to use a service's upstreams."""
        value = self.gateway.call("GET", "/api/version").value
        self.assertGreaterEqual(tuple(map(int, value.split("."))), (3, 9, 10))

    def test_status(self) -> None:
        """The status is what the gateway says of itself."""
        self.assertEqual(self.gateway.call("GET", "/api/status").json, {"value": {"ok": True}})

    def test_core_schemas(self) -> None:
        """The published schemas are those that documents are checked by."""
        value = self.gateway.call("GET", "/api/schema/core").value
        self.assertEqual(
            sorted(value),
            ["consumer", "consumer_credential", "global_rule", "plugin_metadata", "route", "service", "ssl",
             "stream_route", "stream_service", "upstream"],
        )  # fmt: skip
        self.assertEqual(value["route"], json.loads(json.dumps(route.SCHEMA)))
        self.assertEqual(value["stream_service"], json.loads(json.dumps(service.STREAM_SCHEMA)))

    def test_methods(self) -> None:
        """What only reads is only read."""
        for path in (
            "/api/version",
            "/api/status",
            "/api/schema/core",
            "/api/revisions",
            "/apisix/admin/plugins/list",
        ):
            reply = self.gateway.call("DELETE", path)
            self.assertEqual((reply.status, reply.field("Allow")), (405, "GET, HEAD"))
        self.assertEqual(self.gateway.call("PUT", "/api/explain").field("Allow"), "GET, HEAD, POST")


class RevisionTests(SynchronousTestCase):
    def test_history(self) -> None:
        """The log tells who changed what, newest first, in pages, and shows no document."""
        gateway = Gateway()
        gateway.seed()
        gateway.call("DELETE", "/apisix/admin/consumers/jwt-auth-consumer")
        reply = gateway.call("GET", "/api/revisions?limit=2")
        self.assertEqual([each["revision"] for each in reply.json["list"]], [6, 5])
        self.assertEqual(
            reply.json["list"][0]["changes"],
            [
                {
                    "kind": "credential",
                    "id": "jwt-auth-consumer-cred",
                    "consumer": "jwt-auth-consumer",
                    "gateway_group_id": "default",
                    "did": "removed",
                },
                {
                    "kind": "consumer",
                    "id": "jwt-auth-consumer",
                    "gateway_group_id": "default",
                    "did": "removed",
                },
            ],
        )
        self.assertNotIn(b"my-shared-secret", gateway.call("GET", "/api/revisions").raw)
        before = gateway.call("GET", "/api/revisions?before=3&gateway_group_id=default").json["list"]
        self.assertEqual([each["revision"] for each in before], [2])
        routes = gateway.call("GET", "/api/revisions?kind=route&id=jwt-auth-route").json["list"]
        self.assertEqual([each["revision"] for each in routes], [3])
        for query in ("limit=0", "limit=1001", "before=x"):
            self.assertEqual(gateway.call("GET", "/api/revisions?" + query).status, 400)

    def test_without_history(self) -> None:
        """A gateway without a log has no such page."""
        self.assertEqual(Gateway(history=None).call("GET", "/api/revisions").status, 404)


class ExplainTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.gateway = Gateway()

    def test_query(self) -> None:
        """A request can be described in the query."""
        query = [("method", "PUT"), ("url", "/a?b=c"), ("header", "A: b:c=d"), ("header", "A:2")]
        query.append(("headers", json.dumps({"X": ["1", "2"], "Y": "3"})))
        reply = self.gateway.call("GET", "/api/explain?" + urlencode(query))
        self.assertEqual((reply.status, reply.value), (200, {"outcome": "forwarded"}))
        headers = [("A", "b:c=d"), ("A", "2"), ("X", "1"), ("X", "2"), ("Y", "3")]
        self.assertEqual(self.gateway.asked, [{"method": "PUT", "url": "/a?b=c", "headers": headers}])

    def test_body(self) -> None:
        """Or in a document, where a token does not end up in a log."""
        body = {"url": "http://h/a", "headers": {"A": "b"}, "client_ip": "192.0.2.1"}
        self.assertEqual(self.gateway.call("POST", "/api/explain", body).status, 200)
        expected = {"method": "GET", "url": "http://h/a", "headers": [("A", "b")], "client_ip": "192.0.2.1"}
        self.assertEqual(self.gateway.asked, [expected])

    def test_content(self) -> None:
        """The request may have content: text as it is sent, or a value that is sent as JSON."""
        form = {"url": "/", "method": "POST", "headers": {"Content-Type": "text/plain"}, "body": "a=b"}
        json_body = {"url": "/", "method": "POST", "body": {"a": [1, "é"]}}
        for body in (form, json_body):
            self.assertEqual(self.gateway.call("POST", "/api/explain", body).status, 200)
        self.assertEqual(self.gateway.call("GET", "/api/explain?url=/&body=a%3Db").status, 200)
        self.assertEqual([asked["body"] for asked in self.gateway.asked], ["a=b", '{"a":[1,"é"]}', "a=b"])
        self.assertEqual(self.gateway.asked[1]["headers"], [("Content-Type", "application/json")])

    def test_bad_questions(self) -> None:
        """What describes no request is 400."""
        for body in (
            {},
            {"url": 1},
            {"url": ""},
            {"url": "http://h:x/"},
            {"url": "http://[::1/"},
            {"url": "/", "method": []},
            {"url": "/", "client_ip": "localhost"},
            {"url": "/", "client_ip": "192.0.2.300"},
            {"url": "/", "headers": {"a": 1}},
            {"url": "/", "headers": [["a"]]},
            {"url": "/", "headers": "x"},
            {"url": "/", "headers": {"a": ["x"] * 500}},
        ):
            self.assertEqual(self.gateway.call("POST", "/api/explain", body).status, 400, body)
        for query in ("url=/&header=x", "url=/&header=:x", "url=/&headers=x", "url=/&headers=[1]", ""):
            self.assertEqual(self.gateway.call("GET", "/api/explain?" + query).status, 400, query)

    def test_refused(self) -> None:
        """What no client could send is refused in the words of a check."""

        def explain(query: object) -> object:
            raise ConfigErrors([Problem(("url",), "value", "no client can send this")])

        reply = Gateway(explain=explain).call("GET", "/api/explain?url=/")
        self.assertEqual((reply.status, reply.error), (400, 'Error at "/url": no client can send this'))

    def test_waiting(self) -> None:
        """An answer may take its time."""
        gateway = Gateway(explain=lambda query: succeed({"a": 1}))
        self.assertEqual(gateway.call("GET", "/api/explain?url=/").value, {"a": 1})


class PluginPageTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.gateway = Gateway()

    def test_names(self) -> None:
        """The list is a bare array of names, in the order the plugins run."""
        reply = self.gateway.call("GET", "/apisix/admin/plugins/list", query="")
        self.assertEqual(reply.json, ["jwt-auth", "key-auth", "limit-count"])

    def test_all(self) -> None:
        """Every plugin is there with its schemas."""
        pages = self.gateway.call("GET", "/apisix/admin/plugins?all=true").json
        self.assertEqual(list(pages), ["jwt-auth", "key-auth", "limit-count"])
        self.assertEqual((pages["jwt-auth"]["priority"], pages["jwt-auth"]["type"]), (2510, "auth"))
        self.assertIn("consumer_schema", pages["jwt-auth"])
        self.assertNotIn("consumer_schema", pages["limit-count"])
        self.assertEqual(self.gateway.call("GET", "/apisix/admin/plugins", query="subsystem=stream").json, {})

    def test_one(self) -> None:
        """A plugin's schema is served bare, and so is that of its credentials."""
        for path in ("/apisix/admin/plugins/jwt-auth", "/apisix/admin/schema/plugins/jwt-auth"):
            schema = self.gateway.call("GET", path).json
            self.assertIn("_meta", schema["properties"])
            self.assertIn("header", schema["properties"])
            self.assertIn(
                "secret", self.gateway.call("GET", path, query="schema_type=consumer").json["properties"]
            )
        for path, query, status in (
            ("none", "", 404),
            ("jwt-auth", "subsystem=stream", 404),
            ("jwt-auth", "subsystem=x", 400),
            ("limit-count", "schema_type=consumer", 400),
            ("limit-count", "schema_type=metadata", 400),
        ):
            self.assertEqual(
                self.gateway.call("GET", f"/apisix/admin/plugins/{path}", query=query).status, status
            )
