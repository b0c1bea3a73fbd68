"""Tests for gateway.core.http_signature."""

from __future__ import annotations

import base64

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.core import http_signature
from gateway.core.fields import Fields
from gateway.core.http_signature import Signature, matches, parse, parse_date, signed_text

FIELD = (
    b'Signature keyId="user-1",algorithm="hmac-sha256",headers="@request-target date X-Custom",'
    b'signature="b+D/0w=="'
)


class ParseTests(SynchronousTestCase):
    def test_parameters(self) -> None:
        """The parameters are read whatever their order, the scheme whatever its letter case."""
        wanted = Signature("user-1", "hmac-sha256", ("@request-target", "date", "X-Custom"), "b+D/0w==")
        self.assertEqual(parse(FIELD), wanted)
        self.assertEqual(parse(FIELD.replace(b"Signature", b"SIGNATURE").replace(b",", b" , ")), wanted)

    def test_incomplete(self) -> None:
        """What is missing is empty; what is said twice counts once; what is unknown does not matter."""
        self.assertEqual(parse(b"Signature"), Signature())
        self.assertEqual(parse(b'Signature keyId="a",keyId="b",created="1"'), Signature("a"))
        self.assertIsNone(parse(b"Basic dTpw"))

    @settings(deadline=None, max_examples=100)
    @given(st.binary(max_size=80))
    def test_arbitrary(self, value: bytes) -> None:
        """Arbitrary bytes are read, never an error, and match no secret."""
        read = parse(b"signature " + value)
        assert read is not None
        self.assertFalse(matches(Signature(signature=read.signature, algorithm="hmac-sha1"), b"k", b"t"))


class SigningTests(SynchronousTestCase):
    def test_text(self) -> None:
        """One line for the key id, one for each name in order and as spelt; absent fields have none."""
        read = parse(FIELD.replace(b"date", b"Date absent"))
        assert read is not None
        fields = Fields([(b"x-custom", b"a b"), (b"date", b"now"), (b"date", b"later")])
        self.assertEqual(
            signed_text(read, b"GET", b"/p?q=%20", fields),
            b"user-1\nGET /p?q=%20\nDate: now\nX-Custom: a b\n",
        )

    def test_vectors(self) -> None:
        """The MACs are those of RFC 2104 with the named hash (test case 2 of RFC 2202 and RFC 4231)."""
        for algorithm, mac in (
            ("hmac-sha1", "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
            ("hmac-sha256", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
            (
                "hmac-sha512",
                "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fd"
                "caeab1a34d4a6b4b636e070a38bce737",
            ),
        ):
            found = http_signature.mac(algorithm, b"Jefe", b"what do ya want for nothing?")
            self.assertEqual(found.hex(), mac)

    def test_padding(self) -> None:
        """A signature is the same with its padding and without; another is another."""
        text = base64.b64encode(http_signature.mac("hmac-sha256", b"k", b"t")).decode()
        for sent, same in ((text, True), (text.rstrip("="), True), (text[:-2], False), ("@@@@", False)):
            signature = Signature(algorithm="hmac-sha256", signature=sent)
            self.assertEqual(matches(signature, b"k", b"t"), same, sent)

    def test_dates(self) -> None:
        """All three forms of an HTTP date are read; others, and other zones, are not."""
        for text in (
            b"Sun, 06 Nov 1994 08:49:37 GMT",
            b"Sunday, 06-Nov-94 08:49:37 GMT",
            b"Sun Nov  6 08:49:37 1994",
        ):
            self.assertEqual(parse_date(text), 784111777, text)
        for text in (b"", b"yesterday", b"Sun, 06 Nov 1994 08:49:37 +0200", b"\xff", b"784111777"):
            self.assertIsNone(parse_date(text), text)

    def test_digest(self) -> None:
        """The digest is that of the content."""
        self.assertEqual(
            http_signature.digest_of(b""), b"SHA-256=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
        )
