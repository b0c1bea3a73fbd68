from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway.core.owners import Owner, entry_of, identities_of
from gateway.model.consumer import Consumer
from gateway.model.credential import Credential


def is_auth(name: str) -> bool:
    return name.endswith("-auth")


def make(name: str, config: Mapping[str, Any]) -> tuple[str, object]:
    if "key" not in config:
        raise ValueError("key is missing")
    return config["key"], (name, config["key"])


def jack(**more: Any) -> Consumer:
    return Consumer("jack", more.get("plugins", {}), more.get("labels", {}), more.get("group_id"))


class OwnerTests(SynchronousTestCase):
    def test_credentials(self) -> None:
        """Credentials are set, replaced and removed by their id; the owner before stays as it was."""
        one, two = (Credential("c1", "jack", "key-auth", {"key": key}) for key in "ab")
        empty = Owner()
        first = empty.with_credential("c1", one)
        second = first.with_credential("c1", two).with_credential("c2", one)
        self.assertEqual(empty.credentials, {})
        self.assertEqual(first.credentials, {"c1": one})
        self.assertEqual(list(second.credentials.items()), [("c1", two), ("c2", one)])
        self.assertEqual(second.with_credential("c1", None).credentials, {"c2": one})
        self.assertEqual(empty.with_credential("c9", None), Owner())
        self.assertEqual(
            second.with_credential("c1", Credential("c1", "jack", "", {})).credentials, {"c2": one}
        )


class EntryTests(SynchronousTestCase):
    def test_plugins(self) -> None:
        """A consumer's plugins run for its requests, those that authenticate aside."""
        entry = entry_of(jack(plugins={"key-auth": {"key": "a"}, "limit": {"n": 1}}, group_id="g"), is_auth)
        self.assertEqual(entry.plugins, {"limit": {"n": 1}})
        self.assertEqual((entry.username, entry.group_id), ("jack", "g"))

    def test_field_values(self) -> None:
        """Username and custom id are ready to be sent; nothing in a label can end the field."""
        entry = entry_of(jack(labels={"custom_id": " ä\r\nx-admin: 1\0\x1b\x7f\ty "}), is_auth)
        self.assertEqual(entry.wire_username, b"jack")
        self.assertEqual(entry.wire_custom_id, "äx-admin: 1\ty".encode())
        self.assertEqual(entry_of(Consumer("a\r\nb: c", {}, {}), is_auth).wire_username, b"ab: c")
        self.assertEqual(entry_of(jack(labels={"custom_id": "\udcff"}), is_auth).wire_custom_id, b"?")

    def test_no_custom_id(self) -> None:
        """Without a custom id, or with nothing that could be sent of it, there is no such field."""
        self.assertIsNone(entry_of(jack(), is_auth).wire_custom_id)
        self.assertIsNone(entry_of(jack(labels={"custom_id": "\r\n "}), is_auth).wire_custom_id)


class IdentitiesTests(SynchronousTestCase):
    def _identities(
        self, owner: Owner
    ) -> tuple[list[tuple[str, str, str | None, object]], Mapping[str | None, str]]:
        assert owner.consumer is not None
        entry = entry_of(owner.consumer, is_auth)
        found, faults = identities_of(owner, entry, make, is_auth)
        for _, _, identity in found:
            self.assertIs(identity.consumer, entry)
        return [(plugin, key, who.credential_id, who.credential) for plugin, key, who in found], faults

    def test_both_places(self) -> None:
        """Credentials kept on the consumer and its own resources lead to it alike."""
        owner = Owner(jack(plugins={"key-auth": {"key": "a"}, "limit": {}})).with_credential(
            "c1", Credential("c1", "jack", "jwt-auth", {"key": "b"})
        )
        self.assertEqual(
            self._identities(owner),
            (
                [("key-auth", "a", None, ("key-auth", "a")), ("jwt-auth", "b", "c1", ("jwt-auth", "b"))],
                {},
            ),
        )

    def test_unusable(self) -> None:
        """A credential that cannot be used is left out, with the reason; the others count."""
        owner = Owner(jack(plugins={"key-auth": {}, "jwt-auth": {}, "basic-auth": {"key": "u"}}))
        owner = owner.with_credential("c1", Credential("c1", "jack", "key-auth", {}))
        found, faults = self._identities(owner)
        self.assertEqual([key for _, key, _, _ in found], ["u"])
        self.assertEqual(
            faults,
            {None: "key-auth: key is missing; jwt-auth: key is missing", "c1": "key-auth: key is missing"},
        )

    def test_disabled(self) -> None:
        """A credential that is switched off lets nobody in, and is no fault, whatever it holds."""
        off = {"_meta": {"disable": True}}
        owner = Owner(jack(plugins={"key-auth": off}))
        owner = owner.with_credential("c1", Credential("c1", "jack", "jwt-auth", {"key": "b", **off}))
        self.assertEqual(self._identities(owner), ([], {}))
