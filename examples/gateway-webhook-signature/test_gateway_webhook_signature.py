"""Tests of the plugin, without a gateway around it."""

from __future__ import annotations

from typing import Any

from gateway_webhook_signature import plugin
from twisted.trial.unittest import SynchronousTestCase

from gateway.core.exchange import Exchange, Outcome, Reply
from gateway.testing.exchanges import exchange
from gateway.testing.plugins import bind, finish, problems
from gateway.testing.services import FakeLog, services

SECRET = "It's a Secret to Everybody"
CONTENT = b"Hello, World!"
SIGNATURE = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"


def webhook(signature: str | None = SIGNATURE, content: bytes = CONTENT) -> Exchange:
    headers = [] if signature is None else [("X-Hub-Signature-256", signature)]
    return exchange("POST", "/hook", headers, content=content, client_ip="192.0.2.7")


def access(sent: Exchange, **config: Any) -> Reply | None:
    hook = bind(plugin, {"secret": SECRET, **config}).access
    assert hook is not None
    return finish(hook(sent))


class WebhookSignatureTests(SynchronousTestCase):
    def test_signed(self) -> None:
        """A signed webhook is let in."""
        self.assertIsNone(access(webhook()))

    def test_refused(self) -> None:
        """One that is not signed, or was changed on the way, is not."""
        for sent, reason in (
            (webhook(None), "webhook_unsigned"),
            (webhook("sha1=00"), "webhook_unsigned"),
            (webhook(content=b"Hello, Mallory!"), "webhook_forged"),
            (webhook(SIGNATURE[:-1]), "webhook_forged"),
        ):
            reply = access(sent)
            assert reply is not None
            self.assertEqual((reply.status, reply.reason), (401, reason))

    def test_too_large(self) -> None:
        """More content than somebody wants to hold is refused."""
        reply = access(webhook(), max_body_size=5)
        assert reply is not None
        self.assertEqual(reply.status, 413)

    def test_told(self) -> None:
        """A forged webhook is told in the log."""
        log = FakeLog()
        hook = bind(plugin, {"secret": SECRET}, services(log=log)).log
        assert hook is not None
        for reason in ("ok", "webhook_forged"):
            sent = webhook()
            sent.outcome = Outcome(401, "plugin:webhook-signature", reason)
            hook(sent)
        self.assertEqual(log.events, [("warn", "a forged webhook came from 192.0.2.7")])

    def test_settings(self) -> None:
        """A secret is needed; it may be a reference, which is looked up in the environment."""
        self.assertEqual(problems(plugin, {}), [("/secret", "required")])
        self.assertEqual(
            problems(plugin, {"secret": "s", "header": "a b"}), [("", "'a b' is not the name of a header")]
        )
        bound = bind(plugin, {"secret": "$env://HOOK"}, environment={"HOOK": SECRET})
        assert bound.access is not None
        self.assertIsNone(finish(bound.access(webhook())))
        self.assertRaises(ValueError, bind, plugin, {"secret": "$env://HOOK"})
