from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway.admin import openapi
from gateway.admin.app import AdminAPI
from gateway.admin.openapi import converted
from tests.admin.kit import Gateway

SHIPPED = Path(__file__).resolve().parents[2] / "docs" / "openapi.json"


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for member in value.values():
            yield from references(member)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


class DocumentTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.document = openapi.document()

    def test_references(self) -> None:
        """Whatever the document refers to is in it."""
        for reference in set(references(self.document)):
            here: Any = self.document
            for part in reference.removeprefix("#/").split("/"):
                self.assertIn(part, here, reference)
                here = here[part]

    def test_every_path(self) -> None:
        """Every call of the control plane is described, and nothing that is not there."""
        served = set()
        for rule in AdminAPI.app.url_map.iter_rules():
            path = re.sub(r"<any\(services, routes, stream_routes\):path>", "{kind}", rule.rule)
            path = re.sub(r"<(?:path:)?(\w+)>", r"{\1}", path)
            if path.startswith("/api/"):
                served |= {path.replace("{kind}", kind) for kind in ("services", "routes", "stream_routes")}
        names = re.compile(r"\{\w+\}")
        served = {names.sub("{}", path) for path in served} - {"/api/logout"}
        described = {names.sub("{}", path) for path in self.document["paths"] if path.startswith("/api/")}
        self.assertEqual(served, described)

    def test_served(self) -> None:
        """The gateway hands the document out; another dialect's only if it is there."""
        gateway = Gateway()
        self.assertEqual(gateway.call("GET", "/api/openapi.json").json, json.loads(json.dumps(self.document)))
        self.assertEqual(gateway.call("GET", "/api/openapi.json?dialect=klingon").status, 400)

    def test_shipped(self) -> None:
        """docs/openapi.json is what the code says; ``python -m gateway.admin.openapi`` writes it."""
        self.assertEqual(json.loads(openapi.text()), json.loads(json.dumps(self.document)))
        same = SHIPPED.read_text() == openapi.text()
        self.assertTrue(same, "run: python -m gateway.admin.openapi > docs/openapi.json")

    def test_converted(self) -> None:
        """Draft 7 and our own keywords become those of OpenAPI 3.1."""
        self.assertEqual(
            converted({"dependencies": {"a": ["b"], "c": {"required": ["d"]}}, "x-default": 1}),
            {"dependentRequired": {"a": ["b"]}, "dependentSchemas": {"c": {"required": ["d"]}}},
        )
        self.assertEqual(
            converted({"type": "array", "x-or": {"type": "object"}}),
            {"anyOf": [{"type": "array"}, {"type": "object"}]},
        )
        self.assertEqual(
            converted({"properties": {"x-or": {"default": {"x-default": 1}}}}),
            {"properties": {"x-or": {"default": {"x-default": 1}}}},
        )
