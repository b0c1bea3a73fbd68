"""Tests for gateway.core.csrf_tokens."""

from __future__ import annotations

import base64
import json

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.core.csrf_tokens import MAX_TOKEN, fault, make

NOW = 1_700_000_000
ELSEWHERE = (
    "eyJyYW5kb20iOjAuNDI5ODYzMTk3MTYxMzksInNpZ24iOiI0ODRlMDY4NTkxMWQ5NmJhMDc5YzQ1ZGI0OTE2NmZkYjQ0ODhjODVkNWQ0"
    "NmE1Y2FhM2UwMmFhZDliNjE5OTQ2IiwiZXhwaXJlcyI6MjY0MzExOTYyNH0="
)
"""A token that another gateway made with the key ``userkey``."""


def token(**changed: object) -> str:
    document = json.loads(base64.b64decode(make("k", NOW, 0.25)))
    return base64.b64encode(json.dumps({**document, **changed}).encode()).decode()


class TokenTests(SynchronousTestCase):
    def test_good(self) -> None:
        """A token is good with its own key, as long as it lives."""
        made = make("k", NOW, 1 / 3)
        self.assertIsNone(fault(made, "k", NOW + 7200, 7200))
        self.assertEqual(fault(made, "k", NOW + 7201, 7200), "token has expired")
        for lifetime in (0, -1):
            self.assertIsNone(fault(made, "k", NOW + 10**9, lifetime))

    def test_of_others(self) -> None:
        """Tokens of gateways that share the key are good here."""
        self.assertIsNone(fault(ELSEWHERE, "userkey", NOW, 7200))
        self.assertEqual(fault(ELSEWHERE, "other", NOW, 7200), "Invalid signatures")

    def test_changed(self) -> None:
        """Whatever is changed in a token makes it bad."""
        self.assertIsNone(fault(token(), "k", NOW, 60))
        for bad, told in (
            (token(random=0.5), "Invalid signatures"),
            (token(expires=NOW + 1), "Invalid signatures"),
            (token(sign="é"), "Invalid signatures"),
            (token(sign=5), "no sign in token"),
            (token(random=None), "no random in token"),
            (token(random=True), "no random in token"),
            (token(expires="1"), "no expires in token"),
            (token(expires=10**400), "no expires in token"),
            ("W10=", "the token is no object"),
            ("e30", "the token is not base64 of JSON"),
            ("é", "the token is not base64 of JSON"),
            ("W1tbW1tbW1tb" * 150, "the token is not base64 of JSON"),
            ("a" * (MAX_TOKEN + 1), "the token is too long"),
        ):
            self.assertEqual(fault(bad, "k", NOW, 60), told, bad[:40])

    @settings(deadline=None, max_examples=200)
    @given(
        st.one_of(
            st.text(max_size=60),
            st.recursive(
                st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
                lambda inner: st.dictionaries(st.sampled_from(("random", "expires", "sign")), inner),
                max_leaves=5,
            ).map(lambda value: base64.b64encode(json.dumps(value).encode()).decode()),
        )
    )
    def test_arbitrary(self, text: str) -> None:
        """Arbitrary text is no token, and no error."""
        self.assertIsNotNone(fault(text, "k", NOW, 60))
