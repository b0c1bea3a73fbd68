from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.model.credential import SCHEMA, Credential, join_id, split_id
from gateway.model.fields import ID_PATTERN, USERNAME_PATTERN
from gateway.model.schema import fill_scalars
from tests.model.shapes import announced, faults

KEY_AUTH = {"key-auth": {"key": "k"}}


class SchemaTests(SynchronousTestCase):
    def test_members(self) -> None:
        """A credential has a name and one plugin (contract §3.5)."""
        self.assertEqual(faults(SCHEMA, {"name": "c", "plugins": KEY_AUTH}), [])
        full = {"id": "c", "name": "c", "desc": "x", "labels": {"a": "b"}, "plugins": KEY_AUTH}
        self.assertEqual(faults(SCHEMA, full), [])
        self.assertEqual(faults(SCHEMA, {}), [("/name", "required"), ("/plugins", "required")])

    def test_one_plugin(self) -> None:
        """Neither none nor two."""
        self.assertEqual(faults(SCHEMA, {"name": "c", "plugins": {}}), [("/plugins", "minProperties")])
        both = {**KEY_AUTH, "jwt-auth": {"key": "k"}}
        self.assertEqual(faults(SCHEMA, {"name": "c", "plugins": both}), [("/plugins", "maxProperties")])

    def test_no_defaults(self) -> None:
        """No default is announced or stored: the settings come back as they were sent."""
        self.assertIsNone(announced(SCHEMA))
        document = {"name": "c", "plugins": KEY_AUTH}
        self.assertEqual(fill_scalars(SCHEMA, document), document)


class IdTests(SynchronousTestCase):
    @settings(deadline=None, max_examples=50)
    @given(st.from_regex(USERNAME_PATTERN, fullmatch=True), st.from_regex(ID_PATTERN, fullmatch=True))
    def test_both_ways(self, username: str, own: str) -> None:
        """A stored id gives back the username and the id it was made of."""
        self.assertEqual(split_id(join_id(username, own)), (username, own))


class ParseTests(SynchronousTestCase):
    def test_parse(self) -> None:
        """The owner comes from the stored id, plugin and settings from the document."""
        parsed = Credential.parse("jack/c1", {"name": "c", "plugins": KEY_AUTH})
        self.assertEqual(parsed, Credential("c1", "jack", "key-auth", {"key": "k"}))

    def test_not_one_plugin(self) -> None:
        """A credential may be for no plugin yet; two are a ValueError."""
        for document in ({}, {"plugins": {}}):
            self.assertEqual(Credential.parse("jack/c1", document), Credential("c1", "jack", "", {}))
        self.assertRaises(ValueError, Credential.parse, "jack/c1", {"plugins": {**KEY_AUTH, "x": {}}})

    def test_no_settings_in_repr(self) -> None:
        """The settings are not in the repr."""
        self.assertNotIn("hunter2", repr(Credential("c", "jack", "key-auth", {"key": "hunter2"})))
