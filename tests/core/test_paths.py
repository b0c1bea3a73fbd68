"""Tests for gateway.core.paths."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.core.paths import BadPath, encode_path, join_prefix, normalise, strip_prefix


class NormaliseTests(SynchronousTestCase):
    def test_table(self) -> None:
        """However a client spells a path, routes see one spelling."""
        for raw, want in [
            (b"/", "/"),
            (b"/a/b", "/a/b"),
            (b"/a/b/", "/a/b/"),
            (b"//a///b//", "/a/b/"),
            (b"/a/./b", "/a/b"),
            (b"/a/.", "/a/"),
            (b"/a/b/..", "/a/"),
            (b"/a/..", "/"),
            (b"/a/../", "/"),
            (b"/a/b/../../c", "/c"),
            (b"/a//../b", "/b"),
            (b"/.well-known/x", "/.well-known/x"),
            (b"/a/..b/...", "/a/..b/..."),
            (b"/%61%2Fb", "/a/b"),
            (b"/a%2fb", "/a/b"),
            (b"/a/%2e%2E/b", "/b"),
            (b"/a/%2e%2e%2fb", "/b"),
            (b"/a%252Fb", "/a%2Fb"),
            (b"/%25zz", "/%zz"),
            (b"/a%3Fb%23c", "/a?b#c"),
            (b"/a+b%20c", "/a+b c"),
            ("/é".encode(), "/é"),
            (b"/%C3%A9", "/é"),
            (b"/%ff", "/\udcff"),
            (b"/\xff", "/\udcff"),
            (b"/%c0%af", "/\udcc0\udcaf"),
            (b"/a;x=1/b", "/a;x=1/b"),
        ]:
            self.assertEqual(normalise(raw), want, raw)

    def test_query_left_out(self) -> None:
        """A query is no part of the path, whatever stands in it."""
        for raw, want in [(b"/a?b=/../..", "/a"), (b"/?", "/"), (b"/a%2f?%zz", "/a/"), (b"/a?x#y", "/a")]:
            self.assertEqual(normalise(raw), want, raw)

    def test_refused(self) -> None:
        """A path that means nothing or might mean two things is refused."""
        for raw in [
            b"",
            b"a",
            b"*",
            b"?a",
            b"http://a/",
            b"/..",
            b"/../a",
            b"/a/../../b",
            b"/%2e%2e/",
            b"//../a",
            b"/a\0b",
            b"/a%00b",
            b"/%",
            b"/%4",
            b"/%zz",
            b"/a%2",
            b"/%\xc3\xa9",
            b"/a#b",
        ]:
            with self.assertRaises(BadPath, msg=raw):
                normalise(raw)
        self.assertTrue(issubclass(BadPath, ValueError))

    def test_properties(self) -> None:
        """What comes out has no dot segments or doubled slashes, and encoding it leads back to it."""

        @settings(deadline=None, max_examples=300)
        @given(st.lists(st.sampled_from([b"/", b".", b"..", b"a", b"%2f", b"%2E", b"%25", b"\xe9", b" "])))
        def check(pieces: list[bytes]) -> None:
            try:
                path = normalise(b"/" + b"".join(pieces))
            except BadPath:
                return
            self.assertTrue(path.startswith("/"))
            self.assertNotIn("//", path)
            self.assertFalse({".", ".."} & set(path.split("/")))
            self.assertEqual(normalise(encode_path(path)), path)

        check()


class JoinPrefixTests(SynchronousTestCase):
    def test_table(self) -> None:
        """A service's prefix and a route's path meet in exactly one slash."""
        for prefix, path, want in [
            (None, "/x", "/x"),
            ("", "/x", "/x"),
            ("/", "/x", "/x"),
            ("/api", "/x", "/api/x"),
            ("/api/", "/x", "/api/x"),
            ("/api", "/", "/api/"),
            ("/api", "/*", "/api/*"),
        ]:
            self.assertEqual(join_prefix(prefix, path), want)


class StripPrefixTests(SynchronousTestCase):
    def check(self, cases: list[tuple[bytes, str, bytes]]) -> None:
        for target, prefix, want in cases:
            self.assertEqual(strip_prefix(target, prefix), want, (target, prefix))

    def test_plain(self) -> None:
        """The upstream sees the route's part of the path; query and escapes go on as they were sent."""
        self.check(
            [
                (b"/api/x", "/api", b"/x"),
                (b"/api/x", "/api/", b"/x"),
                (b"/api/x?y=%zz/../", "/api", b"/x?y=%zz/../"),
                (b"/api", "/api", b"/"),
                (b"/api?y", "/api", b"/?y"),
                (b"/api/?y", "/api", b"/?y"),
                (b"/api/", "/api", b"/"),
                (b"/api/a%2Fb%20c//d", "/api", b"/a%2Fb%20c//d"),
                (b"/api/.well-known", "/api", b"/.well-known"),
                (b"/x", "/", b"/x"),
                (b"/x", "", b"/x"),
            ]
        )

    def test_other_spellings(self) -> None:
        """A prefix that is spelled otherwise is still taken off."""
        self.check(
            [
                (b"/%61pi/x y?q=1", "/api", b"/x%20y?q=1"),
                (b"//api//x?q", "/api", b"/x?q"),
                (b"/./api/x", "/api", b"/x"),
                (b"/b/../api/x", "/api", b"/x"),
                (b"/api%2Fx", "/api", b"/x"),
                (b"/%C3%A9/%C3%A9", "/é", b"/%C3%A9"),
                (b"/api//x", "/api", b"/x"),
                (b"/%61pi/%ff%3f%23%25", "/api", b"/%FF%3F%23%25"),
                (b"/%61pi", "/api", b"/"),
            ]
        )

    def test_no_climbing(self) -> None:
        """Dot segments cannot reach above the prefix at the upstream."""
        self.check(
            [
                (b"/api/../api/x", "/api", b"/x"),
                (b"/api/%2e%2E/api/x", "/api", b"/x"),
                (b"/api/a%2f..%2f../api/x", "/api", b"/x"),
                (b"/api/..", "/api", b"/api/.."),
                (b"/api/x/..", "/api", b"/"),
            ]
        )

    def test_not_below(self) -> None:
        """A target that a plugin has moved elsewhere goes on as it is."""
        self.check(
            [
                (b"/apix/y", "/api", b"/apix/y"),
                (b"/other?x", "/api", b"/other?x"),
                (b"/ap", "/api", b"/ap"),
                (b"/%zz", "/api", b"/%zz"),
                (b"*", "/api", b"*"),
            ]
        )

    def test_parameters_in_the_prefix(self) -> None:
        """A prefix may have parameters, each for one segment."""
        self.check(
            [
                (b"/acme/v1/x%2Fy?z", "/:tenant/v1", b"/x%2Fy?z"),
                (b"/acme/v1", "/:tenant/v1", b"/"),
                (b"/acme/v2/x", "/:tenant/v1", b"/acme/v2/x"),
                (b"/a%2Fv1/x", "/:tenant/v1", b"/x"),
                (b"//v1/x", "/:tenant/v1", b"//v1/x"),
                (b"/acme/%761/a b", "/:tenant/v1", b"/a%20b"),
                (b"/acme", "/:tenant/v1", b"/acme"),
            ]
        )

    def test_properties(self) -> None:
        """The upstream's normalised path is the client's without the prefix, however it was spelled."""
        parts = st.sampled_from([b"/", b"/", b".", b"..", b"a", b"b", b"%2f", b"%2E", b"%61"])

        @settings(deadline=None, max_examples=400)
        @given(st.lists(parts, max_size=10), st.sampled_from(["/a", "/a/b"]))
        def check(pieces: list[bytes], prefix: str) -> None:
            target = b"/" + b"".join(pieces)
            try:
                path = normalise(target)
            except BadPath:
                return
            left = strip_prefix(target + b"?q", prefix)
            if path == prefix or path.startswith(prefix + "/"):
                self.assertTrue(left.endswith(b"?q"))
                self.assertEqual(normalise(left), path[len(prefix) :] or "/")
                self.assertFalse(left.startswith(b"//"))
            else:
                self.assertEqual(left, target + b"?q")

        check()
