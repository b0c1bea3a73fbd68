"""Tests for gateway.core.jose."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.core import jose
from gateway.core.jose import Refusal, Token
from gateway.testing import tokens
from tests.limits import cpu_s

CLAIMS = {"key": "user-key", "exp": 1879318541}


def refusal(text: bytes) -> Refusal:
    found = jose.parse(text)
    assert isinstance(found, Refusal), "accepted"
    return found


class _Unread(bytes):
    """Bytes that only tell how many they are."""

    def _read(self, *args: object) -> Any:
        raise AssertionError("it was read")

    split = partition = __iter__ = __getitem__ = __contains__ = _read


class ParseTests(SynchronousTestCase):
    def test_well_formed(self) -> None:
        """A well-formed token comes apart: header, payload, the bytes signed, the signature."""
        text = tokens.mint(CLAIMS, header={"kid": "1", "x5c": ["MIIB"]}).encode()
        token = jose.parse(text)
        assert isinstance(token, Token)
        self.assertEqual(token.header, {"alg": "HS256", "typ": "JWT", "kid": "1", "x5c": ["MIIB"]})
        self.assertEqual(token.claims, CLAIMS)
        self.assertEqual(token.signing_input, text.rpartition(b".")[0])
        self.assertEqual(token.signature, tokens.sign("HS256", tokens.SECRET.encode(), token.signing_input))

    def test_received_bytes_are_signed(self) -> None:
        """White space and member order of the payload reach the signature check as they were."""
        text = tokens.assemble(b'{ "alg":"HS256"}', b'{"z":1,\r\n "key" : "user-key"}').encode()
        token = jose.parse(text)
        assert isinstance(token, Token)
        self.assertEqual(token.signing_input, text.rpartition(b".")[0])

    def test_malformed(self) -> None:
        """Everything malformed is refused with the same reason, and never an error."""
        for what, text in tokens.malformed(CLAIMS).items():
            found = jose.parse(text.encode("utf-8", "surrogatepass"))
            self.assertIsInstance(found, Refusal, what)
            assert isinstance(found, Refusal)
            self.assertEqual(found.reason, "jwt_malformed", what)

    def test_details(self) -> None:
        """The log learns which part is wrong."""
        _, payload, signature = tokens.mint(CLAIMS).split(".")
        self.assertEqual(refusal(b"abc").detail, "invalid jwt string")
        self.assertEqual(refusal(f"bad.{payload}.{signature}".encode()).detail, "invalid header: bad")
        header = tokens.b64url(b'{"alg":"HS256"}')
        self.assertEqual(refusal(f"{header}.bad.{signature}".encode()).detail, "invalid payload: bad")

    def test_details_are_harmless(self) -> None:
        """What the log repeats of a client's text is short and cannot forge a line."""
        detail = refusal(b"\r\nforged \xff\x1b[0m" + b"x" * 5000 + b".a.b").detail
        self.assertTrue(detail.isprintable() and detail.isascii())
        self.assertLess(len(detail), 160)

    def test_bad_signature_text(self) -> None:
        """A signature that is not base64url is left to the signature check, which it fails."""
        good = tokens.mint(CLAIMS)
        for signature in ("@@@@", "a", "ab==", "+/+/", "QR", "Zm9v\n", "é"):
            token = jose.parse(tokens.with_signature(good, signature).encode())
            assert isinstance(token, Token), signature
            self.assertIsNone(token.signature, signature)

    def test_extensions(self) -> None:
        """Critical extensions and unencoded payloads are not understood, hence refused."""
        for header in (
            {"crit": ["exp"], "exp": 1},
            {"crit": ["b64"], "b64": False},
            {"crit": ["b64"], "b64": True},
            {"crit": []},
            {"crit": "exp"},
            {"b64": False},
            {"b64": "true"},
            {"b64": 1},
        ):
            text = tokens.mint(CLAIMS, header=header).encode()
            self.assertEqual(refusal(text).reason, "jwt_crit_unsupported", header)
        null = tokens.assemble(b'{"alg":"HS256","crit":null}', b"{}").encode()
        self.assertEqual(refusal(null).reason, "jwt_crit_unsupported")
        self.assertIsInstance(jose.parse(tokens.mint(CLAIMS, header={"b64": True}).encode()), Token)

    def test_length(self) -> None:
        """A token may have 16384 bytes, not one more; a longer one costs nothing."""
        short = tokens.mint({"key": "k", "x": ""})
        room = (jose.MAX_TOKEN_BYTES - len(short)) // 4 * 3 - 6
        text = tokens.mint({"key": "k", "x": "y" * room}).encode()
        self.assertLessEqual(len(text), jose.MAX_TOKEN_BYTES)
        self.assertIsInstance(jose.parse(text), Token)
        head, _, tail = text.partition(b".")
        grown = head + b"." + b"A" * (jose.MAX_TOKEN_BYTES + 1 - len(text)) + tail
        self.assertIn("over 16384 bytes", refusal(grown).detail)
        self.assertIn("over 16384 bytes", refusal(_Unread(jose.MAX_TOKEN_BYTES + 1)).detail)

    def test_no_token_in_repr(self) -> None:
        """A parsed token does not show its signature."""
        token = jose.parse(tokens.mint(CLAIMS).encode())
        self.assertNotIn("signature=", repr(token))

    @settings(deadline=None, max_examples=300)
    @given(st.binary(max_size=300))
    def test_arbitrary_bytes(self, text: bytes) -> None:
        """Arbitrary bytes give a token or a refusal, never an error."""
        self.assertIsInstance(jose.parse(text), (Token, Refusal))

    @settings(deadline=None, max_examples=300)
    @given(st.binary(max_size=60), st.binary(max_size=60), st.text(max_size=10))
    def test_arbitrary_content(self, header: bytes, payload: bytes, signature: str) -> None:
        """So do three well-encoded parts of arbitrary content."""
        text = f"{tokens.b64url(header)}.{tokens.b64url(payload)}.{signature}"
        self.assertIsInstance(jose.parse(text.encode("utf-8", "surrogatepass")), (Token, Refusal))


class SegmentTests(SynchronousTestCase):
    @settings(deadline=None, max_examples=200)
    @given(st.binary(max_size=50))
    def test_round_trip(self, data: bytes) -> None:
        """What is encoded without padding decodes."""
        self.assertEqual(jose.decode_segment(tokens.b64url(data).encode()), data)

    @settings(deadline=None, max_examples=300)
    @given(st.text("ABQRgw_-Zz09", max_size=9).map(str.encode))
    def test_one_spelling(self, text: bytes) -> None:
        """What decodes has no second spelling: encoding it again gives the same text."""
        data = jose.decode_segment(text)
        if data is not None:
            self.assertEqual(tokens.b64url(data).encode(), text)

    def test_unused_bits(self) -> None:
        """``QQ`` is a spelling of ``A``; ``QR``, which has an unused bit set, is nothing."""
        self.assertEqual(jose.decode_segment(b"QQ"), b"A")
        for text in (b"QR", b"QX", b"QUF", b"QUIA=", b"QUJ"):
            self.assertIsNone(jose.decode_segment(text), text)

    def test_alphabet(self) -> None:
        """Padding, white space and standard base64's two other characters are refused."""
        for text in (b"QQ==", b"QQ=", b" QQ", b"QQ\n", b"Q Q", b"++++", b"////", b"QQ\0\0", b"A", b"AAAAA"):
            self.assertIsNone(jose.decode_segment(text), text)
        self.assertEqual(jose.decode_segment(b"-_-_"), base64.urlsafe_b64decode(b"-_-_"))


class StrictObjectTests(SynchronousTestCase):
    def test_depth(self) -> None:
        """Nesting is bounded: 32 levels are read, 33 are not; brackets within text do not count."""

        def nested(levels: int) -> bytes:
            return b'{"a":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"

        self.assertIn("a", jose.strict_object(nested(32)))
        for text in (nested(33), nested(5000), b'{"a":' * 3000 + b"1" + b"}" * 3000, b'{"a":' + b"[" * 8000):
            self.assertRaises(ValueError, jose.strict_object, text)
        wide = json.dumps({"a": [[] for _ in range(200)], "b": "[{" * 200, "c": '\\"[[[' * 50}).encode()
        self.assertEqual(len(jose.strict_object(wide)["a"]), 200)

    def test_depth_is_measured_fast(self) -> None:
        """Texts made to be slow to scan are not."""
        for text in (b'"\\' * 8000, b'[{"' * 5000, b'{"' + b'\\"' * 8000, b"[" * 16000 + b'"\\'):
            limit_s, began = cpu_s(2), time.process_time()
            self.assertRaises(ValueError, jose.strict_object, b"[{" * 20 + text)
            self.assertLess(time.process_time() - began, limit_s)

    def test_large_whole_numbers(self) -> None:
        """A number of some hundred digits is read exactly."""
        self.assertEqual(jose.strict_object(b'{"a":' + b"9" * 400 + b"}"), {"a": 10**400 - 1})

    def test_surrogates(self) -> None:
        """A pair of escapes is one character; half a pair is refused, in names as in values."""
        self.assertEqual(jose.strict_object(b'{"a":"\\ud83d\\ude00"}'), {"a": "\U0001f600"})
        self.assertEqual(jose.strict_object(b'{"a":"\\\\ud800"}'), {"a": "\\ud800"})
        for text in (b'{"a":"\\uDC00"}', b'{"\\ud800":1}', b'{"a":[{"b":"\\ude00\\ud83d"}]}'):
            self.assertRaises(ValueError, jose.strict_object, text)

    @settings(deadline=None, max_examples=150)
    @given(
        st.dictionaries(
            st.text(max_size=5),
            st.recursive(
                st.none()
                | st.booleans()
                | st.integers()
                | st.floats(allow_nan=False, allow_infinity=False)
                | st.text(max_size=8),
                lambda inner: (
                    st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
                ),
                max_leaves=8,
            ),
            max_size=4,
        )
    )
    def test_reads_what_json_writes(self, document: dict[str, object]) -> None:
        """Every ordinary object is read as it is."""
        self.assertEqual(jose.strict_object(json.dumps(document).encode()), document)
