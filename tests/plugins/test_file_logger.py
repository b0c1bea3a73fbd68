"""Tests for gateway.plugins.file_logger."""

from __future__ import annotations

import json
from typing import Any

from gateway.core.exchange import Exchange, Outcome
from gateway.interfaces import IBodyTapPhase
from gateway.plugins import file_logger
from gateway.testing.exchanges import exchange
from tests.plugins.kit import PluginTestCase
from tests.slow_regex import PATTERN, TEXT, short_limit


class Files:
    def __init__(self) -> None:
        self.paths: list[tuple[str, str]] = []
        self.lines: list[bytes] = []

    def open(self, name: str, path: str) -> Files:
        self.paths.append((name, path))
        return self

    def write(self, line: bytes) -> None:
        self.lines.append(line)


def ended(target: str = "/x") -> Exchange:
    made = exchange("GET", target, [("Host", "a.example")])
    made.outcome = Outcome(404, "router", "route_not_found")
    return made


class FileLoggerTests(PluginTestCase):
    factory = file_logger.plugin

    def setUp(self) -> None:
        super().setUp()
        self.files = Files()

    def instance(self, metadata: dict[str, Any] | None = None, **config: Any) -> Any:
        return self.make(config, files=self.files, metadata=metadata or {})

    def test_interfaces(self) -> None:
        """It takes note in the log phase."""
        self.provides("file-logger", 399)
        self.assertFalse(IBodyTapPhase.providedBy(self.instance(path="f")))

    def test_line(self) -> None:
        """A request is one line of JSON, in the settings' file or the metadata's."""
        self.instance(path="/logs/a").log(ended("/x?a=%0A"))
        self.instance({"path": "/logs/b", "log_format": {"uri": "$uri"}}).log(ended())
        self.assertEqual(self.files.paths, [("file-logger", "/logs/a"), ("file-logger", "/logs/b")])
        first, second = self.files.lines
        self.assertNotIn(b"\n", first)
        self.assertEqual(json.loads(first)["request"]["querystring"], {"a": "\n"})
        self.assertEqual(json.loads(second), {"uri": "/x", "service_id": "a.example"})

    def test_no_path(self) -> None:
        """Without a path nothing is written, and the log says so."""
        self.instance().log(ended())
        self.assertEqual((self.files.paths, self.files.lines), ([], []))
        self.assertIn("no path", self.world.told[0])

    def test_match(self) -> None:
        """Only requests are written that one of the expressions holds for."""
        plugin = self.instance(path="f", match=[[["arg_a", "==", "1"]], [["arg_b", "==", "2"]]])
        for target in ("/?a=1", "/?b=2", "/?a=2", "/"):
            plugin.log(ended(target))
        self.assertEqual(len(self.files.lines), 2)

    def test_content(self) -> None:
        """Content is in the line where it is asked for."""
        plugin = self.instance(path="f", include_resp_body=True)
        made = ended()
        self.assertIsNone(plugin.rewrite(made))
        plugin.body_tap(made, b"answer")
        plugin.log(made)
        self.assertEqual(json.loads(self.files.lines[0])["response"]["body"], "answer")

    def test_schema(self) -> None:
        """Settings that cannot work are refused."""
        for bad in (
            {"path": ""},
            {"path": "f", "match": [[]] * 21},
            {"path": "f", "match": [["a", "==", "1"]]},
        ):
            self.assertTrue(self.problems(bad), bad)

    def test_slow_match(self) -> None:
        """A request for which it takes too long to tell is logged: none keeps itself out of the log."""
        short_limit(self)
        self.instance(path="f", match=[[["uri", "~~", PATTERN]]]).log(ended(f"/{TEXT}"))
        self.assertEqual(len(self.files.lines), 1)
