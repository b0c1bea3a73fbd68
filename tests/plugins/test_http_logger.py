"""Tests for gateway.plugins.http_logger."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, succeed

from gateway.core.batching import BatchOptions
from gateway.core.exchange import Exchange, Outcome
from gateway.interfaces import Deliver, HttpAnswer, IBodyTapPhase
from gateway.plugins import http_logger
from gateway.registry import PluginRegistry
from gateway.testing.exchanges import exchange
from tests.plugins.kit import PluginTestCase

URI = "http://127.0.0.1:1/log"


class Collector:
    """What entries are sent to, and the queue in front of it."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, dict[str, Any]]] = []
        self.status = 200
        self.entries: list[Any] = []
        self.deliver: Deliver | None = None
        self.opened: tuple[str, str, BatchOptions] | None = None

    def request(self, method: str, url: str, **more: Any) -> Awaitable[HttpAnswer]:
        self.calls.append((method, url, more))
        return succeed(HttpAnswer(self.status, (), b""))

    def open(self, name: str, route: str, options: BatchOptions, deliver: Deliver) -> Collector:
        self.opened, self.deliver = (name, route, options), deliver
        return self

    def add(self, entry: Any, server_addr: str = "") -> None:
        self.server_addr = server_addr
        self.entries.append(entry)


def ended() -> Exchange:
    made = exchange("GET", "/x", [("Host", "a.example")])
    made.outcome = Outcome(404, "router", "route_not_found")
    return made


class HttpLoggerTests(PluginTestCase):
    factory = http_logger.plugin

    def setUp(self) -> None:
        super().setUp()
        self.collector = Collector()

    def instance(self, **config: Any) -> Any:
        metadata = config.pop("metadata", {})
        return self.make(
            {"uri": URI, **config}, http=self.collector, batches=self.collector, metadata=metadata
        )

    def delivered(self, entries: Sequence[bytes]) -> dict[str, Any]:
        deliver = self.collector.deliver
        assert deliver is not None
        waiting: Any = deliver(entries)
        self.successResultOf(Deferred.fromCoroutine(waiting))
        return self.collector.calls[-1][2]

    def test_interfaces(self) -> None:
        """It takes note in the log phase; content costs where it is asked for."""
        self.provides("http-logger", 410)
        self.assertFalse(IBodyTapPhase.providedBy(self.instance()))
        self.assertTrue(IBodyTapPhase.providedBy(self.instance(include_resp_body=True)))

    def test_entry(self) -> None:
        """An entry is JSON, made when the request has ended."""
        self.instance().log(ended())
        (entry,) = map(json.loads, self.collector.entries)
        self.assertEqual((entry["response"]["status"], entry["route_id"]), (404, "no-matched"))
        self.assertEqual(self.collector.opened, ("http-logger", "r1", BatchOptions(1000, 5, 60, 0, 1, None)))
        self.assertEqual(self.collector.server_addr, ended().connection.server_ip)

    def test_name(self) -> None:
        """A name of the user's own stands in the log and the metrics."""
        self.instance(name="orders")
        assert self.collector.opened is not None
        self.assertEqual(self.collector.opened[0], "orders")

    def test_call(self) -> None:
        """Entries are posted together, with the settings' credentials."""
        self.instance(
            auth_header="Basic abc", timeout=7, ssl_verify=True, metadata={"max_pending_entries": 9}
        )
        call = self.delivered([b'{"a":1}', b'{"b":2}'])
        self.assertEqual(self.collector.calls[0][:2], ("POST", URI))
        fields = ((b"content-type", b"application/json"), (b"authorization", b"Basic abc"))
        wanted = {"fields": fields, "content": b'[{"a":1},{"b":2}]', "timeout_s": 7, "verify": True}
        self.assertEqual(call, wanted)
        assert self.collector.opened is not None
        self.assertEqual(self.collector.opened[2].max_pending, 9)

    def test_forms(self) -> None:
        """A batch of one is an object; lines are an object a line."""
        self.instance(batch_max_size=1)
        self.assertEqual(self.delivered([b"{}"])["content"], b"{}")
        self.instance(concat_method="new_line")
        call = self.delivered([b"{}", b"[]"])
        self.assertEqual((call["content"], call["fields"]), (b"{}\n[]", ((b"content-type", b"text/plain"),)))

    def test_failure(self) -> None:
        """A status of 400 or more means that it did not arrive."""
        self.instance()
        for status, fine in ((399, True), (400, False), (503, False)):
            self.collector.status = status
            deliver: Any = self.collector.deliver
            sent = Deferred.fromCoroutine(deliver([b"{}"]))
            if fine:
                self.successResultOf(sent)
            else:
                self.failureResultOf(sent, ValueError)

    def test_content(self) -> None:
        """Content of the answer is in the entry where it is asked for."""
        plugin = self.instance(include_resp_body=True, include_req_body=True)
        made = ended()
        self.assertIsNone(plugin.rewrite(made))
        plugin.body_tap(made, b"answer")
        plugin.log(made)
        self.assertEqual(json.loads(self.collector.entries[0])["response"]["body"], "answer")

    def test_schema(self) -> None:
        """Settings and metadata that cannot work are refused."""
        registry = PluginRegistry([(http_logger.plugin, "tests")])
        for bad in (
            {},
            {"uri": "ftp://x"},
            {"uri": URI, "timeout": 0},
            {"uri": URI, "concat_method": "x"},
            {"uri": URI, "batch_max_size": 0},
            {"uri": URI, "include_req_body_expr": [["a"]]},
        ):
            self.assertTrue(self.problems(bad), bad)
        self.assertEqual(registry.check_metadata("http-logger", {"log_format": {"a": "$b"}}), [])
        self.assertTrue(registry.check_metadata("http-logger", {"max_pending_entries": 0}))
        self.assertEqual(registry.secret_fields("http-logger"), ("auth_header",))
