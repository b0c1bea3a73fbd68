"""Tests for gateway.core.patterns."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.core.patterns import Kind, parse


def naive(text: str, path: str) -> bool:
    """The same question, answered by one backtracking expression written down independently."""
    out = ""
    for token in re.findall(r"(?<=/):[\w-]+(?=[/*]|$)|(?<=/):[\w-]+|(?<=/)\*[\w-]+(?=/|$)|\*|[^*]", text):
        if token[0] == "*":
            out += "(?:.|\n)*"
        elif token[0] == ":" and len(token) > 1:
            out += "[^/]+(?![^/])" if re.search(re.escape(token) + r"(?:[/*]|$)", text) else "[^/]+"
        else:
            out += re.escape(token)
    return re.fullmatch(out, path) is not None


class PatternTests(SynchronousTestCase):
    def test_table(self) -> None:
        """A pattern takes the paths its words say, and hands out what its parameters stood for."""
        none: dict[str, str] = {}
        for text, path, want in [
            ("/a/b", "/a/b", none),
            ("/a/b", "/a/B", None),
            ("/a/b", "/a/b/", None),
            ("/blog/bar*", "/blog/bar", none),
            ("/blog/bar*", "/blog/bar/a", none),
            ("/blog/bar*", "/blog/barx", none),
            ("/blog/bar*", "/blog/ba", None),
            ("/foo/*", "/foo", None),
            ("/foo/*", "/foo/", none),
            ("/foo/*", "/foo/a/b", none),
            ("*", "/x", none),
            ("/foo/*rest", "/foo/a/b", {"rest": "a/b"}),
            ("/foo/*rest", "/foo/", {"rest": ""}),
            ("/foo/*rest", "/foo", None),
            ("/a/*/b", "/a/x/b", none),
            ("/a/*/b", "/a/x/y/b", none),
            ("/a/*/b", "/a/b/b/b", none),
            ("/a/*/b", "/a/b", None),
            ("/a/*/b", "/a/x/b/c", None),
            ("/a/*mid/b", "/a/x/y/b", {"mid": "x/y"}),
            ("/a/*/b/*", "/a/x/b/", none),
            ("/a/*/b/*tail", "/a/x/b/b/c", {"tail": "b/c"}),
            ("/files/*.jpg", "/files/a/b.jpg", none),
            ("/files/*.jpg", "/files/a.png", None),
            ("/name/:name/bar", "/name/json/bar", {"name": "json"}),
            ("/name/:name/bar", "/name/json2/foo", None),
            ("/name/:name/bar", "/name/json/", None),
            ("/name/:name/bar", "/name//bar", None),
            ("/name/:name/bar", "/name/bar", None),
            ("/name/:name/bar", "/name/a/b/bar", None),
            ("/:a/:b", "/x/y", {"a": "x", "b": "y"}),
            ("/:a/:b", "/x/", None),
            ("/:a", "/", None),
            ("/:a", "/x/", None),
            ("/:a/", "/x/", {"a": "x"}),
            ("/u/:user-id", "/u/7", {"user-id": "7"}),
            ("/:v/files/*", "/1/files/", {"v": "1"}),
            ("/:v/files/*path", "/1/files/a/b", {"v": "1", "path": "a/b"}),
            ("/:v/files/*path", "/1/files/", {"v": "1", "path": ""}),
            ("/:v/files/*path", "/1/files", None),
            ("/:v/files/*path", "/1/file/a", None),
            ("/f/:id.json", "/f/a.b.json", {"id": "a.b"}),
            ("/f/:id.json", "/f/.json", None),
            ("/f/:id.json", "/f/aXjson", None),
            ("/b/:id:archive", "/b/7:archive", {"id": "7"}),
            ("/b/:id:archive", "/b/7", None),
            ("/x/:id*", "/x/12/3", {"id": "12"}),
            ("/x/:id*", "/x/", None),
            ("/file:list", "/file:list", none),
            ("/file:list", "/fileX", None),
            ("/a/:", "/a/:", none),
            ("/a/:/b", "/a/x/b", None),
            ("/a.b/(c)+/:d", "/a.b/(c)+/e", {"d": "e"}),
            ("/a.b/*/(c)+", "/a.b/x/(c)+", none),
            ("/a.b/*/(c)+", "/axb/x/cc", None),
            ("/a/*/b", "/a/x\ny/b", none),
            ("/n/:n", "/n/x\ny", {"n": "x\ny"}),
        ]:
            found = parse(text).params(path)
            self.assertEqual(None if found is None else dict(found), want, (text, path))

    def test_literal_text(self) -> None:
        """What decides between patterns is the text before the first parameter or star."""
        for text, kind, literal in [
            ("/a/b", Kind.EXACT, "/a/b"),
            ("/a/b*", Kind.PREFIX, "/a/b"),
            ("/a/*rest", Kind.PREFIX, "/a/"),
            ("/a/:b/c", Kind.SEGMENTS, "/a/"),
            ("/a/:b/*", Kind.SEGMENTS, "/a/"),
            ("/a/*/c", Kind.TEXT, "/a/"),
            ("/a/:b.json", Kind.TEXT, "/a/"),
            ("*", Kind.PREFIX, ""),
        ]:
            self.assertEqual((parse(text).kind, parse(text).literal), (kind, literal), text)

    def test_hostile_paths(self) -> None:
        """A pattern with many stars is still compared in time proportional to the path."""
        # A backtracking comparison would need about (4000 choose 8) steps; this would not end.
        pattern = parse("/*a" * 8 + "/*b/c")
        self.assertIsNone(pattern.params("/a" * 4000))
        self.assertIsNone(parse("/*/:x.a/:y.a/*/:z.a/*q/c").params("/b.a.a.a" * 1000))

    def test_agrees_with_a_naive_comparison(self) -> None:
        """Every kind of pattern takes exactly the paths a plain regular expression would."""
        pieces = st.sampled_from(["/", "/", "a", "b", ":x", ":y", "*", "*r", ".", ":"])
        paths = st.text("/ab.:", max_size=8)

        @settings(deadline=None, max_examples=800)
        @given(st.lists(pieces, max_size=7), paths)
        def check(parts: list[str], path: str) -> None:
            text = "/" + "".join(parts)
            self.assertEqual(parse(text).params("/" + path) is not None, naive(text, "/" + path), text)

        check()
