"""Tests for gateway.core.jwe."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.core.jwe import decrypt, parse
from gateway.testing.tokens import encrypt

SECRET = b"12345678901234567890123456789012"
ELSEWHERE = (
    b"eyJhbGciOiJkaXIiLCJraWQiOiJ1c2VyLWtleSIsImVuYyI6IkEyNTZHQ00ifQ..MTIzNDU2Nzg5MDEy.6JeRgm02rpOJdg"
    b".4nkSYJgwMKYgTeacatgmRw"
)
"""A token that another program made with that secret."""


class TokenTests(SynchronousTestCase):
    def test_good(self) -> None:
        """A token made with the secret is read."""
        token = parse(ELSEWHERE)
        assert token is not None
        self.assertEqual((token.header["kid"], decrypt(token, SECRET)), ("user-key", b"helloworld"))
        token = parse(encrypt({"alg": "dir", "enc": "A256GCM"}, b"", SECRET))
        assert token is not None
        self.assertEqual(decrypt(token, SECRET), b"")

    def test_changed(self) -> None:
        """A token of another secret, and one that was changed anywhere, is not."""
        token = parse(ELSEWHERE)
        assert token is not None
        self.assertIsNone(decrypt(token, b"x" * 32))
        header, key, *rest = ELSEWHERE.split(b".")
        other = header[:-2] + b"Q0"
        for text in (
            b".".join((other, key, *rest)),
            ELSEWHERE.replace(b"MTIz", b"MTIx"),
            ELSEWHERE.replace(b"6JeR", b"6JeS"),
            ELSEWHERE.replace(b".4nkS", b".4nkT"),
            ELSEWHERE.replace(b"MTIzNDU2Nzg5MDEy", b"MTIz"),
            ELSEWHERE.rpartition(b".")[0] + b".4nkS",
            ELSEWHERE[:-1] + b"x",
            ELSEWHERE + b"=",
            b".".join((header, b"AA", *rest)),
        ):
            changed = parse(text)
            self.assertIsNone(changed and decrypt(changed, SECRET), text)

    def test_other_kinds(self) -> None:
        """Other algorithms, compression and critical extensions are not understood."""
        for more in ({"alg": "A256KW"}, {"enc": "A128GCM"}, {"zip": "DEF"}, {"crit": ["x"]}, {"alg": None}):
            token = parse(encrypt({"alg": "dir", "enc": "A256GCM", **more}, b"x", SECRET))
            assert token is not None
            self.assertIsNone(decrypt(token, SECRET), more)

    def test_malformed(self) -> None:
        """What is not five parts, the first a JSON object in base64url, is no token."""
        header, key, *rest = ELSEWHERE.split(b".")
        for text in (
            b"",
            b"....",
            header,
            ELSEWHERE + b".",
            b".".join((b"W10", key, *rest)),
            b".".join((b"e30x", key, *rest)),
            b".".join((header, key, b"", *rest[1:])),
            b".".join((header, key, *rest[:2], b"")),
            ELSEWHERE.replace(b".6JeR", b"." + b"A" * 70_000),
        ):
            self.assertIsNone(parse(text), text[:80])

    @settings(deadline=None, max_examples=100)
    @given(st.lists(st.binary(max_size=10), max_size=6))
    def test_arbitrary(self, parts: list[bytes]) -> None:
        """Arbitrary bytes are no token, and no error."""
        token = parse(b".".join(parts))
        self.assertIsNone(token and decrypt(token, SECRET))
