"""Tests for gateway.plugins.gzip."""

from __future__ import annotations

import gzip as library
import zlib
from typing import Any

from attrs import evolve

from gateway.core.exchange import Exchange
from gateway.core.fields import Fields
from gateway.plugins import gzip
from gateway.testing.exchanges import exchange
from tests.plugins.kit import PluginTestCase, answered

HTML = (b"content-type", b"text/html; charset=utf-8")


def answering(
    *pairs: tuple[bytes, bytes],
    accept: str = "gzip",
    status: int = 200,
    method: str = "GET",
    length: int | None = None,
) -> Exchange:
    made = exchange(method, "/", [("Accept-Encoding", accept)])
    made.status, made.response_fields, made.response_length = status, Fields(pairs or (HTML,)), length
    return made


class GzipTests(PluginTestCase):
    factory = gzip.plugin

    def compressed(self, config: dict[str, Any], made: Exchange) -> bool:
        content = answered(made, self.make(config), b"some ", b"content")
        coded = made.response_fields.get(b"content-encoding") == b"gzip"
        self.assertEqual(library.decompress(content) if coded else content, b"some content")
        return coded

    def test_interfaces(self) -> None:
        """It runs after what makes the content."""
        self.provides("gzip", 995)

    def test_fields(self) -> None:
        """What is said of the content fits the compressed one."""
        made = answering(HTML, (b"etag", b'"1"'), (b"accept-ranges", b"bytes"))
        self.assertTrue(self.compressed({"vary": True}, made))
        wanted = [HTML, (b"vary", b"Accept-Encoding"), (b"content-encoding", b"gzip"), (b"etag", b'W/"1"')]
        self.assertEqual(made.response_fields.pairs, wanted)

    def test_which(self) -> None:
        """Only what may be, is worth it, and the client takes."""
        for config, made, wanted in (
            ({}, answering(), True),
            ({}, answering(status=404), True),
            ({}, answering((b"content-type", b"TEXT/HTML")), True),
            ({}, answering(length=20), True),
            ({}, answering(length=19), False),
            ({"min_length": 19}, answering(length=19), True),
            ({}, answering(accept="br"), False),
            ({}, answering(accept="gzip;q=0"), False),
            ({}, answering((b"x", b"no type")), False),
            ({}, answering((b"content-type", b"image/png")), False),
            ({"types": "*"}, answering((b"content-type", b"image/png")), True),
            ({"types": ["image/png"]}, answering((b"content-type", b"image/png")), True),
            ({"types": ["image/png"]}, answering(), False),
            ({}, answering(HTML, (b"content-encoding", b"br")), False),
            ({}, answering(status=500), False),
            ({}, answering(method="HEAD"), False),
        ):
            self.assertEqual(self.compressed(config, made), wanted, (config, made.response_fields.pairs))

    def test_old_clients(self) -> None:
        """HTTP/1.0 is left out unless the settings say otherwise."""
        for config, wanted in (({}, False), ({"http_version": 1.0}, True)):
            made = answering()
            made.request = evolve(made.request, version=(1, 0))
            self.assertEqual(self.compressed(config, made), wanted)

    def test_streams(self) -> None:
        """A piece can be read as soon as it is sent."""
        made, plugin = answering(), self.make({"comp_level": 9})
        plugin.header_filter(made)
        reader = zlib.decompressobj(31)
        for piece in (b"one", b"two"):
            self.assertEqual(reader.decompress(plugin.body_filter(made, piece, False)), piece)

    def test_schema(self) -> None:
        """Settings that cannot work are refused."""
        for bad in (
            {"types": []},
            {"types": "text/html"},
            {"comp_level": 10},
            {"min_length": 0},
            {"http_version": 2},
        ):
            self.assertTrue(self.problems(bad), bad)
