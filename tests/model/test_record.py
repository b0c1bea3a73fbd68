from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.model.record import Change, Record, Revision, StoreView

VALUE = {"name": "x", "plugins": {"key-auth": {"key": "hunter2"}}}


class RecordTests(SynchronousTestCase):
    def test_keys(self) -> None:
        """A record and the change that makes it have the same key."""
        record = Record("default", "route", "r1", VALUE, "enterprise", 1, 2, 3, 4)
        change = Change("default", "route", "r1", VALUE)
        self.assertEqual(record.key, ("default", "route", "r1"))
        self.assertEqual(change.key, record.key)
        self.assertEqual(change.dialect, "enterprise")

    def test_no_documents_in_repr(self) -> None:
        """No repr on the way of a change holds the document: there may be secrets in it."""
        record = Record("default", "route", "r1", VALUE, "enterprise", 1, 2, 3, 4)
        change = Change("default", "route", "r1", VALUE)
        revision = Revision(1, 0.0, "ci", None, (change,), (record,))
        self.assertNotIn("hunter2", repr((record, change, revision, StoreView(1, [record]))))
