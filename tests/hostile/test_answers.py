"""Answers with two readings: none of them is relied on, however the network cuts them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.http1.response import BadResponse, ResponseReader
from tests.hostile.answers import BAD_CONTENT, BAD_HEADS
from tests.http1.wire import wire


class HostileAnswerTests(SynchronousTestCase):
    def test_heads(self) -> None:
        """No part of an answer with a bad head is taken for a head."""
        for name, data in BAD_HEADS.items():
            for pieces in wire(data).cuts():
                reader = ResponseReader()
                with self.assertRaises(BadResponse, msg=f"{name}: {pieces}"):
                    for piece in pieces:
                        reader.feed(piece)
                self.assertIsNone(reader.head, name)

    def test_content(self) -> None:
        """Content with bad framing never counts as complete, and its connection is not used again."""
        for name, data in BAD_CONTENT.items():
            for pieces in wire(data).cuts():
                reader = ResponseReader()
                with self.assertRaises(BadResponse, msg=f"{name}: {pieces}"):
                    for piece in pieces:
                        reader.feed(piece)
                self.assertFalse(reader.complete or reader.reusable, name)
                self.assertFalse(reader.close(True), name)
