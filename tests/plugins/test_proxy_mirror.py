"""Tests for gateway.plugins.proxy_mirror."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from gateway.core.balancer import make_picker
from gateway.core.exchange import Exchange
from gateway.core.explanation import Explanation
from gateway.core.retry import RetryPolicy
from gateway.core.snapshot import CompiledUpstream
from gateway.interfaces import HttpAnswer, HttpCallFailed, IBeforeProxyPhase, IPluginFactory, IRewritePhase
from gateway.model.upstream import Upstream
from gateway.plugins import proxy_mirror
from gateway.registry import PluginRegistry
from gateway.testing.exchanges import exchange
from tests.plugins.limits_kit import World, explained


class Source:
    """Content that comes when the test says so."""

    def __init__(self) -> None:
        self.wanted: list[tuple[int, Callable[[bytes | None], None]]] = []

    def record(self, max_bytes: int, then: Callable[[bytes | None], None]) -> None:
        self.wanted.append((max_bytes, then))


class ProxyMirrorTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.sent: list[tuple[str, str, dict[bytes, bytes], bytes | None]] = []
        self.options: list[dict[str, Any]] = []
        self.answers: list[Deferred[HttpAnswer]] = []
        self.chance = 0.5
        self.warnings: list[str] = []

    # -- what the plugin is given

    def request(self, method: str, url: str, *, fields: Any, content: Any, **more: Any) -> Any:
        self.sent.append((method, url, dict(fields), content))
        self.options.append(more)
        self.answers.append(Deferred())
        return self.answers[-1]

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        Deferred.fromCoroutine(work)

    def random(self) -> float:
        return self.chance

    def plugin(self, settings: Any = None, **config: Any) -> Any:
        services = World().services(
            http=self, spawn=self.spawn, random=self.random, settings=settings or {}, log=self
        )
        return proxy_mirror.plugin.make({"host": "http://127.0.0.1:9797", **config}, services)

    def warn(self, format: str, **fields: object) -> None:
        self.warnings.append(format)

    def mirror(self, plugin: Any, made: Exchange) -> None:
        self.assertIsNone(plugin.rewrite(made))
        self.assertIsNone(plugin.before_proxy(made))

    def test_interfaces(self) -> None:
        """It is a plugin for the rewrite and before_proxy phases."""
        verifyObject(IPluginFactory, proxy_mirror.plugin)
        verifyObject(IRewritePhase, self.plugin())
        verifyObject(IBeforeProxyPhase, self.plugin())

    def test_copy(self) -> None:
        """The copy is the request as the upstream gets it; what concerns the connection stays behind."""
        made = exchange(
            "DELETE",
            "/a%20b?c=d",
            [("host", "shop.test"), ("x", "1"), ("connection", "y"), ("y", "2"), ("te", "gzip")],
        )
        self.mirror(self.plugin(), made)
        method, url, fields, content = self.sent[0]
        self.assertEqual((method, url, content), ("DELETE", "http://127.0.0.1:9797/a%20b?c=d", None))
        self.assertEqual((fields[b"host"], fields[b"x"]), (b"shop.test", b"1"))
        self.assertEqual(fields[b"x-forwarded-for"], b"127.0.0.1")
        for name in (b"y", b"te", b"connection"):
            self.assertNotIn(name, fields)
        self.assertEqual(self.options, [{"timeout_s": 60.0, "verify": False}])

    def test_host(self) -> None:
        """A copy has the Host that the upstream gets, whatever its ``pass_host`` says."""
        for config, wanted in (
            ({}, b"shop.test:81"),
            ({"pass_host": "node"}, b"node.test:8001"),
            ({"pass_host": "rewrite", "upstream_host": "other.test"}, b"other.test"),
        ):
            made = exchange("GET", "/", [("host", "shop.test:81")])
            upstream = Upstream.parse({"nodes": [{"host": "node.test", "port": 8001, "weight": 1}], **config})
            made.upstream = CompiledUpstream("u", upstream, make_picker(upstream), RetryPolicy.of(upstream))
            made.node = upstream.nodes[0]
            self.mirror(self.plugin(), made)
            self.assertEqual(self.sent[-1][2][b"host"], wanted)

    def test_path(self) -> None:
        """The copies may have another path, in place of the request's or before it; the query stays."""
        for config, wanted in (
            ({"path": "/m"}, "/m?c=d"),
            ({"path": "/m%20é"}, "/m%20%C3%A9?c=d"),
            ({"path": "/m", "path_concat_mode": "prefix"}, "/m/a?c=d"),
        ):
            self.mirror(self.plugin(**config), exchange(target="/a?c=d"))
            self.assertEqual(self.sent[-1][1], f"http://127.0.0.1:9797{wanted}")

    def test_once(self) -> None:
        """A request that is tried again is copied once."""
        plugin, made = self.plugin(), exchange()
        self.mirror(plugin, made)
        plugin.before_proxy(made)
        self.assertEqual(len(self.sent), 1)

    def test_two(self) -> None:
        """Two mirrors, of a global rule and of a route, say, each get their copy."""
        one, two, made = self.plugin(), self.plugin(host="http://127.0.0.1:9798"), exchange()
        for plugin in (one, two):
            plugin.rewrite(made)
        for plugin in (one, two):
            plugin.before_proxy(made)
        self.assertEqual(
            [url[:21] for _, url, _, _ in self.sent], ["http://127.0.0.1:9797", "http://127.0.0.1:9798"]
        )

    def test_sample(self) -> None:
        """Only a share is copied."""
        plugin = self.plugin(sample_ratio=0.3)
        for chance, count in ((0.31, 0), (0.29, 1), (0.3, 1)):
            self.chance = chance
            self.mirror(plugin, exchange())
            self.assertEqual(len(self.sent), count)

    def test_not_sent_upstream(self) -> None:
        """A request that another plugin answers is not copied."""
        self.plugin().rewrite(exchange())
        self.assertEqual(self.sent, [])

    def test_content(self) -> None:
        """The copy leaves when all its content has passed; the request waits for nothing."""
        plugin, made, source = self.plugin({"mirror_body_bytes": "5"}), exchange("POST"), Source()
        made.source = source  # type: ignore[assignment]  # the part of it that is asked
        self.mirror(plugin, made)
        self.assertEqual(self.sent, [])
        limit, then = source.wanted[0]
        self.assertEqual(limit, 5)
        then(b"hello")
        self.assertEqual(self.sent[0][3], b"hello")

    def test_too_much_content(self) -> None:
        """A request with more content than is held for a copy is not copied."""
        plugin, made, source = self.plugin({"mirror_body_bytes": "5"}), exchange("POST"), Source()
        made.source = source  # type: ignore[assignment]  # the part of it that is asked
        self.mirror(plugin, made)
        source.wanted[0][1](None)
        made = exchange("POST")
        made.content = b"123456"
        self.mirror(plugin, made)
        self.assertEqual((self.sent, plugin.dropped), ([], 2))

    def test_replaced_content(self) -> None:
        """Content that a plugin put in the place of the client's is what is copied."""
        made = exchange("POST")
        made.content = b"other"
        self.mirror(self.plugin(), made)
        self.assertEqual(self.sent[0][3], b"other")

    def test_busy(self) -> None:
        """Only so many copies are under way; the others are dropped, and no request waits for one."""
        plugin = self.plugin({"mirror_in_flight": "2"})
        for _ in range(5):
            self.mirror(plugin, exchange())
        self.assertEqual((len(self.sent), plugin.busy, plugin.dropped), (2, 2, 3))
        self.answers[0].callback(HttpAnswer(500, (), b""))
        self.answers[1].errback(HttpCallFailed("nobody there"))
        self.mirror(plugin, exchange())
        self.assertEqual((len(self.sent), plugin.busy), (3, 1))

    def test_grpc(self) -> None:
        """A grpc address is one of HTTP here, and the log says so."""
        plugin = self.plugin(host="grpcs://127.0.0.1:9797")
        self.assertEqual(len(self.warnings), 1)
        self.mirror(plugin, exchange())
        self.assertEqual(self.sent[0][1], "https://127.0.0.1:9797/")

    def test_settings(self) -> None:
        """What is accepted as settings."""
        registry = PluginRegistry([(proxy_mirror.plugin, "here")])
        for host in ("http://a.test", "https://[::1]:1", "grpc://a:1", "grpcs://1.2.3.4"):
            self.assertEqual(registry.check("proxy-mirror", {"host": host}), [], host)
        for host in ("a.test", "ftp://a", "http://a/", "http://a?b", "http://", "http://a:x", "http://a\n"):
            self.assertNotEqual(registry.check("proxy-mirror", {"host": host}), [], host)
        for more in ({"path": "a"}, {"path": "/a?b"}, {"sample_ratio": 0}, {"sample_ratio": 1.1}):
            self.assertNotEqual(registry.check("proxy-mirror", {"host": "http://a", **more}), [], more)
        self.assertNotEqual(registry.check("proxy-mirror", {}), [])

    def test_explained(self) -> None:
        """Where copies go and how many; none leaves by asking."""
        self.assertEqual(explained(self.plugin(), exchange()).words, "sends a copy to http://127.0.0.1:9797")
        said = explained(self.plugin(sample_ratio=0.25), exchange())
        self.assertEqual(said, Explanation(None, "sends a copy of 25 % of requests to http://127.0.0.1:9797"))
        self.assertEqual(self.sent, [])
