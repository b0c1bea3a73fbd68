"""Tests for gateway.core.content_coding."""

from __future__ import annotations

import gzip
import zlib

from twisted.trial.unittest import SynchronousTestCase

from gateway.core.content_coding import Decoder, beginning, coding_of
from gateway.core.fields import Fields

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


class BeginningTests(SynchronousTestCase):
    def test_coding(self) -> None:
        """What a message says of its coding is read in any letter case, from all its lines."""
        self.assertEqual(coding_of(Fields([(b"content-encoding", b"GZip")])), b"gzip")
        self.assertEqual(
            coding_of(Fields([(b"content-encoding", b"a"), (b"content-encoding", b"b")])), b"a,b"
        )
        self.assertEqual(coding_of(Fields()), b"")

    def test_decoded(self) -> None:
        """Content is decoded as far as there is some, and about as far as it is asked for."""
        for coding, data in ((b"gzip", gzip.compress(TEXT)), (b"deflate", zlib.compress(TEXT))):
            self.assertEqual(beginning(data, coding, 1 << 20), TEXT)
            cut = beginning(data[:-12], coding, 1 << 20)
            self.assertTrue(cut and TEXT.startswith(cut))
        large = gzip.compress(bytes(1 << 26))
        self.assertLess(len(beginning(large, b"gzip", 100)), 1 << 22)

    def test_as_it_came(self) -> None:
        """Content of another coding, of none, or not in the one it says stays as it is."""
        damaged = gzip.compress(TEXT)[:10] + b"\xff" * 2000
        for coding, data in (
            (b"br", b"x"),
            (b"", b"x"),
            (b"gzip, br", b"x"),
            (b"gzip", b"x" * 20),
            (b"gzip", damaged),
        ):
            self.assertEqual(beginning(data, coding, 1 << 20), data)
