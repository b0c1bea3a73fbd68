"""Tests for gateway.plugins.acl."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway.core.consumers import Identity, attach
from gateway.core.exchange import Reply
from gateway.plugins.acl import plugin, values_of
from gateway.testing.exchanges import consumer, exchange
from gateway.testing.plugins import bind, finish, problems

ALLOW = {"allow_labels": {"org": ["apache", "asf"]}}


def access(labels: dict[str, str] | None, user: Any = None, **config: Any) -> Reply | None:
    hook = bind(plugin, config).access
    assert hook is not None
    sent = exchange()
    if labels is not None:
        attach(sent, Identity(consumer("jack", labels=labels), None, None))
    if user is not None:
        sent.context["external_user"] = user
    return finish(hook(sent))


class AccessTests(SynchronousTestCase):
    def refused(
        self, reply: Reply | None, message: str = "The consumer is forbidden.", code: int = 403
    ) -> None:
        assert reply is not None
        self.assertEqual((reply.status, reply.reason), (code, "acl_denied"))
        self.assertEqual(reply.body, b'{"message":"%s"}\n' % message.encode())

    def test_allowed(self) -> None:
        """A consumer needs one of the values of one of the labels."""
        for labels in ({"org": "apache"}, {"org": "x, asf", "a": "b"}, {"org": '["apache","x"]'}):
            self.assertIsNone(access(labels, **ALLOW))
        for labels in ({}, {"org": "apache2"}, {"other": "apache"}, {"org": "APACHE"}, {"org": "[]"}):
            self.refused(access(labels, **ALLOW))

    def test_denied(self) -> None:
        """What is denied counts first; everybody else may, if nothing is asked for."""
        deny = {"deny_labels": {"team": ["bad"]}}
        self.assertIsNone(access({}, **deny))
        self.refused(access({"team": "good,bad"}, **deny, rejected_code=401, rejected_msg="no"), "no", 401)
        self.refused(access({"team": "bad"}, **deny, rejected_msg=""), "")
        self.refused(access({"team": "bad", "org": "asf"}, **deny, **ALLOW))

    def test_nobody(self) -> None:
        """Where nobody is known the answer says so."""
        reply = access(None, **ALLOW)
        assert reply is not None
        self.assertEqual((reply.status, reply.body), (401, b'{"message":"Missing authentication."}\n'))
        self.assertEqual(reply.reason, "acl_nobody")

    def test_external(self) -> None:
        """A user who is no consumer has labels where the route says."""
        allow: dict[str, Any] = {"allow_labels": {"groups": ["admin"]}}
        self.assertIsNone(access(None, {"groups": ["admin"]}, **allow))
        self.assertIsNone(access(None, {"groups": "x,admin"}, **allow))
        self.refused(access(None, {"groups": ["user"]}, **allow))
        self.refused(access(None, {"groups": 5}, **allow))
        where = {"external_user_label_field": "$.realm.roles", "external_user_label_field_key": "groups"}
        for parser, value, more in (
            ("segmented_text", "x|admin", {"external_user_label_field_separator": r"\|"}),
            ("json", '["admin"]', {}),
            ("table", ["admin"], {}),
        ):
            config = {**allow, **where, "external_user_label_field_parser": parser, **more}
            self.assertIsNone(access(None, {"realm": {"roles": value}}, **config))
            for user in ({"realm": {}}, {"realm": 5}, {"realm": {"roles": "nonsense"}}, [], "x"):
                self.refused(access(None, user, **config))

    def test_external_paths(self) -> None:
        """The path may lead to many places; what is found at all of them counts."""
        user = {"realms": [{"groups": [{"name": "user"}, {"name": "admin"}]}, {"text": "x;admin"}]}
        for path, more in (
            ("$.realms[0].groups[1].name", {}),
            ("$..groups[*].name", {}),
            ("$.realms[*]['groups']..name", {"external_user_label_field_parser": "table"}),
            (
                "$..text",
                {
                    "external_user_label_field_parser": "segmented_text",
                    "external_user_label_field_separator": ";",
                },
            ),
        ):
            config = {"external_user_label_field": path, "external_user_label_field_key": "g", **more}
            self.assertIsNone(access(None, user, allow_labels={"g": ["admin"]}, **config))
            self.refused(access(None, user, allow_labels={"g": ["root"]}, **config))

    def test_values(self) -> None:
        """A label's value may be one, a list with commas, or a JSON array; what is no JSON is text."""
        self.assertEqual(values_of(" a , b,,"), {"a", "b"})
        self.assertEqual(values_of('["a", 5, "b,c"]'), {"a", "b,c"})
        self.assertEqual(values_of("[a"), {"[a"})


class FactoryTests(SynchronousTestCase):
    def test_settings(self) -> None:
        """At least one list of labels is needed, and a separator where one is used."""
        told: Any
        for config, told in (
            ({}, ("", "anyOf")),
            ({"allow_labels": {}}, ("/allow_labels", "minProperties")),
            ({"allow_labels": {"a": []}}, ("/allow_labels/a", "minItems")),
            ({"allow_labels": {"a": "b"}}, ("/allow_labels/a", "type")),
            (
                {**ALLOW, "external_user_label_field_parser": "xml"},
                ("/external_user_label_field_parser", "enum"),
            ),
        ):
            self.assertEqual(problems(plugin, config), [told])
        for more, text in (
            ({"external_user_label_field_parser": "segmented_text"}, "is required"),
            ({"external_user_label_field_separator": "("}, "invalid regular expression"),
            ({"external_user_label_field": "$.a[?(@.b)]"}, "is no path to a value"),
            ({"external_user_label_field_separator": "(a)"}, "must not have groups"),
            ({"rejected_code": 1000}, "must be a status code"),
        ):
            self.assertIn(text, problems(plugin, {**ALLOW, **more})[0][1])  # type: ignore[dict-item]
        self.assertEqual(plugin.priority, 2410)
