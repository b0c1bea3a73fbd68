"""Tests for gateway.core.log_variables; how they stand in the access log is tested with its formats."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.core.auth import redact_argument
from gateway.core.log_variables import hide_arguments, log_reader, shown_arguments, shown_fields, suspicion
from gateway.testing.exchanges import exchange


class ShownTests(SynchronousTestCase):
    def test_fields(self) -> None:
        """Credentials are masked wherever they stand; what is there twice is a list."""
        pairs = [
            (b"authorization", b"Bearer abc"),
            (b"proxy-authorization", b"abc"),
            (b"cookie", b"a=b"),
            (b"apikey", b"k"),
            (b"x", b"1"),
            (b"x", b"2"),
            (b"x", b"\xff"),
        ]
        masked = {
            "authorization": "Bearer ***",
            "proxy-authorization": "***",
            "cookie": "***",
            "apikey": "***",
        }
        self.assertEqual(shown_fields(pairs), {**masked, "x": ["1", "2", "\ufffd"]})

    def test_arguments(self) -> None:
        """So are those in the query, and those that a plugin of the route takes its credential from."""
        made = exchange("GET", "/?a=1&a=2&a=3&jwt=x&key=y&empty=&jwt=")
        redact_argument(made, "key")
        found = shown_arguments(made)
        self.assertEqual(found, {"a": ["1", "2", "3"], "jwt": ["***", ""], "key": "***", "empty": ""})

    def test_variables(self) -> None:
        """Single variables are masked too."""
        made = exchange("GET", "/?jwt=x&a=1", [("Authorization", "Basic abc"), ("Cookie", "jwt=x")])
        names = ("arg_jwt", "arg_a", "http_authorization", "http_cookie", "args", "request_uri", "nothing")
        found = [log_reader(name)(made) for name in names]
        self.assertEqual(found, ["***", "1", "Basic ***", "***", "jwt=***&a=1", "/?jwt=***&a=1", None])
        made.response_fields.add(b"set-cookie", b"a=1")
        self.assertEqual(log_reader("sent_http_set_cookie")(made), "***")


_PARTS = st.sampled_from(["jwt", "a", "=", "&", "%6A", "+", "j", "w.t", "wt", "?", "*", "secret", " "])


class SuspicionTests(SynchronousTestCase):
    @settings(deadline=None, max_examples=300)
    @given(st.lists(_PARTS).map("".join), st.frozensets(st.sampled_from(["jwt", "w.t", "+", "j wt", "*"])))
    def test_nothing_overlooked(self, query: str, names: frozenset[str]) -> None:
        """A query that passes the first look has nothing to mask."""
        if suspicion(names)(query) is None:
            self.assertEqual(hide_arguments(query, names), query)

    def test_usual(self) -> None:
        """Most queries pass it; names are taken as they are."""
        look = suspicion(frozenset({"jwt", "w.t"}))
        for query in ("id=1&page=2", "wxt=1", "q=caf\xe9"):
            self.assertIsNone(look(query))
        for query in ("jwt=1", "a=1&w.t=2", "%6Awt=1", "a+b=1"):
            self.assertIsNotNone(look(query))
