from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.admin.preconditions import Preconditions, entity_tag
from gateway.admin.refusals import Stale
from gateway.model.record import Record

RECORD = Record("g", "route", "r", {}, "enterprise", 1, 1, 3, 7)


class PreconditionsTests(SynchronousTestCase):
    def _holds(self, record: Record | None, **fields: str) -> bool:
        try:
            Preconditions(**fields).check(record)
        except Stale:
            return False
        return True

    def test_tag(self) -> None:
        """The tag of a resource is the revision that changed it last."""
        self.assertEqual(entity_tag(RECORD), '"7"')

    def test_if_match(self) -> None:
        """If-Match names the revision a writer has seen, quoted or bare, alone or in a list."""
        good = ('"7"', "7", 'W/"7"', '"6", "7"', "*")
        bad = ('"6"', "", '"77"', "nonsense nonsense")
        for value, holds in [*((text, True) for text in good), *((text, False) for text in bad)]:
            self.assertEqual(self._holds(RECORD, if_match=value), holds, value)
            self.assertFalse(self._holds(None, if_match=value))

    def test_if_none_match(self) -> None:
        """If-None-Match keeps a writer from replacing what is there."""
        for value, holds in (("*", False), ('"7"', False), ('"6"', True)):
            self.assertEqual(self._holds(RECORD, if_none_match=value), holds, value)
            self.assertTrue(self._holds(None, if_none_match=value))

    def test_nothing_asked(self) -> None:
        """Without either, every write may go on."""
        self.assertTrue(self._holds(RECORD))
        self.assertTrue(self._holds(None))
