"""What the apisix dialect says about documents that do not fit (Admin API contract §4.8, §5)."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway.admin.apisix_errors import ApisixErrors, first
from gateway.admin.apisix_kinds import APISIX_KINDS
from gateway.admin.refusals import BadBody, NotAllowed, NotFound, Stale, TooLarge
from gateway.model.schema import Checker
from tests.admin.apisix_kit import UPSTREAM, ApisixGateway
from tests.admin.kit import registry

LONG = "a" * 257
NODES = 'property "upstream" validation failed: property "nodes" validation failed: '
NONE = "object matches none of the required"

ROUTES: tuple[tuple[dict[str, Any], str], ...] = (
    ({"plugins": {}}, "allOf 1 failed: value should match only one schema, but matches none"),
    (
        {"uri": "/a", "uris": ["/b"], "plugins": {}},
        "allOf 1 failed: value should match only one schema, but matches both schemas 1 and 2",
    ),
    ({"uri": "/a", "plugins": {}, "urii": 1}, "additional properties forbidden, found urii"),
    (
        {"uri": "/a", "plugins": {}, "methods": ["POST", "PUSH"]},
        'property "methods" validation failed: failed to validate item 2: matches none of the enum values',
    ),
    (
        {"uri": "/a", "plugins": {}, "methods": ["GET", "GET"]},
        'property "methods" validation failed: expected unique items but items 1 and 2 are equal',
    ),
    ({"uri": 1, "plugins": {}}, 'property "uri" validation failed: wrong type: expected string, got number'),
    (
        {"uri": "", "plugins": {}},
        'property "uri" validation failed: string too short, expected at least 1, got 0',
    ),
    (
        {"uri": "/a", "plugins": {}, "name": LONG},
        'property "name" validation failed: string too long, expected at most 256, got 257',
    ),
    (
        {"uris": [], "plugins": {}},
        'property "uris" validation failed: expect array to have at least 1 items',
    ),
    (
        {"uri": "/a", "plugins": {}, "remote_addr": "127.0.0.300"},
        f'property "remote_addr" validation failed: {NONE}',
    ),
    ({"uri": "/a", "plugins": {}, "remote_addr": "::g"}, f'property "remote_addr" validation failed: {NONE}'),
    (
        {"uri": "/a", "plugins": {}, "remote_addr": ":::::1"},
        f'property "remote_addr" validation failed: {NONE}',
    ),
    (
        {"uri": "/a", "plugins": {}, "remote_addrs": ["::1", "1.2.3.4/33"]},
        f'property "remote_addrs" validation failed: failed to validate item 2: {NONE}',
    ),
    (
        {"uri": "/a", "plugins": {}, "host": "a b"},
        r'property "host" validation failed: failed to match pattern '
        r'"^\*$|^\*?[0-9a-zA-Z-._\[\]:]+$" with "a b"',
    ),
    (
        {"uri": "/a", "plugins": {}, "priority": 1.5},
        'property "priority" validation failed: wrong type: expected integer, got number',
    ),
    (
        {"uri": "/a", "plugins": {}, "status": 2},
        'property "status" validation failed: matches none of the enum values',
    ),
    (
        {"uri": "/a", "plugins": {}, "timeout": {"connect": 1, "send": 1}},
        'property "timeout" validation failed: property "read" is required',
    ),
    (
        {"uri": "/a", "plugins": {}, "timeout": {"connect": 1, "send": 1, "read": 0}},
        'property "timeout" validation failed: property "read" validation failed: expected 0 to '
        "be greater than 0",
    ),
    (
        {"uri": "/a", "plugins": {}, "labels": {"env": 1}},
        'property "labels" validation failed: failed to validate env (matching ".*"): '
        "wrong type: expected string, got number",
    ),
    (
        {"uri": "/a", "plugins": {}, "labels": {"env": "a b"}},
        'property "labels" validation failed: failed to validate env (matching ".*"): '
        r'failed to match pattern "^\S+$" with "a b"',
    ),
    (
        {"uri": "/a", "plugins": []},
        'property "plugins" validation failed: wrong type: expected object, got table',
    ),
    ({"uri": "/a", "service_id": ""}, f'property "service_id" validation failed: {NONE}'),
    ({"uri": "/a", "service_id": 0}, f'property "service_id" validation failed: {NONE}'),
    (
        {"uri": "/a", "upstream": {"type": "roundrobin"}},
        'property "upstream" validation failed: value should match only one schema, but matches none',
    ),
    (
        {"uri": "/a", "upstream": {**UPSTREAM, "service_name": "s", "discovery_type": "dns"}},
        'property "upstream" validation failed: value should match only one schema, but matches '
        "both schemas 1 and 2",
    ),
    ({"uri": "/a", "upstream": {"nodes": {"a:1": -1}}}, NODES + NONE),
    ({"uri": "/a", "upstream": {"nodes": [{"host": "a", "port": 1}]}}, NODES + NONE),
    (
        {"uri": "/a", "upstream": {**UPSTREAM, "retries": -1}},
        'property "upstream" validation failed: property "retries" validation failed: expected '
        "-1 to be at least 0",
    ),
    (
        {"uri": "/a", "upstream": {**UPSTREAM, "checks": {"passive": {}}}},
        'property "upstream" validation failed: property "checks" validation failed: '
        f'{NONE}: ["active"] or ["active","passive"]',
    ),
    (
        {"uri": "/a", "upstream": {**UPSTREAM, "tls": {"client_cert": "c" * 128}}},
        'property "upstream" validation failed: property "tls" validation failed: '
        'failed to validate dependent schema for "client_cert": property "client_key" is required',
    ),
    ({"uri": "/a", "script": "return 1 -- a", "plugins": {}}, "value wasn't supposed to match schema"),
    (
        {"uri": "/a"},
        f'{NONE}: ["plugins","uri"] or ["upstream","uri"] or ["upstream_id","uri"] or '
        '["service_id","uri"] or '
        '["plugins","uris"] or ["upstream","uris"] or ["upstream_id","uris"] or ["service_id","uris"] or '
        '["script","uri"] or ["script","uris"]',
    ),
    # What is told first: members before what they must be together.
    ({"uri": "/a", "desc": 1}, 'property "desc" validation failed: wrong type: expected string, got number'),
)

OTHERS: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("consumers", {}, 'property "username" is required'),
    (
        "consumers",
        {"username": "a.b"},
        r'property "username" validation failed: failed to match pattern "^[a-zA-Z0-9_\-]+$" with "a.b"',
    ),
    (
        "consumers/a/credentials",
        {"plugins": {"a": {}, "b": {}}},
        'property "plugins" validation failed: expect object to have at most 1 properties',
    ),
    ("global_rules", {}, 'property "plugins" is required'),
    ("plugin_configs", {"plugins": {}, "uri": "/"}, "additional properties forbidden, found uri"),
    ("protos", {}, 'property "content" is required'),
    ("ssls", {"cert": "c" * 128, "key": "k" * 64}, "then clause did not match"),
    ("ssls", {"type": "client"}, "else clause did not match"),
    (
        "ssls",
        {"cert": "c" * 12, "key": "k" * 64, "sni": "a.test"},
        'property "cert" validation failed: string too short, expected at least 128, got 12',
    ),
    (
        "ssls",
        {"cert": "c" * 128, "key": "k" * 64, "sni": "a.test", "ssl_protocols": ["TLSv1.0"]},
        'property "ssl_protocols" validation failed: failed to validate item 1: matches none of '
        "the enum values",
    ),
    (
        "stream_routes",
        {"server_port": 0},
        'property "server_port" validation failed: expected 0 to be at least 1',
    ),
    ("stream_routes", {"protocol": {}}, 'property "protocol" validation failed: property "name" is required'),
    ("secrets/vault", {"uri": "http://a", "prefix": "p"}, 'property "token" is required'),
    ("secrets/gcp", {}, "value should match only one schema, but matches none"),
)


class WordsTests(SynchronousTestCase):
    def test_routes(self) -> None:
        """A route that does not fit is refused in the words that clients know, nested from outside in."""
        gateway = ApisixGateway()
        for body, text in ROUTES:
            with self.subTest(text=text):
                self.assertEqual(gateway.refused("PUT", "/routes/1", body), f"invalid configuration: {text}")

    def test_other_kinds(self) -> None:
        """So is everything else."""
        gateway = ApisixGateway()
        gateway.put("/consumers", {"username": "a"})
        for path, body, text in OTHERS:
            with self.subTest(path=path, text=text):
                path = path if path == "consumers" else f"{path}/1"
                self.assertEqual(gateway.refused("PUT", f"/{path}", body), f"invalid configuration: {text}")

    def test_ids(self) -> None:
        """An id has up to 64 characters and only safe ones."""
        gateway = ApisixGateway()
        text = f'invalid configuration: property "id" validation failed: {NONE}'
        for id in ("a" * 65, "a*b", "*"):
            body = {"uri": "/a", "plugins": {}}
            self.assertEqual(gateway.refused("PUT", f"/routes/{id}", body), text)
        for number in (0, -1, True):
            body = {"uri": "/a", "plugins": {}, "id": number}
            self.assertEqual(gateway.refused("PUT", "/routes", body), text)
        gateway.put("/routes/" + "a" * 64, {"uri": "/a", "plugins": {}})

    def test_secrets(self) -> None:
        """A reference to a secret passes every check of a text; a secret is never repeated."""
        gateway = ApisixGateway()
        body = {
            "uri": "/a",
            "upstream": {**UPSTREAM, "tls": {"client_cert": "$env://C", "client_key": "$ENV://K"}},
        }
        self.assertEqual(gateway.send("PUT", "/routes/1", body).status, 201)
        limit = {"count": 1, "redis_password": "Hunter2-Hunter2"}
        text = gateway.refused("PUT", "/routes/1", {"uri": "/a", "plugins": {"limit-count": limit}})
        self.assertIn('err: property "redis_password" validation failed: failed to match pattern', text)
        self.assertNotIn("Hunter2", text)

    def test_order_of_keywords(self) -> None:
        """Of several problems the one is told that stands first in the order of checks."""
        schema = {
            "type": "object",
            "anyOf": [{"required": ["z"]}],
            "additionalProperties": False,
            "properties": {"a": {"type": "string"}},
            "required": ["b"],
        }
        checker = Checker(schema)
        for document, rule in (
            ({"a": 1, "x": 1}, "required"),
            ({"a": 1, "x": 1, "b": 1}, "type"),
            ({"a": "", "x": 1, "b": 1}, "additionalProperties"),
        ):
            self.assertEqual(first(checker.problems(document)).rule, rule)


class AnswerTests(SynchronousTestCase):
    def test_statuses(self) -> None:
        """Each kind of refusal has its status and its members."""
        errors = ApisixErrors(registry())
        for refusal, status, body in (
            (NotFound(), 404, {"message": "Key not found"}),
            (NotFound("consumer"), 404, {"error_msg": "consumer not found"}),
            (BadBody("no"), 400, {"error_msg": "no"}),
            (NotAllowed(["GET"]), 405, {"error_msg": "method not allowed"}),
        ):
            answer = errors.answer(refusal)
            self.assertEqual((answer.status, answer.body), (status, body))
        self.assertEqual(errors.answer(Stale()).status, 412)
        self.assertIn(
            "request size 9 is greater than the maximum size 8", str(errors.answer(TooLarge(8, 9)).body)
        )

    def test_every_schema(self) -> None:
        """Every kind has a schema that forbids members nobody knows, or leaves its members to others."""
        for kind in APISIX_KINDS.values():
            if kind.name not in ("secret", "plugin_metadata"):
                self.assertIs(kind.schema["additionalProperties"], False, kind.name)
