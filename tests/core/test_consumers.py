from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.core.consumers import CONSUMER_FIELDS, Identity, attach
from gateway.testing.exchanges import consumer, exchange


class AttachTests(SynchronousTestCase):
    """jwt-auth contract §6: what the upstream learns about who sent a request."""

    def _fields(self, custom_id: str | None, credential_id: str | None) -> list[tuple[bytes, bytes]]:
        ex = exchange(headers=[("Accept", "*/*")])
        # As if an earlier auth plugin, or a client, had said something else.
        for name in CONSUMER_FIELDS:
            ex.fields.add(name, b"spoofed")
        jack = consumer("jack", labels={} if custom_id is None else {"custom_id": custom_id})
        attach(ex, Identity(jack, credential_id, None))
        self.assertIs(ex.consumer, jack)
        self.assertEqual(ex.credential_id, credential_id)
        return ex.fields.pairs

    def test_all(self) -> None:
        """Username, credential and custom id are sent, once each, after the client's own fields."""
        self.assertEqual(
            self._fields("4711", "c1"),
            [
                (b"accept", b"*/*"),
                (b"x-consumer-username", b"jack"),
                (b"x-credential-identifier", b"c1"),
                (b"x-consumer-custom-id", b"4711"),
            ],
        )

    def test_some(self) -> None:
        """What is not known is not sent, nor is what somebody else said it was."""
        self.assertEqual(self._fields(None, None), [(b"accept", b"*/*"), (b"x-consumer-username", b"jack")])


class ValueTests(SynchronousTestCase):
    def test_no_secrets_in_repr(self) -> None:
        """Neither a credential nor a consumer's plugin settings are in a repr."""
        jack = consumer("jack", plugins={"p": {"secret": "hunter2"}})
        self.assertNotIn("hunter2", repr(Identity(jack, "c1", {"secret": "hunter2"})))

    def test_identity_is_itself(self) -> None:
        """Two identities that look alike are two: a cache that holds one must not take the other for it."""
        jack = consumer()
        self.assertNotEqual(Identity(jack, "c1", None), Identity(jack, "c1", None))
