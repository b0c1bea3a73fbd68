"""Tests for gateway.plugins.error_page."""

from __future__ import annotations

from typing import Any

from gateway.core.exchange import Exchange
from gateway.core.fields import Fields
from gateway.plugins import error_page
from gateway.registry import PluginRegistry
from gateway.testing.exchanges import exchange
from tests.plugins.kit import PluginTestCase, answered

PAGES = {
    "enable": True,
    "error_404": {"body": "<p>gone", "content_type": "text/plain"},
    "error_502": {"body": "x"},
}


def answering(status: int, from_upstream: bool = False) -> Exchange:
    made = exchange()
    made.status, made.from_upstream = status, from_upstream
    made.response_fields = Fields([(b"content-type", b"text/html; charset=utf-8")])
    return made


class ErrorPageTests(PluginTestCase):
    factory = error_page.plugin

    def content(self, metadata: dict[str, Any], made: Exchange) -> bytes:
        return answered(made, self.make({}, metadata=metadata), b"old")

    def test_interfaces(self) -> None:
        """It runs among the last."""
        self.provides("error-page", 450)

    def test_pages(self) -> None:
        """Errors that the gateway answers have the pages of the metadata."""
        made = answering(404)
        self.assertEqual(self.content(PAGES, made), b"<p>gone")
        self.assertEqual(made.response_fields.get(b"content-type"), b"text/plain")
        made = answering(502)
        self.assertEqual(self.content(PAGES, made), b"x")
        self.assertEqual(made.response_fields.get(b"content-type"), b"text/html")

    def test_others(self) -> None:
        """Answers of upstreams, other statuses, and everything while it is off stay as they are."""
        off = {**PAGES, "enable": False}
        for metadata, made in ((PAGES, answering(404, True)), (PAGES, answering(500)), (off, answering(404))):
            self.assertEqual(self.content(metadata, made), b"old")

    def test_metadata(self) -> None:
        """Metadata that cannot work is refused."""
        registry = PluginRegistry([(error_page.plugin, "tests")])
        self.assertEqual(registry.check_metadata("error-page", PAGES), [])
        self.assertTrue(registry.check_metadata("error-page", {"error_404": {"body": ""}}))
