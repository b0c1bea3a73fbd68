"""Documents on the line between the first process and a worker."""

from __future__ import annotations

import random
from types import MappingProxyType

from twisted.trial.unittest import SynchronousTestCase

from gateway.control import amp_commands
from gateway.control.amp_commands import (
    Unpacker,
    changes_document,
    pack,
    read_changes,
    read_records,
    records_document,
)
from gateway.model.record import Change, Record


def sent(document: object) -> object:
    """As it arrives."""
    unpacker = Unpacker()
    for part in pack(document).parts:
        unpacker.add(part)
    return unpacker.take()


class DocumentTests(SynchronousTestCase):
    def test_values(self) -> None:
        """Every value that configuration can hold arrives as it was sent."""
        value = {"text": "ä\ud800\u2028", "n": [1, 2**70, -0.1, 1e300, True, None], "": {}}
        self.assertEqual(sent(value), value)
        self.assertEqual(sent(MappingProxyType({"a": (1, 2)})), {"a": [1, 2]})
        self.assertRaises(TypeError, pack, {"a": object()})

    def test_large(self) -> None:
        """What is larger than one AMP value goes in parts, each of which fits."""
        chance = random.Random(1)
        value = [chance.random() for _ in range(50_000)]
        parts = pack(value).parts
        self.assertGreater(len(parts), 5)
        self.assertLessEqual(max(map(len, parts)), 65_535)
        self.assertEqual(sent(value), value)

    def test_one_after_the_other(self) -> None:
        """What was taken does not come again."""
        unpacker = Unpacker()
        for value in ([1], [2]):
            for part in pack(value).parts:
                unpacker.add(part)
            self.assertEqual(unpacker.take(), value)

    def test_damaged(self) -> None:
        """What is cut, garbled or missing is refused, never half taken."""
        (part,) = pack([1, 2, 3]).parts
        for data in (b"", part[:-1], b"nonsense"):
            unpacker = Unpacker()
            unpacker.add(data)
            self.assertRaises(ValueError, unpacker.take)

    def test_limit(self) -> None:
        """There is a largest document, packed and unpacked, at both ends."""
        document = pack("x" * 5000)
        self.patch(amp_commands, "MAX_DOCUMENT_BYTES", 1000)
        self.assertRaises(ValueError, pack, "x" * 1000)
        unpacker = Unpacker()
        for part in document.parts:
            unpacker.add(part)
        self.assertRaises(ValueError, unpacker.take)
        self.assertRaises(ValueError, unpacker.add, b"x" * 1001)

    def test_records_and_changes(self) -> None:
        """Records keep everything that is compiled, changes everything."""
        record = Record("g", "route", "r", {"name": "r"}, "apisix", 1, 2, 3, 4)
        records, damaged = read_records(sent(records_document([record], [("g", "route", "x")])))
        self.assertEqual(records, [Record("g", "route", "r", {"name": "r"}, "apisix", 0, 0, 3, 4)])
        self.assertEqual(damaged, [("g", "route", "x")])
        changes = [Change("g", "route", "r", {"a": 1}, "apisix"), Change("g", "route", "s", None)]
        self.assertEqual(read_changes(sent(changes_document(changes))), changes)

    def test_nothing_is_shown(self) -> None:
        """The repr of a packed document says nothing of it."""
        self.assertEqual(repr(pack({"secret": "hidden"})), "Packed()")
