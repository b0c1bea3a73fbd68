"""Tests for gateway.plugins.cors."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway.core.chain import BoundPlugin
from gateway.model.schema import Checker
from gateway.plugins.cors import plugin
from gateway.testing.exchanges import exchange
from gateway.testing.plugins import bind, problems
from gateway.testing.services import services
from tests.slow_regex import PATTERN, TEXT, short_limit

A, B = "https://a.example", "http://b.example:8080"
METADATA = {"allow_origins": {"one": f"{A},{B}", "all": "**"}}


def bound(**config: Any) -> BoundPlugin:
    return bind(plugin, config, services(metadata=METADATA))


def answered(
    origin: str | None, *headers: tuple[str, str], own: tuple[tuple[bytes, bytes], ...] = (), **config: Any
) -> dict[str, str]:
    """The fields that an answer gets; *own* are the upstream's."""
    made = bound(**config)
    assert made.rewrite is not None
    assert made.header_filter is not None
    sent = exchange(headers=[*headers, *([] if origin is None else [("Origin", origin)])])
    assert made.rewrite(sent) is None
    sent.fields.remove(b"origin")  # Whatever happens to it on the way.
    for pair in own:
        sent.response_fields.add(*pair)
    made.header_filter(sent)
    return {
        name.decode().removeprefix("access-control-"): value.decode() for name, value in sent.response_fields
    }


class AnswerTests(SynchronousTestCase):
    def test_default(self) -> None:
        """Unless said otherwise every page may, without credentials."""
        everybody = {"allow-origin": "*", "allow-methods": "*", "allow-headers": "*", "max-age": "5"}
        for origin in (A, None):
            self.assertEqual(answered(origin), everybody)

    def test_list(self) -> None:
        """With a list, its origins may and are named; others get nothing. Caches must tell them apart."""
        for origin in (A, B):
            found = answered(origin, allow_origins=f"{A},{B}")
            self.assertEqual((found["allow-origin"], found["vary"]), (origin, "Origin"))
        for origin in ("https://evil.example", "https://a.example:444", "null", None):
            self.assertEqual(answered(origin, allow_origins=f"{A},{B}"), {"vary": "Origin"})
            self.assertEqual(answered(origin, allow_origins=A), {"vary": "Origin"})
        self.assertEqual(answered("null", allow_origins="null")["allow-origin"], "null")

    def test_everybody_with_credentials(self) -> None:
        """With ** everybody may, with credentials too: the origin, methods and headers are named."""
        found = answered(
            A,
            ("Access-Control-Request-Headers", "X-A, X-B"),
            allow_origins="**",
            allow_methods="**",
            allow_headers="**",
            expose_headers="X-C",
            allow_credential=True,
            max_age=-1,
        )
        self.assertEqual(
            found,
            {
                "vary": "Origin",
                "allow-origin": A,
                "allow-methods": "GET,POST,PUT,DELETE,PATCH,HEAD,OPTIONS,CONNECT,TRACE",
                "allow-headers": "X-A, X-B",
                "expose-headers": "X-C",
                "allow-credentials": "true",
                "max-age": "-1",
            },
        )
        self.assertEqual(answered(None, allow_origins="**")["allow-origin"], "*")
        self.assertNotIn("allow-headers", answered(A, allow_headers="**"))

    def test_regex(self) -> None:
        """Origins may be said by regular expressions; then the list does not count."""
        config: dict[str, Any] = {"allow_origins_by_regex": [r".*\.test\.com$", "^http://x"]}
        for origin in ("http://a.test.com", "http://xyz"):
            self.assertEqual(answered(origin, **config)["allow-origin"], origin)
        for origin in (A, None):
            self.assertEqual(answered(origin, allow_origins=A, **config), {"vary": "Origin"})

    def test_metadata(self) -> None:
        """Or by lists that the plugin's metadata has, beside its own."""
        config: dict[str, Any] = {
            "allow_origins": "http://own.example",
            "allow_origins_by_metadata": ["one", "none"],
        }
        for origin in (A, B, "http://own.example"):
            self.assertEqual(answered(origin, **config)["allow-origin"], origin)
        self.assertEqual(answered("http://c.example", **config), {"vary": "Origin"})
        config["allow_origins_by_metadata"] = ["all"]
        self.assertEqual(answered("http://c.example", **config)["allow-origin"], "http://c.example")

    def test_upstreams_own(self) -> None:
        """What the upstream says about it is replaced, other fields stay."""
        own = ((b"access-control-allow-origin", b"http://x"), (b"x-other", b"1"))
        found = answered(A, own=own, allow_origins=A)
        self.assertEqual((found["allow-origin"], found["x-other"]), (A, "1"))
        own = ((b"access-control-allow-headers", b"x-secret"),)
        self.assertNotIn("allow-headers", answered(A, own=own, allow_headers="**"))

    def test_timing(self) -> None:
        """Pages of some origins may see timings, whoever may read."""
        self.assertNotIn("timing-allow-origin", answered(A))
        for config in ({"timing_allow_origins": A}, {"timing_allow_origins_by_regex": [r"a\.example$"]}):
            self.assertEqual(answered(A, **config)["timing-allow-origin"], A)  # type: ignore[arg-type]
            self.assertNotIn("timing-allow-origin", answered(B, **config))  # type: ignore[arg-type]

    def test_preflight(self) -> None:
        """Every OPTIONS request is answered at once, with nothing in it."""
        hook = bound().rewrite
        assert hook is not None
        reply: Any = hook(exchange("OPTIONS", headers=[("Origin", "https://anybody")]))
        self.assertEqual((reply.status, reply.body, reply.reason), (200, b"", "cors_preflight"))

    def test_not_rewritten(self) -> None:
        """A request that ended before the plugin's turn is answered by its Origin all the same."""
        hook = bound(allow_origins=A).header_filter
        assert hook is not None
        sent = exchange(headers=[("Origin", A)])
        hook(sent)
        self.assertEqual(sent.response_fields.get(b"access-control-allow-origin"), A.encode())


class LimitTests(SynchronousTestCase):
    def test_slow_patterns(self) -> None:
        """An origin for which it takes too long to tell is not allowed; the answer is given all the same."""
        told = short_limit(self)
        for name in ("allow_origins_by_regex", "timing_allow_origins_by_regex"):
            config: dict[str, Any] = {"allow_origins": A, name: [PATTERN]}
            self.assertEqual(answered(TEXT, **config), {"vary": "Origin"})
        self.assertEqual(len(told), 2)


class FactoryTests(SynchronousTestCase):
    def test_settings(self) -> None:
        """Origins are origins, and * means nothing where credentials are allowed."""
        self.assertEqual(problems(plugin, {}), [])
        for text in ("a.example", "https://a.example,", "https://", "*,https://a.example", ""):
            self.assertEqual(problems(plugin, {"allow_origins": text}), [("/allow_origins", "pattern")])
        star = "you can not set '*' for other option when 'allow_credential' is true"
        named = {"allow_credential": True, "allow_origins": A, "allow_methods": "GET", "allow_headers": "X-A"}
        self.assertEqual(problems(plugin, named), [])
        self.assertEqual(problems(plugin, {"allow_credential": True}), [("", star)])
        for name in (
            "allow_origins",
            "allow_methods",
            "allow_headers",
            "expose_headers",
            "timing_allow_origins",
        ):
            self.assertEqual(problems(plugin, {**named, name: "*"}), [("", star)])
        for name in ("allow_origins_by_regex", "timing_allow_origins_by_regex"):
            self.assertEqual(problems(plugin, {name: []}), [(f"/{name}", "minItems")])
            ((_, text),) = problems(plugin, {name: ["("]})
            self.assertTrue(text.startswith(f"{name}: invalid regular expression: "), text)
        self.assertEqual(plugin.priority, 4000)

    def test_metadata(self) -> None:
        """Metadata holds lists of origins by name."""
        checker = Checker(plugin.metadata_schema or {})
        self.assertEqual(checker.problems(METADATA), [])
        self.assertEqual([p.pointer for p in checker.problems({})], ["/allow_origins"])
        self.assertEqual(len(checker.problems({"allow_origins": {"a": "b"}})), 1)
