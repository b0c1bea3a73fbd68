"""The OpenAPI document of the apisix dialect says what the gateway does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
from twisted.trial.unittest import SynchronousTestCase

from gateway.admin import openapi, openapi_apisix
from gateway.admin.apisix_kinds import APISIX_KINDS
from tests.admin.apisix_kit import UPSTREAM, ApisixGateway
from tests.admin.test_apisix import WRITABLE
from tests.admin.test_openapi import references

SHIPPED = Path(__file__).resolve().parents[2] / "docs" / "openapi-apisix.json"


class DocumentTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.document = json.loads(json.dumps(openapi.document("apisix")))
        self.gateway = ApisixGateway()

    def resolved(self, schema: Any) -> Any:
        """*schema* with what it refers to beside it."""
        return {**schema, "components": self.document["components"]}

    def response(self, method: str, path: str, status: int) -> Any:
        """What the document says about an answer: its schema, or None for no content."""
        response = self.document["paths"][path][method.lower()]["responses"][str(status)]
        if "$ref" in response:
            response = self.document["components"]["responses"][response["$ref"].rpartition("/")[2]]
        content = response.get("content")
        return None if content is None else content["application/json"]["schema"]

    def check(self, method: str, template: str, path: str, body: object = None) -> int:
        """Make a call; its answer must be as described."""
        reply = self.gateway.send(method, path, body)
        schema = self.response(method, f"/apisix/admin{template}", reply.status)
        if schema is None:
            self.assertEqual(reply.raw, b"")
        else:
            jsonschema.Draft202012Validator(self.resolved(schema)).validate(reply.json)
        return reply.status

    def test_references(self) -> None:
        """Whatever the document refers to is in it."""
        for reference in set(references(self.document)):
            here: Any = self.document
            for part in reference.removeprefix("#/").split("/"):
                self.assertIn(part, here, reference)
                here = here[part]

    def test_schemas(self) -> None:
        """Every schema is one, and what is written fits the one that is told for it."""
        for schema in self.document["components"]["schemas"].values():
            jsonschema.Draft202012Validator.check_schema(schema)
        for path, _, body in WRITABLE:
            kind = APISIX_KINDS[path.split("/")[1]]
            schema = self.document["components"]["schemas"][kind.name]
            jsonschema.Draft202012Validator(self.resolved(schema)).validate(body)

    def test_answers(self) -> None:
        """Every call on a resource is described, with each answer it was seen to give."""
        for path, _, body in WRITABLE:
            parts = path.split("/")
            base = f"/{parts[1]}"
            template = f"{base}/{{manager}}/{{id}}" if parts[1] == "secrets" else f"{base}/{{id}}"
            statuses = [
                self.check("PUT", template, path, body),
                self.check("PUT", template, path, body),
                self.check("PUT", template, path, {"unknown": 1}),
                self.check("GET", template, path),
                self.check("GET", base, base),
            ]
            self.assertEqual(statuses[:2] + statuses[3:], [201, 200, 200, 200], path)
            one = self.document["paths"][f"/apisix/admin{template}"]
            if "patch" in one:
                self.assertEqual(self.check("PATCH", template, path, {}), 200)
            self.assertEqual(self.check("DELETE", template, path), 200)
            self.assertEqual(self.check("GET", template, path), 404)
            both = {*one, *self.document["paths"][f"/apisix/admin{base}"]}
            refused = {method.lower() for method in APISIX_KINDS[parts[1]].refused}
            self.assertEqual(both, {"get", "put", "post", "patch", "delete"} - refused)

    def test_other_answers(self) -> None:
        """So is what is no resource, and what goes wrong before one is looked at."""
        self.gateway.put("/routes/1", {"uri": "/a", "upstream": UPSTREAM})
        for method, template, path, body, status in (
            ("POST", "/routes", "/routes", {"uri": "/a", "upstream": UPSTREAM}, 201),
            ("GET", "/plugins/list", "/plugins/list", None, 200),
            ("GET", "/plugins/{name}", "/plugins/jwt-auth", None, 200),
            ("GET", "/plugins/{name}", "/plugins/nothing", None, 404),
            ("GET", "/schema/{type}", "/schema/route", None, 200),
            ("POST", "/schema/validate/{resource}", "/schema/validate/routes", {}, 400),
            ("POST", "/schema/validate/{resource}", "/schema/validate/services", {}, 200),
            ("POST", "/configs/validate", "/configs/validate", {"routes": [1]}, 400),
            ("POST", "/configs/validate", "/configs/validate", {}, 200),
            ("GET", "/configs", "/configs", None, 200),
            (
                "GET",
                "/consumers/{username}/credentials",
                "/consumers/a/credentials",
                None,
                404,
            ),
        ):
            with self.subTest(method=method, path=path):
                self.assertEqual(self.check(method, template, path, body), status)

    def test_served_and_shipped(self) -> None:
        """The gateway hands it out, and docs/openapi-apisix.json is the same."""
        reply = self.gateway.call("GET", "/api/openapi.json?dialect=apisix")
        self.assertEqual(reply.json, self.document)
        self.assertEqual(openapi_apisix.document(openapi.converted), openapi.document("apisix"))
        same = SHIPPED.read_text() == openapi.text("apisix")
        self.assertTrue(same, "run: python -m gateway.admin.openapi apisix > docs/openapi-apisix.json")
