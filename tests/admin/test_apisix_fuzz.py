"""Whatever is sent, wherever to: the apisix dialect answers in JSON, and is never at fault."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.admin.apisix_kinds import APISIX_KINDS
from gateway.model.apisix import secret
from gateway.model.schema import Schema
from tests.admin.apisix_kit import ADMIN, UPSTREAM, ApisixGateway

PATHS = [
    *(f"/{path}{id}" for path in APISIX_KINDS for id in ("", "/1", "/1/plugins/x")),
    *("/consumers/a/credentials", "/consumers/a/credentials/1", "/secrets/vault/1", "/secrets/bank/1"),
    *(
        "/plugin_metadata/limit-count",
        "/configs",
        "/configs/validate",
        "/schema/route",
        "/schema/validate/ssls",
    ),
    *("/plugins", "/plugins/list", "/plugins/jwt-auth", "/plugins/reload", "/nothing", "//", "/%2F/%00"),
]
METHODS = st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "FROB"])
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(
        ["a", "/", "1", "GET", "$env://A", "127.0.0.1", "jwt-auth", "function() end", "::", "é"]
    )
)
QUICK = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))


def _members(schema: Schema, depth: int = 0) -> set[str]:
    found = set(schema.get("properties", {}))
    for inner in schema.get("properties", {}).values():
        if depth < 3:
            found |= _members(inner, depth + 1)
    return found


KNOWN = sorted(
    {*("", "key", "x", "id"), *(name for kind in APISIX_KINDS.values() for name in _members(kind.schema))}
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KNOWN), inner, max_size=5),
    max_leaves=12,
)


def fitting(schema: Schema) -> st.SearchStrategy[Any]:
    """Documents that mostly fit a schema, and here and there do not."""
    if "anyOf" in schema and "properties" not in schema:
        return st.one_of(*(fitting(branch) for branch in schema["anyOf"]))
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema.get("type"):
        case "object":
            members = {name: fitting(member) for name, member in schema.get("properties", {}).items()}
            if not members:
                return st.dictionaries(st.sampled_from(["limit-count", "a:1", "x"]), JSON, max_size=2)
            needed = {name: members.pop(name) for name in schema.get("required", ())}
            return st.fixed_dictionaries(needed, optional=members)
        case "array":
            return st.lists(fitting(schema.get("items", {"type": "string"})), max_size=2)
        case "integer" | "number":
            return st.integers(-1, 70000) | st.just(1.5)
        case "boolean":
            return st.booleans()
    return (
        st.sampled_from(["a", "/a", "1", "127.0.0.1", "::1/64", "GET", "c" * 128, "$secret://v/1/k", ""])
        | LEAVES
    )


class FuzzTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.gateway = ApisixGateway()
        self.gateway.put("/consumers", {"username": "a"})
        self.gateway.put("/routes/1", {"uri": "/a", "upstream": UPSTREAM})

    def check(self, method: str, path: str, body: Any) -> None:
        reply = self.gateway.call(method, f"/apisix/admin{path}", body, query="", token=ADMIN)
        self.assertLess(reply.status, 500, (method, path, body, reply.raw))
        if reply.raw and reply.field("content-type") == "application/json" and reply.raw != b"done":
            json.loads(reply.raw)
        # What was taken can be read in both dialects.
        if method in ("PUT", "POST", "PATCH") and reply.status in (200, 201):
            shown = self.gateway.call("GET", f"/apisix/admin{path}", query="gateway_group_id=default")
            self.assertLess(shown.status, 500, (path, shown.raw))

    @QUICK
    @given(METHODS, st.sampled_from(PATHS), JSON)
    def test_any_value(self, method: str, path: str, value: Any) -> None:
        """Any JSON value, with any method, at any path."""
        self.check(method, path, value)

    @QUICK
    @given(st.data())
    def test_likely_documents(self, data: Any) -> None:
        """Documents made from the published schemas."""
        kind = data.draw(st.sampled_from(list(APISIX_KINDS.values())))
        schema = secret.MANAGERS["vault"] if kind.name == "secret" else kind.schema
        path = {
            "credential": "/consumers/a/credentials/1",
            "secret": "/secrets/vault/1",
            "plugin_metadata": "/plugin_metadata/limit-count",
        }.get(kind.name, f"/{kind.path}/1")
        document = data.draw(fitting(schema))
        for name in ("id", "create_time", "update_time"):
            document.pop(name, None)
        self.check("PUT", path, document)
        self.check("PATCH", path, document)

    @QUICK
    @given(st.binary(max_size=60), st.sampled_from(["PUT", "PATCH", "POST"]))
    def test_any_bytes(self, raw: bytes, method: str) -> None:
        """Any content, with and without a type."""
        for path in ("/routes/1", "/configs", "/configs/validate", "/schema/validate/routes"):
            for type in ("application/yaml", "application/json"):
                headers = {"Content-Type": type, "X-Digest": "d"}
                reply = self.gateway.send(method, path, raw, headers=headers)
                self.assertLess(reply.status, 500, (method, path, raw, reply.raw))
