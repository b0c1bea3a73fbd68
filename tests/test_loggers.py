"""What plugins that send log entries have in common, with a collector that keeps what it gets."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import succeed

from gateway.core.exchange import Exchange, Outcome
from gateway.interfaces import Deliver, IBodyTapPhase, ILogPhase, PluginServices
from gateway.loggers import log_factory
from gateway.testing.exchanges import exchange
from tests.plugins.kit import PluginTestCase

PROPERTIES = {"place": {"type": "string", "default": "here"}, "secret": {"type": "string"}}


def ended() -> Exchange:
    made = exchange("GET", "/x", [("Host", "a.example")])
    made.outcome = Outcome(404, "router", "route_not_found")
    return made


class LogFactoryTests(PluginTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.told: list[tuple[Mapping[str, Any], bool]] = []
        self.opened: list[tuple[str, str, Any]] = []
        self.added: list[bytes] = []
        self.factory = log_factory(
            "test-logger", 400, PROPERTIES, ["secret"], self.collector, secret_fields=("secret",)
        )

    def collector(self, settings: Mapping[str, Any], single: bool, services: PluginServices) -> Deliver:
        self.told.append((settings, single))
        return self.deliver

    def deliver(self, entries: Sequence[bytes]) -> Awaitable[None]:
        return succeed(None)

    def open(self, name: str, route: str, options: Any, deliver: Any) -> Any:
        self.opened.append((name, route, deliver))
        return self

    def add(self, entry: bytes, server_addr: str = "") -> None:
        self.added.append(entry)

    def instance(self, **config: Any) -> Any:
        return self.make({"secret": "s", **config}, batches=self)

    def test_factory(self) -> None:
        """It has its own settings, those all loggers share, and metadata."""
        self.provides("test-logger", 400)
        self.assertEqual(self.factory.secret_fields, ("secret",))
        self.assertEqual(self.problems({}), [("/secret", "required")])
        self.assertLessEqual(
            {"place", "log_format", "batch_max_size"}, set(self.factory.schema["properties"])
        )
        self.assertIn("max_pending_entries", self.factory.metadata_schema["properties"])

    def test_bad_expression(self) -> None:
        """What cannot be compiled is refused when it is written."""
        ((_, message),) = self.problems(
            {"secret": "s", "include_req_body": True, "include_req_body_expr": [["a", "?", "b"]]}
        )
        self.assertIn("include_req_body_expr", message)

    def test_collector(self) -> None:
        """The collector is made once, with defaults filled in; the batch delivers to it."""
        self.instance(batch_max_size=1)
        self.assertEqual(self.told[0][0]["place"], "here")
        self.assertTrue(self.told[0][1])
        self.assertEqual(self.opened, [("test-logger", "r1", self.deliver)])

    def test_entries(self) -> None:
        """One entry a request, as JSON or as the plugin spells it."""
        self.instance().log(ended())
        self.assertEqual(json.loads(self.added[0])["request"]["method"], "GET")
        self.factory = log_factory(
            "test-logger", 400, {}, [], self.collector, spell=lambda entry, services: b"spelt"
        )
        self.make({}, batches=self).log(ended())
        self.assertEqual(self.added[1], b"spelt")

    def test_content(self) -> None:
        """Content is looked at only where it is asked for."""
        plain, watching = self.instance(), self.instance(include_resp_body=True)
        self.assertEqual(
            [(ILogPhase.providedBy(one), IBodyTapPhase.providedBy(one)) for one in (plain, watching)],
            [(True, False), (True, True)],
        )
        made = ended()
        self.assertIsNone(watching.rewrite(made))
        watching.body_tap(made, b"answer")
        watching.log(made)
        self.assertEqual(json.loads(self.added[0])["response"]["body"], "answer")
