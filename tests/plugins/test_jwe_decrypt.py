"""Tests for gateway.plugins.jwe_decrypt."""

from __future__ import annotations

import base64
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway.core.exchange import Exchange, Reply
from gateway.plugins.jwe_decrypt import MESSAGES, plugin
from gateway.testing.exchanges import consumer, exchange
from gateway.testing.plugins import bind, finish, identities, problems
from gateway.testing.tokens import encrypt

SECRET = "12345678901234567890123456789012"
RAW = bytes(range(32))
ENCODED = base64.urlsafe_b64encode(RAW).decode()
KEYS = identities(
    plugin,
    (consumer("jack"), "c1", {"key": "user-key", "secret": SECRET}),
    (consumer("jill"), "c2", {"key": "raw-key", "secret": ENCODED, "is_base64_encoded": True}),
)


def token(kid: object = "user-key", content: bytes = b"hello", secret: bytes = SECRET.encode()) -> str:
    header = {"alg": "dir", "enc": "A256GCM", **({} if kid is None else {"kid": kid})}
    return encrypt(header, content, secret).decode()


def rewrite(value: str | None, name: str = "Authorization", **config: Any) -> tuple[Exchange, Reply | None]:
    hook = bind(plugin, config).rewrite
    assert hook is not None
    sent = exchange(headers=[] if value is None else [(name, value)], identities=KEYS)
    return sent, finish(hook(sent))


class RewriteTests(SynchronousTestCase):
    def test_decrypted(self) -> None:
        """The upstream gets what is in the token; nobody becomes the consumer."""
        for value in (token(), "Bearer " + token(), "bearer " + token()):
            sent, reply = rewrite(value)
            self.assertIsNone(reply)
            self.assertEqual(sent.fields.get_all(b"authorization"), [b"hello"])
            self.assertIsNone(sent.consumer)
        sent, _ = rewrite(token("raw-key", secret=RAW))
        self.assertEqual(sent.fields.get(b"authorization"), b"hello")

    def test_headers(self) -> None:
        """Where the token stands, and where its content goes, the route says; content breaks no line."""
        sent, reply = rewrite(
            token(content=b"a\r\nX: y"), "X-Token", header="X-Token", forward_header="X-Content"
        )
        self.assertIsNone(reply)
        self.assertEqual(sent.fields.get(b"x-content"), b"aX: y")
        self.assertIn(b"x-token", sent.fields)

    def test_refused(self) -> None:
        """Each way to fail has its status and words."""
        for value, reason in (
            (None, "jwe_missing"),
            ("", "jwe_malformed"),
            ("a.b.c", "jwe_malformed"),
            (token(None), "jwe_key_missing"),
            (token(""), "jwe_key_missing"),
            (token("nobody"), "jwe_key_unknown"),
            (token(5), "jwe_key_unknown"),
            (token(secret=RAW), "jwe_undecipherable"),
            (token("nobody") + "@", "jwe_key_unknown"),
            (token() + "@", "jwe_undecipherable"),
        ):
            _, reply = rewrite(value)
            assert reply is not None
            status, message = MESSAGES[reason]
            self.assertEqual((reply.reason, reply.status), (reason, status))
            self.assertEqual(reply.body, b'{"message":"%s"}\n' % message.encode())

    def test_not_strict(self) -> None:
        """Without a token a request passes if the route is not strict; a bad one never does."""
        self.assertIsNone(rewrite(None, strict=False)[1])
        self.assertIsNotNone(rewrite("x", strict=False)[1])
        sent, reply = rewrite("forged", "X-Content", strict=False, forward_header="X-Content")
        self.assertIsNone(reply)
        self.assertNotIn(b"x-content", sent.fields)


class FactoryTests(SynchronousTestCase):
    def test_schemas(self) -> None:
        """Settings are checked on routes and on credentials."""
        self.assertEqual(problems(plugin, {}), [])
        self.assertEqual(problems(plugin, {"header": "a b"}), [("", "'a b' is not the name of a header")])

        def credential(**config: Any) -> list[tuple[str, str]]:
            return problems(plugin, config, credential=True)

        self.assertEqual(credential(key="k", secret=SECRET), [])
        self.assertEqual(credential(key="k", secret="$env://S"), [])
        for encoded in (ENCODED, ENCODED.rstrip("=")):
            self.assertEqual(credential(key="k", secret=encoded, is_base64_encoded=True), [])
        short = [("", "the secret length should be 32 chars")]
        self.assertEqual(credential(key="k", secret="short"), short)
        self.assertEqual(credential(key="k", secret="c2hvcnQ", is_base64_encoded=True), short)
        self.assertIn("not base64url", credential(key="k", secret="@", is_base64_encoded=True)[0][1])
        self.assertEqual(credential(secret=SECRET), [("/key", "required")])
        self.assertEqual((plugin.priority, plugin.credential_secret_fields), (2509, ("key", "secret")))
        self.assertRaises(ValueError, plugin.credential, {"key": "k", "secret": "$env://S"})
