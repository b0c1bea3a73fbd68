from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway.admin import openapi
from gateway.admin.app import AdminAPI
from tests.admin.kit import Gateway

DOCS = Path(__file__).resolve().parents[2] / "docs"
SHIPPED = {"enterprise": DOCS / "openapi.json", "apisix": DOCS / "openapi-apisix.json"}


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
        """Whatever a document refers to is in it."""
        for dialect, reference in {(d, r) for d in SHIPPED for r in references(openapi.document(d))}:
            here: Any = openapi.document(dialect)
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
        other = gateway.call("GET", "/api/openapi.json?dialect=apisix").json
        self.assertIn("/apisix/admin/upstreams/{id}", other["paths"])
        self.assertEqual(gateway.call("GET", "/api/openapi.json?dialect=klingon").status, 400)

    def test_shipped(self) -> None:
        """What docs holds is what the code says; ``python -m gateway.admin.openapi`` writes it."""
        self.assertEqual(list(SHIPPED), openapi.dialects())
        for dialect, file in SHIPPED.items():
            document = openapi.document(dialect)
            self.assertEqual(json.loads(openapi.text(dialect)), json.loads(json.dumps(document)))
            same = file.read_text() == openapi.text(dialect)
            self.assertTrue(same, f"run: python -m gateway.admin.openapi {dialect} > docs/{file.name}")
