"""Tests for gateway.core.content_variables."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.core.content_variables import GRAPHQL_LIMIT, is_readable, mentions, parse_operation
from gateway.core.exchange import Exchange
from gateway.core.expressions import compile_expression
from gateway.core.variables import compile_template, getter
from gateway.testing.exchanges import exchange

FORM = "application/x-www-form-urlencoded"
MULTIPART = (
    b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
    b'--b\r\nContent-Disposition: form-data; name="f"; filename="x"\r\n\r\nfile\r\n'
    b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n2\r\n'
    b'--b\r\nContent-Disposition: form-data; name="c"\r\n\r\nthree\r\n--b--\r\n'
)


def sent(
    content: bytes | None, kind: str = "application/json", method: str = "POST", target: str = "/"
) -> Exchange:
    made = exchange(method, target, [("Content-Type", kind)])
    made.held = content
    return made


def value(name: str, made: Exchange) -> object:
    return getter(name)(made)


class FormTests(SynchronousTestCase):
    def test_urlencoded(self) -> None:
        """The first field of a name counts; both spellings read it."""
        made = sent(b"a=1&a=2&b=%C3%A9+x&c", FORM + "; charset=utf-8")
        for name, wanted in (("a", "1"), ("b", "é x"), ("c", ""), ("d", None)):
            both = [value(f"post_arg_{name}", made), value(f"post_arg.{name}", made)]
            self.assertEqual(both, [wanted] * 2)

    def test_other_types(self) -> None:
        """post_arg_ is for urlencoded forms only."""
        self.assertIsNone(value("post_arg_a", sent(b'{"a":1}')))
        self.assertIsNone(value("post_arg_a", sent(b"a=1", "text/plain")))

    def test_multipart(self) -> None:
        """Fields of a multipart form are read, files are not."""
        made = sent(MULTIPART, 'multipart/form-data; boundary="b"')
        found = [value(f"post_arg.{name}", made) for name in ("a", "c", "f")]
        self.assertEqual(found, ["1", "three", None])
        self.assertIsNone(value("post_arg.a", sent(MULTIPART, "multipart/form-data")))
        self.assertIsNone(value("post_arg.a", sent(MULTIPART[:60], "multipart/form-data; boundary=b")))


class JsonTests(SynchronousTestCase):
    made = sent(b'{"model":"m","n":5,"o":{"p":[{"q":1},{"q":2}],"a.b":true},"z":null}')

    def test_paths(self) -> None:
        """Dotted paths find members, numbers places in lists; stars and double dots find several."""
        for path, wanted in (
            ("model", "m"),
            ("n", 5),
            ("o.p[1].q", 2),
            ("o.p[*].q", [1, 2]),
            ("o..q", [1, 2]),
            ("..q", [1, 2]),
            ("o['a.b']", True),
            ("o.*", [[{"q": 1}, {"q": 2}], True]),
            ("o.p[7].q", None),
            ("n.x", None),
            ("z", None),
            ("..none", None),
            ("o.p[", None),
        ):
            self.assertEqual(value(f"post_arg.{path}", self.made), wanted, path)

    def test_in_use(self) -> None:
        """They work in expressions and in templates."""
        holds = compile_expression([["post_arg.n", ">", 4], ["post_arg.o.p[*].q", "has", 2]])
        self.assertTrue(holds(self.made))
        self.assertEqual(compile_template("${post_arg.model}/${post_arg.none ?? d}")(self.made), "m/d")

    def test_replaced(self) -> None:
        """What a plugin put in the place of the content is what is read."""
        made = sent(b'{"a":1}')
        self.assertEqual(value("post_arg.a", made), 1)
        made.content = b'{"a":2}'
        self.assertEqual(value("post_arg.a", made), 2)

    def test_unreadable(self) -> None:
        """Content that is no JSON, is nested too deeply, or was not gathered has no members."""
        for content in (b"{", b"[" * 100_000, b"\xff", None):
            self.assertIsNone(value("post_arg.a", sent(content)))

    @settings(deadline=None, max_examples=150)
    @given(
        st.binary(max_size=60),
        st.sampled_from([FORM, "application/json", "multipart/form-data; boundary=b"]),
        st.text(max_size=12),
    )
    def test_arbitrary(self, content: bytes, kind: str, path: str) -> None:
        """Whatever is sent and asked for, nothing breaks."""
        made = sent(content, kind)
        for name in (f"post_arg.{path}", f"post_arg_{path}", "graphql_name", "post_arg.a", "post_arg..a"):
            value(name, made)


class GraphqlTests(SynchronousTestCase):
    QUERY = """
        # a comment { with braces }
        query Books($n: Int = 3, $f: Filter = {a: [1]}) @cached(ttl: 5) {
          first: books(n: $n, title: "x { y") @include(if: true) { title author { name } }
          ...Shared
          ... on Query { hidden }
          count
        }
        fragment Shared on Query { other }
    """

    def test_operation(self) -> None:
        """Name, kind and root fields of the first operation."""
        found = {"operation": "query", "name": "Books", "root_fields": ["books", "count"]}
        self.assertEqual(parse_operation(self.QUERY), found)
        short = {"operation": "query", "name": "", "root_fields": ["a", "b"]}
        self.assertEqual(parse_operation("{a b}"), short)
        mutation = parse_operation("mutation { add(x: 1) { id } }")
        self.assertEqual(mutation, {"operation": "mutation", "name": "", "root_fields": ["add"]})

    def test_broken(self) -> None:
        """What is no GraphQL document has none."""
        for text in (
            "",
            "{",
            "query",
            "query {a",
            "type A { b: C }",
            '{a(b: "',
            "{a;}",
            "fragment A on B {c}",
        ):
            self.assertIsNone(parse_operation(text), text)

    def test_places(self) -> None:
        """The document stands in the query, in JSON, or is the content itself."""
        text = "mutation Add { add }"
        for made in (
            sent(json.dumps({"query": text}).encode()),
            sent(text.encode(), "application/graphql"),
            sent(None, method="GET", target="/?query=mutation+Add+%7B+add+%7D"),
        ):
            found = [value(f"graphql_{name}", made) for name in ("name", "operation", "root_fields", "other")]
            self.assertEqual(found, ["Add", "mutation", ["add"], None])
        large = json.dumps({"query": text, "pad": "x" * GRAPHQL_LIMIT}).encode()
        self.assertIsNone(value("graphql_name", sent(large)))


class DemandTests(SynchronousTestCase):
    def test_mentions(self) -> None:
        """Settings that ask for content are known by their texts."""
        for wanted in ("$post_arg_a", [["post_arg.a", "==", 1]], {"rules": [{"key": "graphql_name"}]}):
            self.assertTrue(mentions(wanted), wanted)
        for other in ("$arg_post", {"post_arg.a": 1}, None, 5, []):
            self.assertFalse(mentions(other), other)

    def test_readable(self) -> None:
        """Only content of a type that can be read is worth waiting for."""
        source: Any = object()
        for kind, readable in (
            (FORM, True),
            ("Application/JSON; charset=utf-8", True),
            ("application/vnd.api+json", True),
            ("multipart/form-data; boundary=b", True),
            ("application/graphql", True),
            ("text/plain", False),
            ("application/octet-stream", False),
        ):
            made = sent(None, kind)
            self.assertFalse(is_readable(made))
            made.source = source
            self.assertEqual(is_readable(made), readable, kind)
