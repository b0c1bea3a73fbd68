from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.model.gateway_group import DEFAULT_GROUP, SCHEMA
from gateway.model.schema import fill_scalars
from tests.model.shapes import faults, refused


class SchemaTests(SynchronousTestCase):
    def test_members(self) -> None:
        """A group has a name of 1 to 100 characters; the rest may be left out (contract §3.6)."""
        self.assertEqual(faults(SCHEMA, {}), [("/name", "required")])
        self.assertEqual(refused(SCHEMA, {}, "name", ["a", "x" * 100, "", "x" * 101, 1]), ["", "x" * 101, 1])
        types = ["api7_gateway", "api7_ingress_controller", "other"]
        self.assertEqual(refused(SCHEMA, {"name": "g"}, "type", types), ["other"])
        full = {
            "name": "g",
            "description": "",
            "labels": {"a": "b"},
            "id": "ignored",
            "prefix": "/x",
            "config": {},
        }
        self.assertEqual(faults(SCHEMA, full), [])
        self.assertEqual(faults(SCHEMA, {"name": "g", "desc": "x"}), [("/desc", "additionalProperties")])

    def test_stored(self) -> None:
        """A group says its type and whether publishing is enforced."""
        self.assertEqual(
            fill_scalars(SCHEMA, {"name": "g"}),
            {"name": "g", "type": "api7_gateway", "enforce_service_publishing": False},
        )

    def test_built_in(self) -> None:
        """The group that is always there is called ``default``, as clients expect (contract §2.3)."""
        self.assertEqual(DEFAULT_GROUP, "default")
