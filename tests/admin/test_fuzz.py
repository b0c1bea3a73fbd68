"""Whatever is sent, wherever to: the Admin API answers, in JSON, and is never at fault."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.admin.kit import GUIDE, Gateway

PATHS = [
    *(path for path, _ in GUIDE),
    *(path.rpartition("/")[0] for path, _ in GUIDE),
    "/apisix/admin/global_rules/limit-count",
    "/api/tokens",
    "/api/tokens/none",
    "/api/gateway_groups",
    "/api/gateway_groups/default",
    "/api/explain",
    "/api/revisions",
    "/apisix/admin/plugins",
    "/apisix/admin/plugins/jwt-auth",
]
NAMES = st.sampled_from(
    [
        "name",
        "id",
        "plugins",
        "upstream",
        "nodes",
        "paths",
        "service_id",
        "username",
        "labels",
        "type",
        "jwt-auth",
        "limit-count",
        "key",
        "secret",
        "count",
        "_meta",
        "priority",
        "methods",
        "hosts",
        "op",
        "path",
        "value",
        "from",
        "checks",
        "active",
        "timeout",
        "url",
        "headers",
        "expires_at",
        "desc",
        "vars",
        "",
    ]
)
PARAMETERS = st.sampled_from(
    [
        "page",
        "page_size",
        "search",
        "order_by",
        "direction",
        "label",
        "labels[a]",
        "service_id",
        "hosts",
        "type",
        "plugin_name",
        "name",
        "limit",
        "before",
        "kind",
        "id",
        "headers",
        "url",
    ]
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    | st.sampled_from(
        ["a", "/", "jwt-auth-httpbin-service", "stream", "GET", "$env://A", "add", "/name", "http"]
    )
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=12,
)
METHODS = st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "FROB"])
QUICK = settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))


class FuzzTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.gateway = Gateway()
        self.gateway.seed()

    def _send(self, method: str, path: str, body: Any, **more: Any) -> None:
        reply = self.gateway.call(method, path, body, **more)
        self.assertLess(reply.status, 500, (method, path, body, reply.raw))
        self.assertEqual(reply.field("Content-Type"), "application/json")
        if method != "HEAD":
            json.loads(reply.raw)

    @QUICK
    @given(METHODS, st.sampled_from(PATHS), JSON)
    def test_any_value(self, method: str, path: str, value: Any) -> None:
        """Any JSON value at any path."""
        self._send(method, path, json.dumps(value).encode())

    @QUICK
    @given(st.sampled_from([(path, body) for path, body in GUIDE]), NAMES, JSON)
    def test_near_misses(self, call: tuple[str, dict[str, Any]], name: str, value: Any) -> None:
        """A good document with one member replaced by anything."""
        path, body = call
        for method in ("PUT", "PATCH"):
            self._send(method, path, json.dumps({**body, name: value}).encode())
        for part in ("upstream", "plugins"):
            if part in body:
                self._send("PUT", path, json.dumps({**body, part: {**body[part], name: value}}).encode())

    @QUICK
    @given(st.sampled_from(["PUT", "POST", "PATCH"]), st.sampled_from(PATHS), st.binary(max_size=80))
    def test_any_bytes(self, method: str, path: str, raw: bytes) -> None:
        """Any bytes at any path."""
        self._send(method, path, raw)

    @QUICK
    @given(METHODS, st.lists(st.binary(max_size=8), max_size=5), st.binary(max_size=10))
    def test_any_path(self, method: str, parts: list[bytes], query: bytes) -> None:
        """Any path below any root, and any query."""
        for root in ("/", "/apisix/admin/", "/api/", "/apisix/admin/consumers/"):
            path = root + "/".join(quote(part, safe="") for part in parts)
            self._send(method, path, {}, query="gateway_group_id=default&" + quote(query, safe="&=%+"))

    @QUICK
    @given(
        st.dictionaries(
            PARAMETERS, st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.integers().map(str)
        )
    )
    def test_any_parameter(self, query: dict[str, str]) -> None:
        """Any value of any query parameter of every list."""
        for path in PATHS:
            self._send("GET", path, None, query=urlencode({"gateway_group_id": "default", **query}))
