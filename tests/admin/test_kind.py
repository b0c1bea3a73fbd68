from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.admin.kind import Shape, flag, member, one, plain_id, username_id
from gateway.admin.kinds import KINDS, kind_at
from gateway.model.record import Record


def record(**value: object) -> Record:
    return Record("default", "sni", "x", value, "enterprise", 0, 0, 1, 1)


class KindTests(SynchronousTestCase):
    def test_ids(self) -> None:
        """Ids and usernames have alphabets of their own."""
        self.assertEqual((plain_id("a-B_1."), username_id("a-B_1")), ([], []))
        self.assertEqual([p.pointer for p in plain_id("a/b")], ["/id"])
        self.assertEqual([p.pointer for p in username_id("a.b")], ["/username"])

    def test_filters(self) -> None:
        """A filter looks at one member, a flag at whether it is true."""
        self.assertTrue(member("domain")(record(domain="a.test"), "a.test"))
        self.assertFalse(member("domain")(record(), "a.test"))
        self.assertTrue(flag("mtls_enabled")(record(mtls_enabled=True), "true"))
        self.assertTrue(flag("mtls_enabled")(record(), "false"))

    def test_defaults(self) -> None:
        """A shape adds the scalar defaults of the schema that fits the document."""
        shape = Shape(
            "x", "L", one({"type": "object", "properties": {"a": {"default": 1}, "b": {"default": []}}})
        )
        self.assertEqual(shape.complete({"c": 2}), {"a": 1, "c": 2})

    def test_paths(self) -> None:
        """No two kinds of a dialect answer at one place, and each is found where its shape says."""
        for dialect in {name for kind in KINDS.values() for name in kind.shapes}:
            places = [
                (kind.parent, path)
                for kind in KINDS.values()
                if dialect in kind.shapes
                for path in (kind.shapes[dialect].path, *kind.shapes[dialect].aliases)
            ]
            self.assertEqual(len(places), len(set(places)), dialect)
            for parent, path in places:
                found = kind_at(dialect, path, parent)
                assert found is not None
                self.assertEqual(found.parent, parent)
        self.assertIsNone(kind_at("enterprise", "upstreams"))
