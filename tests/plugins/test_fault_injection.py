"""Tests for gateway.plugins.fault_injection."""

from __future__ import annotations

from gateway.core.exchange import Reply
from gateway.plugins import fault_injection
from gateway.testing.exchanges import exchange
from tests.plugins.kit import PluginTestCase
from tests.plugins.limits_kit import explained


class FaultInjectionTests(PluginTestCase):
    factory = fault_injection.plugin

    def test_interfaces(self) -> None:
        """It runs before authentication."""
        self.provides("fault-injection", 11000)

    def test_abort(self) -> None:
        """The request is answered with the status, the content and the fields of the settings."""
        config = {
            "abort": {
                "http_status": 418,
                "body": "no $arg_x\n",
                "headers": {"X-A": "$arg_x", "Connection": "x"},
            }
        }
        reply = self.make(config).rewrite(exchange("GET", "/?x=a%0Ab"))
        self.assertIsInstance(reply, Reply)
        self.assertEqual((reply.status, reply.body, reply.reason), (418, b"no a\nb\n", "fault_injected"))
        text = (b"content-type", b"text/plain; charset=utf-8")
        self.assertEqual(reply.fields, (text, (b"x-a", b"a b")))

    def test_content_type(self) -> None:
        """The settings may name the content's type."""
        config = {
            "abort": {"http_status": 200, "body": "{}", "headers": {"Content-Type": "application/json"}}
        }
        self.assertEqual(
            self.make(config).rewrite(exchange()).fields, ((b"content-type", b"application/json"),)
        )

    def test_status_only(self) -> None:
        """Without a content the standard page is sent; a success has none."""
        self.assertIsNone(self.make({"abort": {"http_status": 503}}).rewrite(exchange()).body)
        self.assertIsNone(self.make({"abort": {"http_status": 200}}).rewrite(exchange()).body)

    def test_percentage(self) -> None:
        """A share of the requests gets it: none at 0, all at 100, and all if nothing is said."""
        for share, chance, hit in ((0, 0.0, False), (100, 0.999, True), (50, 0.49, True), (50, 0.5, False)):
            self.world.chance = chance
            reply = self.make({"abort": {"http_status": 500, "percentage": share}}).rewrite(exchange())
            self.assertEqual(reply is not None, hit, (share, chance))
        self.world.chance = 0.999
        self.assertIsNotNone(self.make({"abort": {"http_status": 500}}).rewrite(exchange()))

    def test_vars(self) -> None:
        """Of several expressions one must hold; of the rules in one all."""
        one = [["arg_a", "==", "1"], ["arg_b", "==", "2"]]
        config = {"abort": {"http_status": 500, "vars": [one, [["http_x", "==", "y"]]]}}
        plugin = self.make(config)
        for target, headers, hit in (
            ("/?a=1&b=2", [], True),
            ("/?a=1", [], False),
            ("/", [("X", "y")], True),
            ("/", [], False),
        ):
            self.assertEqual(plugin.rewrite(exchange("GET", target, headers)) is not None, hit, target)

    def test_delay(self) -> None:
        """The request is held up, then goes on, or is answered."""
        plugin = self.make({"delay": {"duration": 0.25}})
        self.assertIsNone(self.run_hook(plugin.rewrite(exchange())))
        plugin = self.make({"delay": {"duration": 1}, "abort": {"http_status": 500}})
        reply = self.run_hook(plugin.rewrite(exchange()))
        assert reply is not None
        self.assertEqual((reply.status, self.world.slept), (500, [0.25, 1.0]))

    def test_no_delay(self) -> None:
        """A request that the delay is not for does not wait."""
        plugin = self.make({"delay": {"duration": 1, "vars": [[["arg_a", "==", "1"]]]}})
        self.assertIsNone(plugin.rewrite(exchange()))
        self.assertEqual(self.world.slept, [])

    def test_schema(self) -> None:
        """Settings that cannot work are refused."""
        for config in (
            {},
            {"abort": {}},
            {"abort": {"http_status": 100}},
            {"abort": {"http_status": 500, "percentage": 101}},
            {"delay": {"duration": -1}},
            {"delay": {"duration": 1, "vars": [[]] * 21}},
        ):
            self.assertTrue(self.problems(config), config)
        found = self.problems({"abort": {"http_status": 500, "vars": [["a", "==", "1"]]}})
        self.assertEqual(found, [("", "rule should be wrapped inside brackets")])
        found = self.problems({"delay": {"duration": 1, "vars": [[["a", "/", "1"]]]}})
        self.assertEqual(found, [("", "invalid operator '/'")])
        self.assertTrue(self.problems({"abort": {"http_status": 500, "headers": {"a b": "1"}}}))

    def test_explained(self) -> None:
        """What would happen, and to how many of the requests that are like this one."""
        abort = {"http_status": 503, "body": "no", "percentage": 30}
        only = {"vars": [[["arg_x", "==", "1"]]]}
        for config, target, status, words, sure in (
            ({"abort": {"http_status": 503}}, "/", 503, "answers 503", True),
            ({"abort": abort}, "/", 503, "answers 503 for 30 % of such requests", False),
            ({"abort": {**abort, "percentage": 0}}, "/", None, "no fault is for this request", True),
            ({"abort": {**abort, **only}}, "/?x=2", None, "no fault is for this request", True),
            ({"delay": {"duration": 2.5}}, "/", None, "waits 2.5 s", True),
            (
                {"delay": {"duration": 2, "percentage": 50}, "abort": {"http_status": 500, **only}},
                "/?x=1",
                500,
                "waits 2 s for 50 % of such requests; answers 500",
                True,
            ),
        ):
            found = explained(self.make(config), exchange("GET", target), "rewrite")
            self.assertEqual(
                (found.reply and found.reply.status, found.words, found.sure), (status, words, sure)
            )
        self.assertEqual(self.world.slept, [])
