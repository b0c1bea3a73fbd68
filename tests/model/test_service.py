from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway.model import service
from gateway.model.schema import fill_scalars
from gateway.model.service import SCHEMA, STREAM_SCHEMA, Service
from tests.model.shapes import NODE, UPSTREAM_DEFAULTS, announced, faults, refused

NAMED = {"name": "s"}


class SchemaTests(SynchronousTestCase):
    """Admin API contract §3.2, field by field."""

    def _check(self, member: str, good: list[Any], bad: list[Any]) -> None:
        self.assertEqual(refused(SCHEMA, NAMED, member, good), [])
        self.assertEqual(refused(SCHEMA, NAMED, member, bad), bad)

    def test_guide(self) -> None:
        """The service of the jwt-auth guide fits."""
        nodes = [{"host": "httpbin.org", "port": 80, "weight": 100}]
        document = {
            "name": "jwt-auth-httpbin-service",
            "upstream": {"type": "roundrobin", "scheme": "http", "nodes": nodes},
        }
        self.assertEqual(faults(SCHEMA, document), [])

    def test_name(self) -> None:
        """A name is needed."""
        self.assertEqual(faults(SCHEMA, {}), [("/name", "required")])

    def test_unknown(self) -> None:
        """Members of the other dialect are unknown here."""
        for member in ("upstream_id", "script", "enable_websocket", "host", "created_at"):
            self.assertEqual(faults(SCHEMA, {**NAMED, member: "x"}), [(f"/{member}", "additionalProperties")])

    def test_members(self) -> None:
        """Each member has the documented limits."""
        self._check("type", ["http", "stream"], ["tcp", "", None])
        self._check("status", [0, 1, 1.0], [2, -1, True, "1", None])
        self._check("strip_path_prefix", [True, False], [1, "true", None])
        self._check("path_prefix", ["/", "/api", "/" + "x" * 4095], ["", "api", "/" + "x" * 4096])
        self._check("hosts", [["a.test", "*.b.test"]], [[], ["a", "a"], "a", ["a b"]])
        self._check("plugins", [{}, {"a": {}}], [{"a": 1}, []])
        self._check("upstream", [{}, {"nodes": [NODE]}], [[], {"nodes": 1}, {"scheme": "tcp"}, None])
        self._check("id", ["s1"], ["", "a/b", 1])
        self._check("service_id", ["s1"], ["", "a/b", 1])

    def test_stream(self) -> None:
        """A stream service has a stream upstream; ``strip_path_prefix`` is put up with."""
        stream = {"name": "s", "type": "stream", "strip_path_prefix": True, "upstream": {"scheme": "tcp"}}
        self.assertEqual(faults(STREAM_SCHEMA, stream), [])
        self.assertEqual(
            faults(STREAM_SCHEMA, {**stream, "upstream": {"scheme": "http"}}), [("/upstream/scheme", "enum")]
        )

    def test_stream_has_no_hosts(self) -> None:
        """Hosts and a path prefix mean nothing on a stream service, so they are refused there."""
        stream = {"name": "s", "type": "stream", "hosts": ["a.test"], "path_prefix": "/a"}
        self.assertEqual(
            faults(STREAM_SCHEMA, stream),
            [("/hosts", "additionalProperties"), ("/path_prefix", "additionalProperties")],
        )


class DefaultTests(SynchronousTestCase):
    """Admin API contract §6.4."""

    def test_announced(self) -> None:
        """The defaults announced are exactly those of the enterprise gateway."""
        self.assertEqual(announced(SCHEMA), {"strip_path_prefix": True, "upstream": UPSTREAM_DEFAULTS})
        self.assertEqual(list(announced(STREAM_SCHEMA)), ["upstream"])

    def test_stored(self) -> None:
        """A stored service says its type and status and has the scalar defaults; no upstream appears."""
        self.assertEqual(
            fill_scalars(SCHEMA, NAMED), {"name": "s", "type": "http", "status": 1, "strip_path_prefix": True}
        )

    def test_stored_upstream(self) -> None:
        """The inline upstream gets its own defaults, its nodes theirs."""
        upstream = fill_scalars(SCHEMA, {**NAMED, "upstream": {"nodes": [NODE]}})["upstream"]
        self.assertEqual(upstream["nodes"], [{**NODE, "priority": 0}])
        self.assertEqual((upstream["name"], upstream["scheme"]), ("default", "http"))
        self.assertNotIn("timeout", upstream)

    def test_stream(self) -> None:
        """A stream service keeps ``strip_path_prefix`` and ``pass_host`` as sent (rule 4)."""
        filled = fill_scalars(STREAM_SCHEMA, {"name": "s", "type": "stream", "upstream": {}})
        self.assertNotIn("strip_path_prefix", filled)
        self.assertNotIn("pass_host", filled["upstream"])
        self.assertEqual(filled["upstream"]["scheme"], "tcp")
        sent = {"name": "s", "type": "stream", "strip_path_prefix": True, "upstream": {"pass_host": "pass"}}
        filled = fill_scalars(STREAM_SCHEMA, sent)
        self.assertIs(filled["strip_path_prefix"], True)
        self.assertEqual(filled["upstream"]["pass_host"], "pass")


class ParseTests(SynchronousTestCase):
    def test_defaults(self) -> None:
        """A service with nothing but a name is an active one for HTTP, for any host, without a prefix."""
        self.assertEqual(
            Service.parse("s1", NAMED),
            Service(
                id="s1",
                name="s",
                type="http",
                hosts=(),
                path_prefix=None,
                strip_path_prefix=True,
                plugins={},
                upstream=None,
                enabled=True,
            ),
        )

    def test_members(self) -> None:
        """Everything that was configured is there."""
        parsed = Service.parse(
            "s1",
            {
                "name": "s",
                "hosts": ["a.test"],
                "path_prefix": "/api",
                "strip_path_prefix": False,
                "plugins": {"p": {"x": 1}},
                "upstream": {"nodes": [NODE]},
                "status": 0,
            },
        )
        self.assertEqual(
            (parsed.hosts, parsed.path_prefix, parsed.strip_path_prefix), (("a.test",), "/api", False)
        )
        self.assertEqual((parsed.plugins, parsed.enabled), ({"p": {"x": 1}}, False))
        assert parsed.upstream is not None
        self.assertEqual([node.key for node in parsed.upstream.nodes], ["a.test:80"])

    def test_no_settings_in_repr(self) -> None:
        """Plugin settings, which may hold secrets, are not in the repr."""
        self.assertNotIn(
            "hunter2", repr(Service.parse("s", {**NAMED, "plugins": {"p": {"secret": "hunter2"}}}))
        )


class ProblemTests(SynchronousTestCase):
    def test_upstream(self) -> None:
        """What is wrong with the upstream is told by its place in the service."""
        self.assertEqual(
            [p.pointer for p in service.problems({**NAMED, "upstream": {"type": "chash"}})], ["/upstream/key"]
        )
        self.assertEqual(service.problems(NAMED), [])
        self.assertEqual(service.problems({**NAMED, "upstream": "malformed"}), [])
