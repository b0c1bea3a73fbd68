"""Every plugin under arbitrary settings that it accepts, and arbitrary requests.

Whatever comes: no hook raises, answers are answers, nothing that is sent on breaks HTTP, and what a plugin
says that it would do it does. The
examples are the same in every run; with GATEWAY_FUZZ=<number> that many new ones are tried for each plugin.
"""

from __future__ import annotations

import copy
import os
import random
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from types import SimpleNamespace
from typing import Any

from attrs import evolve, frozen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from gateway.binding import PluginBinder
from gateway.core.batching import BatchOptions
from gateway.core.chain import BoundPlugin
from gateway.core.consumers import Identity
from gateway.core.exchange import Attempt, ContentTooLarge, Exchange, Outcome, Reply
from gateway.core.explanation import Explanation
from gateway.core.fields import Fields
from gateway.core.merge import PluginUse
from gateway.core.metric_options import CountOptions
from gateway.core.paths import BadPath, normalise
from gateway.interfaces import Deliver, HttpAnswer, HttpCallFailed, PluginServices, SendFailed
from gateway.registry import load_plugins
from gateway.testing.counters import FakeCounters
from gateway.testing.exchanges import consumer, exchange
from gateway.testing.plugins import finish
from tests.plugins.configurations import documents
from tests.plugins.kit import Source, World

REGISTRY = load_plugins(None)
TRIES = int(os.environ.get("GATEWAY_FUZZ", "0"))
PROFILE = settings(
    max_examples=TRIES or 30,
    derandomize=not TRIES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
LIMIT = 1 << 20
"""Bytes that an answer may grow to; what is sent through is far less."""

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = st.binary(max_size=20).map(lambda value: value.translate(None, b"\r\n\0").strip(b" \t"))
_FIELDS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                b"x",
                b"host",
                b"cookie",
                b"authorization",
                b"content-type",
                b"apikey",
                b"user-agent",
                b"referer",
                b"origin",
            ]
        ),
        _VALUE
        | st.sampled_from(
            [
                b"a.example",
                b"a=1; b=2",
                b"Basic YTpi",
                b"application/json",
                b"text/plain",
                b"https://a.example",
            ]
        ),
    ),
    max_size=5,
)
_TARGETS = st.one_of(
    st.sampled_from(
        [b"/", b"/a/b?a=1&b=2", b"/%0d%0aX:%201?a=%0d%0a", b"/a%3Fb", b"//a/../b?", b"/?apikey=x&jwt=a.b.c"]
    ),
    st.binary(max_size=30).map(
        lambda raw: b"/" + bytes(byte for byte in raw if 0x20 < byte < 0x7F and byte != 0x23)
    ),
)
_CONTENT = st.sampled_from(
    [b"", b"{}", b'{"a":1,"a":[2]}', b"a=1&b=2&a=3", b"[" * 5000, b"\xff\x00", b"x" * 3000]
)
_ANSWERS = st.tuples(
    st.sampled_from([200, 204, 301, 304, 404, 500, 503]),
    st.lists(
        st.tuples(st.sampled_from([b"content-type", b"content-encoding", b"etag", b"x"]), _VALUE), max_size=3
    ),
    st.lists(st.binary(max_size=50) | st.sampled_from([b"hello world", b"x" * 2000]), max_size=4),
)


@st.composite
def requests(draw: st.DrawFn) -> Exchange:
    method = draw(st.sampled_from(["GET", "HEAD", "POST", "PUT", "OPTIONS", "PURGE"]))
    target = draw(_TARGETS)
    try:
        path = normalise(target)
    except BadPath:
        target, path = b"/", "/"
    pairs = [(name.decode(), value.decode("latin-1")) for name, value in draw(_FIELDS)]
    jack = consumer("jack", labels={"a": "1"})
    made = exchange(
        method,
        target.decode("latin-1"),
        pairs,
        path=path,
        identities={"key-auth": {"x": Identity(jack, "c", None)}},
        consumers={"jack": jack, "guest": consumer("guest")},
    )
    content = draw(_CONTENT)
    source: Any = Recorded(content)
    made.source = source if content or draw(st.booleans()) else None
    return made


class Recorded(Source):
    def record(self, max_bytes: int, then: Callable[[bytes | None], None] | None = None) -> None:
        self.recorded = self.content[:max_bytes]
        if then is not None:
            then(self.content if len(self.content) <= max_bytes else None)

    recorded = b""


class Elsewhere:
    """Other services: they answer anything, or not at all. Entries are delivered at once."""

    def __init__(self, choose: random.Random) -> None:
        self.choose = choose

    def request(self, method: str, url: str, **more: Any) -> Awaitable[HttpAnswer]:
        if self.choose.random() < 0.3:
            return fail(HttpCallFailed("no", True))
        fields = [(b"x-a", b"1"), (b"set-cookie", b"a=b"), (b"content-type", b"application/json")]
        content = self.choose.choice([b"", b"{}", b"text"])
        return succeed(HttpAnswer(self.choose.choice([200, 204, 302, 401, 500]), fields, content))

    def send(self, kind: str, host: str, port: int, content: Any, **more: Any) -> Awaitable[None]:
        assert kind in ("tcp", "tls", "udp")
        assert all(isinstance(piece, bytes) for piece in content)
        return fail(SendFailed("no")) if self.choose.random() < 0.3 else succeed(None)

    def open(self, name: str, *more: Any) -> Elsewhere:
        self.deliver: Deliver | None = None
        for one in more:
            if callable(one):
                self.deliver = one
            elif isinstance(one, BatchOptions):
                assert one.max_pending is None or one.max_pending > 0
        return self

    def add(self, entry: Any, server_addr: str = "") -> None:
        assert self.deliver is not None
        sent: Any = self.deliver([entry])
        Deferred.fromCoroutine(sent).addErrback(
            lambda failure: failure.trap(HttpCallFailed, SendFailed, ValueError) and None
        )

    def write(self, line: bytes) -> None:
        assert b"\n" not in line


class Counting:
    def request(self, exchange: Exchange, options: CountOptions) -> None:
        assert exchange.outcome is not None


_NOWHERE = SimpleNamespace(nodes=())


@frozen
class FakeUpstream:
    """What stands for an upstream in a plugin's settings."""

    key: str = "route/r1#fuzz"
    upstream: Any = _NOWHERE


def services(choose: random.Random) -> PluginServices:
    """Services that always have an answer. A service that is not known here is left as it is by default."""
    elsewhere = Elsewhere(choose)
    more: dict[str, Any] = {
        "http": elsewhere,
        "sockets": elsewhere,
        "batches": elsewhere,
        "files": elsewhere,
        "metrics": Counting(),
        "upstream": lambda document: FakeUpstream(),
        "spawn": lambda work: Deferred.fromCoroutine(work).addErrback(
            lambda failure: failure.trap(HttpCallFailed)
        ),
        "random": choose.random,
        "counters": FakeCounters(),
        "breakers": FakeCounters(),
        "settings": {"jwt_auth_token_cache": "10"},
    }
    return evolve(World().services(), **more)


class FuzzTests(SynchronousTestCase):
    accepted: Counter[str] = Counter()

    def check(self, name: str, config: dict[str, Any], sent: Exchange, answer: Any, seed: int) -> None:
        if REGISTRY.check(name, config):
            return
        binder = PluginBinder(REGISTRY, services(random.Random(seed)), {})
        try:
            plugin = binder.bind(PluginUse(name, config, "route/r1"))
        except ValueError as error:
            self.assertNotIn("is broken", str(error), config)
            return
        self.accepted[name] += 1
        try:
            self.serve(plugin, sent, answer)
        except RuntimeError as error:
            if "there is no service" not in str(error):
                raise

    def serve(self, plugin: BoundPlugin, sent: Exchange, answer: Any) -> None:
        """A request's whole way through one plugin."""
        reply: Reply | None = None
        for phase in ("rewrite", "access", "before_proxy"):
            hook = getattr(plugin, phase)
            if hook is not None and reply is None:
                told = None if phase == "before_proxy" else self.explained(plugin, sent, phase)
                reply = self.verdict(hook(sent))
                if told is not None and told.sure:
                    self.assertEqual(told.reply and told.reply.status, reply and reply.status, told.words)
        self.check_request(sent)
        status, pairs, pieces = answer
        if reply is None:
            sent.from_upstream, sent.answered_at = True, 0.0
            sent.attempts.append(Attempt("127.0.0.1:80", status, 0.1, "ok"))
        else:
            self.check_reply(reply)
            status, pairs, pieces = reply.status, reply.fields, [reply.body or b"<html>"]
        sent.status, sent.response_fields = status, Fields(pairs)
        if plugin.header_filter is not None:
            plugin.header_filter(sent)
        self.check_fields(sent.response_fields.pairs)
        self.assertTrue(200 <= sent.status <= 999, sent.status)
        size = 0
        for index, piece in enumerate([*pieces, b""]):
            if plugin.body_filter is not None:
                piece = plugin.body_filter(sent, piece, index == len(pieces))
                self.assertIs(type(piece), bytes)
            if plugin.body_tap is not None:
                plugin.body_tap(sent, piece)
            size += len(piece)
        self.assertLess(size, LIMIT)
        sent.outcome = Outcome(sent.status, "upstream", "ok")
        if plugin.log is not None:
            plugin.log(sent)

    def explained(self, plugin: BoundPlugin, sent: Exchange, phase: str) -> Explanation | None:
        """What the plugin says that it would do; None where it is run to be explained."""
        if plugin.explain is None:
            self.assertTrue(plugin.pure, "nobody who asks hears of it")
            return None
        asked = copy.copy(sent)
        asked.context = dict(sent.context)
        said = plugin.explain(asked, phase)
        found = said if isinstance(said, Explanation) else finish(said)
        assert isinstance(found, Explanation)
        self.assertTrue(found.words)
        self.assertNotIn("\n", found.words)
        return found

    def verdict(self, verdict: Any) -> Reply | None:
        if verdict is None or isinstance(verdict, Reply):
            return verdict
        ended: list[Any] = []
        waiting = Deferred.fromCoroutine(verdict).addBoth(ended.append)
        if not ended:
            waiting.cancel()
            return None
        (result,) = ended
        if isinstance(result, Failure):
            if result.check(ContentTooLarge):
                return Reply(413)
            result.raiseException()
        self.assertTrue(result is None or isinstance(result, Reply), result)
        reply: Reply | None = result
        return reply

    def check_request(self, sent: Exchange) -> None:
        self.assertRegex(sent.target, rb"\A/[!-~\x80-\xff]*\Z")
        self.assertRegex(sent.method, rb"\A[A-Z]+\Z")
        self.check_fields(sent.fields.pairs)
        self.assertTrue(sent.content is None or isinstance(sent.content, bytes))
        if sent.upstream_host is not None:
            self.assertRegex(sent.upstream_host, rb"\A[!-~]+\Z")

    def check_reply(self, reply: Reply) -> None:
        self.assertTrue(200 <= reply.status <= 999, reply)
        self.assertTrue(reply.body is None or isinstance(reply.body, bytes), reply)
        self.check_fields(reply.fields)

    def check_fields(self, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        for name, value in pairs:
            self.assertTrue(_TOKEN.fullmatch(name), name)
            self.assertEqual(name, name.lower())
            self.assertNotRegex(value, rb"[\r\n\0]")


_ACTIONS = st.sampled_from(
    [
        ["return", {"code": 403}],
        ["return", {"code": 100}],
        ["limit-count", {"count": 1, "time_window": 1}],
        ["limit-conn", {"conn": 1, "burst": 1, "default_conn_delay": 1, "key": "http_x"}],
    ]
)
_RULES = st.fixed_dictionaries(
    {"actions": st.lists(_ACTIONS, min_size=1, max_size=2)},
    optional={
        "case": st.sampled_from([[["arg_a", "==", "1"]], ["OR", ["http_x", "~~", "a"], ["uri", "in", []]]])
    },
)
# What a schema does not say of settings, and chance does not find.
_OWN = {"workflow": st.lists(_RULES, min_size=1, max_size=3).map(lambda rules: {"rules": rules})}


def _test(name: str) -> Any:
    def test(self: FuzzTests) -> None:
        @PROFILE
        @given(
            _OWN[name] if name in _OWN else documents(REGISTRY.factory(name).schema),
            requests(),
            _ANSWERS,
            st.integers(0, 1000),
        )
        def one(config: dict[str, Any], sent: Exchange, answer: Any, seed: int) -> None:
            self.check(name, config, sent, answer, seed)

        self.accepted[name] = 0
        one()
        self.assertGreater(
            self.accepted[name], 0, f"no settings of {name} were fine: this test tried nothing"
        )

    test.__doc__ = f"{name} takes any settings that it accepts, and any request."
    return test


for _name in REGISTRY.names:
    setattr(FuzzTests, f"test_{_name.replace('-', '_')}", _test(_name))
