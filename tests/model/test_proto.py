from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.model.proto import MAX_CONTENT, SCHEMA
from tests.model.shapes import faults, refused


class ProtoTests(SynchronousTestCase):
    def test_content(self) -> None:
        """A proto is its text, 1 byte to 1 MiB (contract §5.6)."""
        self.assertEqual(faults(SCHEMA, {}), [("/content", "required")])
        long = "x" * (MAX_CONTENT + 1)
        self.assertEqual(refused(SCHEMA, {}, "content", ['syntax = "proto3";', "", long]), ["", long])
