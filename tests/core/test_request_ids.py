"""Tests for gateway.core.request_ids."""

from __future__ import annotations

from uuid import UUID

from twisted.trial.unittest import SynchronousTestCase

from gateway.core import request_ids


class IdTests(SynchronousTestCase):
    def test_uuid4(self) -> None:
        """A UUID has its version and variant, whatever the chance."""
        for random in (b"\x00" * 16, b"\xff" * 16):
            made = UUID(request_ids.uuid4(random))
            self.assertEqual((made.version, made.variant), (4, "specified in RFC 4122"))

    def test_uuid7(self) -> None:
        """The example of RFC 9562, appendix A.6."""
        random = bytes.fromhex("0cc318c4dc0c0c07398f")
        made = request_ids.uuid7(1645557742.000, random)
        self.assertEqual(made, "017f22e2-79b0-7cc3-98c4-dc0c0c07398f")
        self.assertEqual(request_ids.uuid7(1645557742.0, b"\xff" * 10)[14], "7")

    def test_ksuid(self) -> None:
        """27 characters that sort by time; the example of its reference implementation."""
        payload = bytes.fromhex("b5a1cd34b5f99d1154fb6853345c9735")
        made = request_ids.ksuid(request_ids.KSUID_EPOCH_S + 107608047, payload)
        self.assertEqual(made, "0ujtsYcgvSTl8PAuAdqWYSMnLOv")
        self.assertLess(
            request_ids.ksuid(1_700_000_000, b"\xff" * 16), request_ids.ksuid(1_700_000_001, b"\0" * 16)
        )
        self.assertEqual(len(request_ids.ksuid(0, b"\0" * 16)), 27)

    def test_alphabets(self) -> None:
        """Digits are those of the alphabet, as many as asked for, and there is chance enough for them."""
        self.assertEqual(request_ids.from_alphabet(6, 4, "ab"), "abba")
        self.assertEqual(request_ids.random_bytes_for(16, "x" * 256), 24)
        self.assertEqual(request_ids.random_bytes_for(8, "x"), 9)
        self.assertEqual((len(set(request_ids.NANOID_ALPHABET)), request_ids.NANOID_LENGTH), (64, 21))
