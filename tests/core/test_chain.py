from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from gateway.core.chain import EMPTY, BoundPlugin, apply_meta, build_chain
from gateway.core.exchange import Exchange, Reply
from gateway.core.merge import PluginUse
from gateway.testing.exchanges import exchange

PHASES = ("rewrite", "access", "before_proxy", "header_filter", "body_filter", "log")


def bound(
    name: str = "p", priority: int = 0, meta: object = None, origin: str = "route/r", **hooks: Any
) -> BoundPlugin:
    config = {} if meta is None else {"_meta": meta}
    return BoundPlugin(PluginUse(name, config, origin), priority, False, False, **hooks)


def replying(status: int, **more: Any) -> Callable[[Exchange], Reply]:
    return lambda exchange: Reply.json(status, {"message": "no"}, reason="refused", **more)


class BuildChainTests(SynchronousTestCase):
    def test_order(self) -> None:
        """Larger priorities run first, in every phase; names break ties, whatever order they came in."""

        def hook(*args: Any) -> None:
            """Any hook."""

        hooks: dict[str, Any] = dict.fromkeys(PHASES, hook)
        plugins = [
            bound(name, priority, **hooks)
            for name, priority in (("d", -5), ("b", 10), ("a", 10), ("c", 2500), ("e", 10))
        ]
        for given in (plugins, plugins[::-1]):
            chain = build_chain(given)
            self.assertEqual([plugin.name for plugin in chain.plugins], ["c", "a", "b", "e", "d"])
            for phase in PHASES:
                self.assertEqual([name for name, _ in getattr(chain, phase)], ["c", "a", "b", "e", "d"])

    def test_only_what_there_is(self) -> None:
        """A plugin stands only in the phases it has a hook for, and its hook stands there as it is."""
        hook = replying(401)
        chain = build_chain([bound(access=hook)])
        self.assertEqual(chain.access, (("p", hook),))
        self.assertEqual([getattr(chain, phase) for phase in PHASES if phase != "access"], [()] * 5)

    def test_empty(self) -> None:
        """A route without plugins has the chain of all such routes."""
        self.assertIs(build_chain([]), EMPTY)

    def test_no_settings_in_repr(self) -> None:
        """A hook's own repr, which may show a plugin's settings, is not in the chain's."""

        class Hook:
            def __call__(self, exchange: Exchange) -> None:
                """A hook."""

            def __repr__(self) -> str:
                return "hunter2"

        self.assertNotIn("hunter2", repr(build_chain([bound(access=Hook())])))


class PriorityTests(SynchronousTestCase):
    def test_own(self) -> None:
        """``_meta.priority`` moves a plugin for this configuration."""
        for given, priority in ((7, 7), (-1, -1), (0, 0), (3.0, 3)):
            self.assertEqual(
                repr(apply_meta(bound(priority=100, meta={"priority": given}), None).priority), str(priority)
            )

    def test_no_number(self) -> None:
        """Anything else leaves it where it is."""
        metas: list[object] = [{}, {"priority": None}, {"priority": True}, {"priority": "9"}, [], "x", None]
        for meta in metas:
            self.assertEqual(apply_meta(bound(priority=100, meta=meta), None).priority, 100)

    def test_untouched(self) -> None:
        """Without ``_meta`` a plugin stays the very same, and costs one call."""
        plugin = bound(access=replying(401))
        self.assertIs(apply_meta(plugin, None), plugin)


class ErrorResponseTests(SynchronousTestCase):
    def _reply(self, response: object, status: int, phase: str = "access", **more: Any) -> Any:
        hooks: dict[str, Any] = {phase: replying(status, **more)}
        plugin = apply_meta(bound(meta={"error_response": response}, **hooks), None)
        return getattr(plugin, phase)(exchange())

    def test_text(self) -> None:
        """A text becomes the body as it is."""
        reply = self._reply("späte <b>Grüße</b>", 401)
        self.assertEqual(reply.body, "späte <b>Grüße</b>".encode())
        self.assertEqual(reply.fields, ((b"content-type", b"text/plain; charset=utf-8"),))
        self.assertEqual((reply.status, reply.reason), (401, "refused"))

    def test_object(self) -> None:
        """An object becomes the body as JSON with a line end."""
        reply = self._reply({"error": {"code": 7}}, 403)
        self.assertEqual(reply.body, b'{"error":{"code":7}}\n')
        self.assertEqual(reply.fields, ((b"content-type", b"application/json"),))

    def test_only_errors(self) -> None:
        """Statuses from 400 on are errors; a redirect or a page stays as it is."""
        for status in (200, 302, 399):
            self.assertEqual(self._reply("no", status).body, b'{"message":"no"}\n')
        for status in (400, 404, 503):
            self.assertEqual(self._reply("no", status).body, b"no")

    def test_every_stopping_phase(self) -> None:
        """It counts in all phases in which a plugin can end the request."""
        for phase in ("rewrite", "access", "before_proxy"):
            self.assertEqual(self._reply("no", 401, phase).body, b"no")

    def test_other_fields(self) -> None:
        """The challenge stays; what described the replaced body goes."""
        given = ((b"www-authenticate", b"key"), (b"content-encoding", b"gzip"), (b"etag", b'"1"'))
        reply = self._reply("no", 401, fields=given)
        self.assertEqual(
            reply.fields, ((b"content-type", b"text/plain; charset=utf-8"), (b"www-authenticate", b"key"))
        )

    def test_going_on(self) -> None:
        """A hook that lets the request pass still does."""
        plugin = apply_meta(bound(meta={"error_response": "no"}, access=lambda exchange: None), None)
        assert plugin.access is not None
        self.assertIsNone(plugin.access(exchange()))

    def test_waiting(self) -> None:
        """A hook that has to wait may still answer, and its answer is replaced too."""
        for status, body in ((401, b"no"), (200, b"fine")):
            gate: Deferred[None] = Deferred()

            async def hook(exchange: Exchange, status: int = status, gate: Deferred[None] = gate) -> Reply:
                await gate
                return Reply.text(status, "fine", reason="x")

            plugin = apply_meta(bound(meta={"error_response": "no"}, access=hook), None)
            assert plugin.access is not None
            outcome: Any = plugin.access(exchange())
            result = Deferred.fromCoroutine(outcome)
            self.assertNoResult(result)
            gate.callback(None)
            self.assertEqual(self.successResultOf(result).body, body)

    def test_failing(self) -> None:
        """A hook that raises still raises."""

        def broken(exchange: Exchange) -> None:
            raise RuntimeError("a bug")

        plugin = apply_meta(bound(meta={"error_response": "no"}, access=broken), None)
        assert plugin.access is not None
        self.assertRaises(RuntimeError, plugin.access, exchange())


class FilterTests(SynchronousTestCase):
    def _plugin(self, passes: Callable[[Exchange], bool], **more: Any) -> Any:
        self.ran: list[str] = []

        def hook(phase: str) -> Callable[..., None]:
            return lambda exchange: self.ran.append(phase)

        def content(exchange: Exchange, data: bytes, last: bool) -> bytes:
            self.ran.append("body_filter")
            return data.upper()

        hooks: dict[str, Any] = {phase: hook(phase) for phase in PHASES if phase != "body_filter"}
        return apply_meta(bound(meta={"filter": ["x"]}, body_filter=content, **hooks, **more), passes)

    def _meet(self, plugin: Any, ex: Exchange) -> bytes:
        for phase in PHASES:
            if phase == "body_filter":
                sent: bytes = plugin.body_filter(ex, b"data", True)
            else:
                getattr(plugin, phase)(ex)
        return sent

    def test_passing(self) -> None:
        """A request that the filter lets in meets every hook."""
        self.assertEqual(self._meet(self._plugin(lambda exchange: True), exchange()), b"DATA")
        self.assertEqual(self.ran, list(PHASES))

    def test_not_passing(self) -> None:
        """For any other request the plugin is not there; the content passes unchanged."""
        self.assertEqual(self._meet(self._plugin(lambda exchange: False), exchange()), b"data")
        self.assertEqual(self.ran, [])

    def test_once_per_request(self) -> None:
        """The filter is evaluated once per request, whatever happens to the request in between."""
        asked: list[Exchange] = []

        def passes(ex: Exchange) -> bool:
            asked.append(ex)
            return ex.method == b"GET"

        plugin = self._plugin(passes)
        first, second = exchange(), exchange(method="POST")
        plugin.rewrite(first)
        first.method = b"POST"
        self._meet(plugin, first)
        self._meet(plugin, second)
        self.assertEqual(asked, [first, second])
        self.assertEqual(self.ran, ["rewrite", *PHASES])

    def test_each_has_its_own(self) -> None:
        """The same plugin elsewhere, and another one here, have filters of their own."""
        ex = exchange()
        route = self._plugin(lambda exchange: False)
        self.assertEqual(self._meet(route, ex), b"data")
        self.assertEqual(self._meet(self._plugin(lambda exchange: True, origin="consumer/jack"), ex), b"DATA")
        self.assertEqual(self._meet(self._plugin(lambda exchange: True, name="q"), ex), b"DATA")

    def test_not_evaluable(self) -> None:
        """If it cannot be evaluated the plugin runs: nobody gets round it by breaking its filter."""
        asked: list[None] = []

        def broken(ex: Exchange) -> bool:
            asked.append(None)
            raise RecursionError

        self.assertEqual(self._meet(self._plugin(broken), exchange()), b"DATA")
        self.assertEqual((self.ran, asked), (list(PHASES), [None]))

    def test_with_the_rest(self) -> None:
        """Filter, priority and error response go together."""
        meta = {"priority": 9, "error_response": "no", "filter": ["x"]}
        plugin = apply_meta(bound(meta=meta, access=replying(401)), lambda ex: ex.method == b"GET")
        assert plugin.access is not None
        reply: Any = plugin.access(exchange())
        self.assertEqual((plugin.priority, reply.body), (9, b"no"))
        self.assertIsNone(plugin.access(exchange(method="POST")))

    def test_missing_hooks_stay_missing(self) -> None:
        """A filter gives a plugin no phases it has no hook for."""
        plugin = apply_meta(bound(meta={"filter": ["x"]}, log=lambda exchange: None), lambda exchange: True)
        self.assertEqual([phase for phase in PHASES if getattr(plugin, phase) is not None], ["log"])
