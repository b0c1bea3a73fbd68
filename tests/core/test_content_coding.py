"""Tests for gateway.core.content_coding."""

from __future__ import annotations

import gzip
import zlib

from twisted.trial.unittest import SynchronousTestCase

from gateway.core.content_coding import Decoder

TEXT = b"some content " * 200


def decoded(coding: bytes, data: bytes, step: int) -> bytes:
    decoder = Decoder(coding)
    return b"".join([decoder.decode(data[at : at + step]) for at in range(0, len(data), step)])


class DecoderTests(SynchronousTestCase):
    def test_codings(self) -> None:
        """gzip, one or several members, and deflate with and without its wrapper; in pieces of any size."""
        raw = zlib.compressobj(wbits=-15)
        for coding, data, wanted in (
            (b"gzip", gzip.compress(TEXT), TEXT),
            (b"x-gzip", gzip.compress(TEXT) + gzip.compress(b"more"), TEXT + b"more"),
            (b"deflate", zlib.compress(TEXT), TEXT),
        ):
            for step in (1, 7, len(data)):
                self.assertEqual(decoded(coding, data, step), wanted)
        bare = raw.compress(TEXT) + raw.flush()
        self.assertEqual(decoded(b"deflate", bare, len(bare)), TEXT)

    def test_damaged(self) -> None:
        """What is not in the coding ends the content; nothing is raised."""
        for coding in (b"gzip", b"deflate"):
            decoder = Decoder(coding)
            self.assertEqual(decoder.decode(b"\xff\xffplain text"), b"")
            self.assertTrue(decoder.damaged)
            self.assertEqual(decoder.decode(b"more"), b"")
