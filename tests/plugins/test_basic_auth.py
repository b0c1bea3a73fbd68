"""Tests for gateway.plugins.basic_auth."""

from __future__ import annotations

import base64
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.core.exchange import Exchange, Reply
from gateway.plugins.basic_auth import plugin
from gateway.testing.exchanges import consumer, exchange
from gateway.testing.plugins import bind, finish, identities, problems

JACK = consumer("jack", labels={"custom_id": "c-1"})
USERS = identities(
    plugin,
    (JACK, "c1", {"username": "jack", "password": "p: s "}),
    (consumer("рита"), None, {"username": "рита", "password": "пароль"}),
)


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


def request(authorization: str | None) -> Exchange:
    headers = [] if authorization is None else [("Authorization", authorization)]
    return exchange(headers=headers, identities=USERS, consumers={"guest": consumer("guest")})


def rewrite(sent: Exchange, **config: Any) -> Reply | None:
    hook = bind(plugin, config).rewrite
    assert hook is not None
    return finish(hook(sent))


class RewriteTests(SynchronousTestCase):
    def refused(self, sent: Exchange, message: str, reason: str) -> None:
        reply = rewrite(sent)
        assert reply is not None
        self.assertEqual((reply.status, reply.body), (401, b'{"message":"%s"}\n' % message.encode()))
        self.assertIn((b"www-authenticate", b'Basic realm="basic"'), reply.fields)
        self.assertEqual((reply.reason, sent.consumer), (reason, None))

    def test_accepted(self) -> None:
        """The right password makes a request its user's; colons and spaces in it count."""
        for text, username in (("jack:p: s ", "jack"), ("рита:пароль", "рита")):
            sent = request(basic(text))
            self.assertIsNone(rewrite(sent))
            assert sent.consumer is not None
            self.assertEqual(sent.consumer.username, username)
        sent = request("BASIC " + basic("jack:p: s ")[6:])
        self.assertIsNone(rewrite(sent))
        self.assertEqual(sent.fields.get(b"x-consumer-username"), b"jack")
        self.assertEqual(sent.fields.get(b"x-credential-identifier"), b"c1")
        self.assertEqual(sent.fields.get(b"x-consumer-custom-id"), b"c-1")

    def test_missing(self) -> None:
        """Without the header the answer says so."""
        self.refused(request(None), "Missing authorization in request", "basic_missing")

    def test_malformed(self) -> None:
        """What are no Basic credentials is invalid."""
        for value in ("", "Basic", "Bearer x", "Basic ????", basic("jack")):
            self.refused(request(value), "Invalid authorization in request", "basic_malformed")

    def test_wrong(self) -> None:
        """An unknown user and a wrong password look the same to the client, not in the log."""
        message = "Invalid user authorization"
        for text in ("jill:p: s ", ":p", "JACK:p: s "):
            self.refused(request(basic(text)), message, "basic_user_unknown")
        for text in ("jack:", "jack:p:s", "jack:p: s", "jack:P: s ", "рита:p: s "):
            self.refused(request(basic(text)), message, "basic_password_wrong")
        latin = "Basic " + base64.b64encode("zoë:p".encode("latin-1")).decode()
        self.refused(request(latin), message, "basic_user_unknown")
        self.assertIsNotNone(rewrite(exchange(headers=[("Authorization", basic("a:b"))])))

    def test_hide(self) -> None:
        """The header goes on to the upstream unless it is to be hidden."""
        for hide in (False, True):
            sent = request(basic("jack:p: s "))
            self.assertIsNone(rewrite(sent, hide_credentials=hide))
            self.assertEqual(b"authorization" not in sent.fields, hide)

    def test_anonymous(self) -> None:
        """Whatever fails may go on as the anonymous consumer; one that is not there helps nobody."""
        sent = request(basic("jack:x"))
        self.assertIsNone(rewrite(sent, anonymous_consumer="guest", hide_credentials=True))
        assert sent.consumer is not None
        self.assertEqual(
            (sent.consumer.username, sent.context["auth_failure"]), ("guest", "basic_password_wrong")
        )
        self.assertNotIn(b"authorization", sent.fields)
        reply = rewrite(request(None), anonymous_consumer="ghost")
        assert reply is not None
        self.assertEqual(reply.body, b'{"message":"Invalid user authorization"}\n')

    def test_realm(self) -> None:
        """The realm is the route's."""
        reply = rewrite(request(None), realm="a b")
        assert reply is not None
        self.assertIn((b"www-authenticate", b'Basic realm="a b"'), reply.fields)

    @settings(deadline=None, max_examples=100)
    @given(st.binary(max_size=60))
    def test_arbitrary(self, value: bytes) -> None:
        """Arbitrary bytes are 401, never an error."""
        for text in (value.decode("latin-1"), "Basic " + base64.b64encode(value).decode()):
            reply = rewrite(request(text))
            self.assertEqual(None if reply is None else reply.status, 401)


class FactoryTests(SynchronousTestCase):
    def test_schemas(self) -> None:
        """Settings are checked on routes and on credentials."""
        self.assertEqual(problems(plugin, {}), [])
        self.assertEqual(problems(plugin, {"realm": 'a"'}), [("/realm", "pattern")])

        def credential(**config: Any) -> list[tuple[str, str]]:
            return problems(plugin, config, credential=True)

        self.assertEqual(credential(username="a", password="b"), [])
        self.assertEqual(credential(username="$env://U", password="$env://P"), [])
        self.assertEqual(credential(username="a"), [("/password", "required")])
        self.assertEqual(credential(password="a"), [("/username", "required")])
        self.assertEqual(credential(username=1, password="a"), [("/username", "type")])
        self.assertIn("colon", credential(username="a:b", password="a")[0][1])
        self.assertEqual((plugin.priority, plugin.key_field), (2520, "username"))
        self.assertEqual(plugin.credential_secret_fields, ("password",))

    def test_unusable_credentials(self) -> None:
        """An empty name or password, and what was not resolved, lets nobody in."""
        for username, password in (("a", ""), ("", "b"), ("$env://A", "b"), ("a", "$secret://vault/1/p/k")):
            self.assertRaises(ValueError, plugin.credential, {"username": username, "password": password})
