"""Tests for gateway.plugins.consumer_restriction."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway.core.consumers import Identity, attach
from gateway.core.exchange import Reply
from gateway.plugins.consumer_restriction import plugin
from gateway.testing.exchanges import consumer, exchange
from gateway.testing.plugins import bind, finish, problems


def access(
    username: str | None, method: str = "GET", group: str | None = None, **config: Any
) -> Reply | None:
    hook = bind(plugin, config).access
    assert hook is not None
    sent = exchange(method)
    route: Any = SimpleNamespace(id="r1", service_id="s1")
    sent.route = route
    if username is not None:
        attach(sent, Identity(consumer(username, group_id=group), None, None))
    return finish(hook(sent))


class AccessTests(SynchronousTestCase):
    def refused(
        self, reply: Reply | None, message: str = "The consumer_name is forbidden.", code: int = 403
    ) -> None:
        assert reply is not None
        self.assertEqual((reply.status, reply.reason), (code, "consumer_restricted"))
        self.assertEqual(reply.body, b'{"message":"%s"}\n' % message.encode())

    def test_whitelist(self) -> None:
        """Only who is on the whitelist may."""
        self.assertIsNone(access("jack", whitelist=["jack"]))
        self.refused(access("jill", whitelist=["jack"]))

    def test_blacklist(self) -> None:
        """Who is on the blacklist may not, on the whitelist or not."""
        self.assertIsNone(access("jack", blacklist=["jill"]))
        self.refused(access("jill", blacklist=["jill"], rejected_code=401, rejected_msg="no"), "no", 401)
        self.refused(access("jill", blacklist=["jill"], rejected_msg=""), "")
        self.refused(access("jill", blacklist=["jill"], whitelist=["jill"]))

    def test_methods(self) -> None:
        """Some may with some methods; who stands nowhere may, and so does the whitelist, with all."""
        rules = [{"user": "jack", "methods": ["POST", "GET"]}]
        self.assertIsNone(access("jack", "POST", allowed_by_methods=rules))
        self.refused(access("jack", "PUT", allowed_by_methods=rules))
        self.assertIsNone(access("jill", "PUT", allowed_by_methods=rules))
        self.assertIsNone(access("jack", "PUT", allowed_by_methods=rules, whitelist=["jack"]))

    def test_methods_beside_a_whitelist(self) -> None:
        """Beside a whitelist, who is not on it may not, whatever the methods; who is may with all."""
        lists = {"whitelist": ["jill"], "allowed_by_methods": [{"user": "jack", "methods": ["GET"]}]}
        self.refused(access("jack", "GET", **lists))
        self.refused(access("bob", "GET", **lists))
        self.assertIsNone(access("jill", "POST", **lists))

    def test_nobody(self) -> None:
        """Where there is nothing to look up the answer says what is missing."""
        for kind, username in (
            ("consumer_name", None),
            ("consumer_group_id", None),
            ("consumer_group_id", "jack"),
        ):
            reply = access(username, type=kind, whitelist=["jack"])
            assert reply is not None
            text = f"The request is rejected, please check the {kind} for this request"
            self.assertEqual((reply.status, reply.body), (401, b'{"message":"%s"}\n' % text.encode()))
            self.assertEqual(reply.reason, "restriction_value_missing")

    def test_other_types(self) -> None:
        """Groups, services and routes are looked up by their ids."""
        self.assertIsNone(access("jack", group="g1", type="consumer_group_id", whitelist=["g1"]))
        self.refused(
            access("jack", group="g1", type="consumer_group_id", blacklist=["g1"]),
            "The consumer_group_id is forbidden.",
        )
        self.assertIsNone(access("jack", type="service_id", whitelist=["s1"]))
        self.refused(access("jack", type="route_id", blacklist=["r1"]), "The route_id is forbidden.")


class FactoryTests(SynchronousTestCase):
    def test_settings(self) -> None:
        """At least one list is needed."""
        told: Any
        for config, told in (
            ({}, ("", "anyOf")),
            ({"type": "plugin", "whitelist": ["a"]}, ("/type", "enum")),
            ({"whitelist": []}, ("/whitelist", "minItems")),
            ({"blacklist": [1]}, ("/blacklist/0", "type")),
            ({"blacklist": ["a"], "rejected_code": 199}, ("/rejected_code", "minimum")),
            ({"blacklist": ["a"], "rejected_code": 1000}, ("", "rejected_code must be a status code")),
            (
                {"allowed_by_methods": [{"user": "a", "methods": ["FETCH"]}]},
                ("/allowed_by_methods/0/methods/0", "enum"),
            ),
        ):
            self.assertEqual(problems(plugin, config), [told])
        self.assertRaises(
            ValueError, bind, plugin, {"type": "$env://T", "whitelist": ["a"]}, environment={"T": "x"}
        )
        self.assertEqual(plugin.priority, 2400)
