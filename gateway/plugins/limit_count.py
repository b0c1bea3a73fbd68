"""limit-count: so many requests in a time window, and the fields that tell clients where they stand."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any

from attrs import evolve, field, frozen
from twisted.plugin import IPlugin
from zope.interface import implementer

from gateway.core import limiting
from gateway.core.exchange import Exchange, Reply
from gateway.core.explanation import Explanation, in_seconds
from gateway.core.fields import wire_name
from gateway.core.variables import spell
from gateway.interfaces import (
    Counters,
    CountersFailed,
    IAccessPhase,
    IExplainedHooks,
    IPluginFactory,
    ISharedSettings,
    PluginServices,
    Quota,
    Running,
    Window,
)
from gateway.model.schema import fill

NAME = "limit-count"

_POLICY = limiting.policy_schema(sentinel=True)
_NUMBER = {"oneOf": [{"type": "integer", "exclusiveMinimum": 0}, {"type": "string", "minLength": 1}]}
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "count": {**_NUMBER, "description": "Requests in a window: a number, or text with variables."},
        "time_window": {**_NUMBER, "description": "Seconds of a window: a number, or text with variables."},
        "window_type": {
            "type": "string",
            "enum": ["fixed", "sliding"],
            "default": "fixed",
            "description": "fixed: a key's first request starts one. sliding: the last one still counts.",
        },
        "rules": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "properties": {
                    "count": _NUMBER,
                    "time_window": _NUMBER,
                    "key": {"type": "string", "minLength": 1, "description": "Text with variables."},
                    "header_prefix": {
                        "type": "string",
                        "pattern": r"^[0-9A-Za-z_-]{1,64}$(?!\n)",
                        "description": "Its fields are X-<this>-RateLimit-…; by default its place, from 1.",
                    },
                },
                "required": ["count", "time_window", "key"],
            },
            "description": "Several limits, each of its own key, instead of count and time_window.",
        },
        **limiting.key_schema(limiting.KEY_TYPES, default="remote_addr"),
        "group": {
            "type": "string",
            "minLength": 1,
            "description": "Share the counters with every other place of the same group and settings.",
        },
        **limiting.REJECTED,
        "show_limit_quota_header": {
            "type": "boolean",
            "default": True,
            "description": "Tell clients limit, rest and time in X-RateLimit-….",
        },
        "sync_interval": {
            "type": "number",
            "default": -1,
            "description": "Seconds between two times that counts go to Redis; -1: with every request.",
        },
        **_POLICY["properties"],
    },
    "oneOf": [{"required": ["count", "time_window"]}, {"required": ["rules"]}],
    "allOf": _POLICY["allOf"],
}
_METADATA_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        name: {
            "type": "string",
            "pattern": r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$(?!\n)",
            "default": default,
        }
        for name, default in (
            ("limit_header", "X-RateLimit-Limit"),
            ("remaining_header", "X-RateLimit-Remaining"),
            ("reset_header", "X-RateLimit-Reset"),
        )
    },
}

_BROKEN = Reply(500, None, reason="limit_unresolved")
_FAILED = Reply.json(500, {"error_msg": "failed to limit count"}, reason="limit_unavailable")

_KEYS = 1024

Number = int | Callable[[Exchange], int | None]


@frozen(eq=False)
class Rule:
    """
    One limit.

    Attributes:
        prefix: What its counters' keys start with.
        key: Tells the rest; None if the rule is not for this request.
        limit, window_s: Numbers, or what reads them from a request.
        spelt: The names of the response fields in lower case: limit, remaining, reset. names: The same, to
            look them up. frame: Their lines, to put limit, rest and spelt seconds in.
    """

    prefix: str
    key: Callable[[Exchange], str | None]
    limit: Number
    window_s: Number
    spelt: tuple[bytes, ...]
    names: frozenset[bytes] = field(init=False)
    frame: bytes = field(init=False)

    @names.default
    def _names(self) -> frozenset[bytes]:
        return frozenset(self.spelt)

    @frame.default
    def _frame(self) -> bytes:
        limit, remaining, reset = [wire_name(name).replace(b"%", b"%%") for name in self.spelt]
        return b"%b: %%d\r\n%b: %%d\r\n%b: %%b\r\n" % (limit, remaining, reset)


class Keys(dict[str, str]):
    """What a request's counter is told by → the counter's key. Some are remembered: their hashes are, too."""

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self._prefix = prefix

    def __missing__(self, told: str) -> str:
        key = self._prefix + limiting.short(told)
        if len(told) <= limiting.MAX_KEY:
            if len(self) >= _KEYS:
                self.clear()
            self[told] = key
        return key


def _nothing(key: str) -> None:
    """No counter is at hand."""


@frozen(eq=False)
class Only:
    """
    The only rule of a plugin, and the same for every request: what most routes have.

    Attributes:
        read: What a request's counter is told by.
        at_hand, now: See ``CountersAtHand``.
        whole_frame: The rule's frame, with the limit put in; frame: the same, for seconds that are a number.
        running: Windows that are counted in here, by what they are told by. Some are remembered.
    """

    rule: Rule
    keys: Keys
    read: Callable[[Exchange], object]
    limit: int
    window_s: int
    at_hand: Callable[[str], Running | None]
    now: Callable[[], float]
    running: dict[str, Running] = field(factory=dict, init=False)
    frame: bytes = field(init=False)
    whole_frame: bytes = field(init=False)

    @frame.default
    def _frame(self) -> bytes:
        return self._with_limit(b"%.2f")

    @whole_frame.default
    def _whole_frame(self) -> bytes:
        return self._with_limit(b"%b")

    def _with_limit(self, seconds: bytes) -> bytes:
        limit, left, reset = self.rule.frame.split(b"\r\n")[:-1]
        limit = (limit % self.limit).replace(b"%", b"%%")
        return b"\r\n".join((limit, left, reset.removesuffix(b"%b") + seconds, b""))

    def remember(self, told: str, key: str) -> None:
        """Count in this window without asking, if that can be."""
        running = self.at_hand(key)
        if running is not None and len(told) <= limiting.MAX_KEY:
            if len(self.running) >= _KEYS:
                self.running.clear()
            self.running[told] = running


class _Unresolved(Exception):
    """A request lacks what its limit is made of."""


@implementer(IAccessPhase, IExplainedHooks)
@frozen(eq=False)
class LimitCount:
    """
    limit-count with one configuration.

    Attributes:
        tells: Whether every answer says where its client stands.
    """

    rules: Sequence[Rule]
    sliding: bool
    refused: Reply
    allow_degradation: bool
    counters: Counters = field(repr=False)
    policy: str
    tells: bool
    only: Only | None

    def access(self, exchange: Exchange) -> Reply | Coroutine[Any, Any, Reply | None] | None:
        """See ``IAccessPhase``."""
        context = exchange.context
        if context and NAME in context.get(limiting.SKIPPED, ()):
            return None
        only = self.only
        if only is None:
            return self._take(exchange)
        # Read first and called then: called as methods, the interpreter would look for them in the class.
        read, now = only.read, only.now
        told = read(exchange)
        running = only.running.get(told) if type(told) is str else None
        if running is not None:
            limit = only.limit
            count = running.count + 1
            left_s = running.ends_s - now()
            if count <= limit and left_s > 0:
                # What _take, _decide and _tell come to, in one piece: so it is for nearly every request.
                running.count = count
                left = limit - count
                exchange.limits = (self.policy, running.key, limit, (True, left, left_s), exchange.limits)
                if self.tells:
                    lines = only.frame % (left, left_s)
                    if lines.endswith(b"0\r\n"):
                        lines = only.whole_frame % (left, limiting.decimal(left_s))
                    exchange.add_response_lines(only.rule.names, lines)
                return None
        if type(told) is not str or not told:
            told = spell(told) or exchange.client_ip
        key = only.keys[told]
        verdict = self._take(
            exchange, ((only.rule, Window(key, only.limit, only.window_s, 1, self.sliding)),)
        )
        only.remember(told, key)
        return verdict

    def _take(
        self, exchange: Exchange, asked: Sequence[tuple[Rule, Window]] | None = None
    ) -> Reply | Coroutine[Any, Any, Reply | None] | None:
        """Ask the counters."""
        found: Quota | Sequence[Quota] | Awaitable[Quota] | Awaitable[Sequence[Quota]]
        try:
            if asked is None:
                asked = self._asked(exchange)
            if len(asked) == 1:
                found = self.counters.take(*asked[0][1])
            else:
                found = self.counters.take_all([window for _, window in asked])
        except _Unresolved as error:
            return self._broken(error, _BROKEN)
        except CountersFailed as error:
            return self._broken(error, _FAILED)
        if isinstance(found, Awaitable):
            return self._later(exchange, asked, found)
        quotas: Any = (found,) if type(found) is Quota else found
        return self._decide(exchange, asked, quotas)

    def _asked(self, exchange: Exchange) -> Sequence[tuple[Rule, Window]]:
        """What to ask the counters for this request."""
        asked = []
        sliding = self.sliding
        for rule in self.rules:
            key = rule.key(exchange)
            if key is None:
                continue
            limit, window_s = rule.limit, rule.window_s
            if callable(limit):
                limit = limit(exchange) or 0
            if callable(window_s):
                window_s = window_s(exchange) or 0
            if not limit or not window_s:
                raise _Unresolved("count or time_window is not a positive number for this request")
            asked.append((rule, Window(rule.prefix + key, limit, window_s, 1, sliding)))
        if not asked:
            raise _Unresolved("no rule applies to this request")
        return asked

    async def _later(
        self, exchange: Exchange, asked: Sequence[tuple[Rule, Window]], waiting: Awaitable[Any]
    ) -> Reply | None:
        try:
            found = await waiting
        except CountersFailed as error:
            return self._broken(error, _FAILED)
        return self._decide(exchange, asked, (found,) if type(found) is Quota else found)

    def _decide(
        self, exchange: Exchange, asked: Sequence[tuple[Rule, Window]], quotas: Sequence[Quota]
    ) -> Reply | None:
        # The first that refuses is the last that was asked.
        for (rule, window), quota in zip(asked, quotas, strict=False):
            self._tell(exchange, rule, window.key, window.limit, quota)
        return None if quotas[-1].admitted else self.refused

    def _tell(
        self, exchange: Exchange, rule: Rule, key: str, limit: int, quota: tuple[bool, int, float]
    ) -> None:
        """Tell logs what a limit said, and clients if they are to know."""
        exchange.limits = (self.policy, key, limit, quota, exchange.limits)
        if self.tells:
            _, left, reset_s = quota
            lines = rule.frame % (limit, left, limiting.decimal(reset_s))
            exchange.add_response_lines(rule.names, lines)

    async def explain(self, exchange: Exchange, phase: str) -> Explanation:
        """See ``IExplainedHooks``."""
        if NAME in exchange.context.get(limiting.SKIPPED, ()):
            return limiting.LEFT_TO_WORKFLOW
        try:
            asked = self._asked(exchange)
            found = self.counters.would_take([window for _, window in asked])
            quotas = await found if isinstance(found, Awaitable) else found
        except _Unresolved as error:
            return limiting.unable(self._broken(error, _BROKEN), error)
        except CountersFailed as error:
            return limiting.unable(self._broken(error, _FAILED), error)
        words = [_left(window, quota) for (_, window), quota in zip(asked, quotas, strict=False)]
        return Explanation(self._decide(exchange, asked, quotas), "; ".join(words))

    def _broken(self, error: Exception, reply: Reply) -> Reply | None:
        return None if self.allow_degradation else evolve(reply, detail=str(error))


def _left(window: Window, quota: Quota) -> str:
    """What is left for a request that is only asked about."""
    left = quota.remaining + window.cost if quota.admitted else 0
    if left == window.limit:
        return f"all {left} left"
    return f"{left or 'none'} of {window.limit} left for {in_seconds(quota.reset_s)}"


def _rules(config: Mapping[str, Any], prefix: str, metadata: Mapping[str, Any]) -> list[Rule]:
    number = limiting.number_reader
    if "rules" not in config:
        names = fill(_METADATA_SCHEMA, metadata)
        own = tuple(
            names[name].lower().encode("ascii")
            for name in ("limit_header", "remaining_header", "reset_header")
        )
        key = limiting.key_reader(config["key"], config["key_type"])
        return [Rule(prefix, key, number(config["count"]), number(config["time_window"]), own)]
    rules = []
    for place, rule in enumerate(config["rules"], 1):
        start = f"x-{rule.get('header_prefix', place)}-ratelimit-".lower().encode("ascii")
        made = Rule(
            f"{prefix}{place}:",
            limiting.rule_key_reader(rule["key"]),
            number(rule["count"]),
            number(rule["time_window"]),
            (start + b"limit", start + b"remaining", start + b"reset"),
        )
        rules.append(made)
    return rules


def _only(config: Mapping[str, Any], rules: Sequence[Rule], counters: Counters) -> Only | None:
    if "rules" in config:
        return None
    rule = rules[0]
    if callable(rule.limit) or callable(rule.window_s):
        return None
    at_hand = getattr(counters, "at_hand", _nothing)
    return Only(
        rule,
        Keys(rule.prefix),
        limiting.key_source(config["key"], config["key_type"]),
        rule.limit,
        rule.window_s,
        at_hand=_nothing if config["window_type"] == "sliding" else at_hand,
        now=getattr(counters, "now", time.monotonic),
    )


@implementer(IPlugin, IPluginFactory, ISharedSettings)
@frozen(eq=False)
class Factory:
    """Provides ``IPluginFactory`` and ``ISharedSettings``."""

    name: str = NAME
    version: str = "0.1"
    priority: int = 1002
    kind: str = "general"
    schema: Mapping[str, Any] = field(default=_SCHEMA, repr=False)
    metadata_schema: Mapping[str, Any] | None = field(default=_METADATA_SCHEMA, repr=False)
    secret_fields: tuple[str, ...] = limiting.SECRETS

    def check(self, config: Mapping[str, Any]) -> None:
        """See ``IPluginFactory.check``."""
        rules = config.get("rules")
        if rules is not None:
            for other in ("count", "time_window", "group"):
                if other in config:
                    raise ValueError(f"rules and {other} exclude each other")
            seen = set()
            for rule in rules:
                if rule["key"] in seen:
                    raise ValueError(f"duplicate key '{rule['key']}' in rules")
                seen.add(rule["key"])
        interval = config.get("sync_interval", -1)
        if interval == -1:
            return
        if config.get("policy", "local") not in ("redis", "redis-cluster", "redis-sentinel"):
            raise ValueError("sync_interval is only for counters in redis")
        if interval < 0.1:
            raise ValueError("sync_interval must be at least 0.1, or -1")
        windows = [config.get("time_window"), *(rule["time_window"] for rule in rules or ())]
        if any(isinstance(window, int) and interval >= window for window in windows):
            raise ValueError("sync_interval must be smaller than time_window")

    def shared_name(self, config: Mapping[str, Any]) -> str | None:
        """See ``ISharedSettings``."""
        group = config.get("group")
        return group if isinstance(group, str) else None

    def make(self, config: Mapping[str, Any], services: PluginServices) -> LimitCount:
        """See ``IPluginFactory.make``."""
        filled = fill(_SCHEMA, config)
        # Without defaults: written down or not they are the same, and later versions may have more of them.
        members = _SCHEMA["properties"]
        said = {
            name: value for name, value in config.items() if members.get(name, {}).get("default") != value
        }
        prefix = limiting.identity(NAME, services.origin, said, filled.get("group"))
        rules = _rules(filled, prefix, services.metadata)
        counters = services.counters(filled)
        return LimitCount(
            rules=rules,
            sliding=filled["window_type"] == "sliding",
            refused=limiting.refusal(filled, "limit_count_exceeded"),
            allow_degradation=filled["allow_degradation"],
            counters=counters,
            policy=filled["policy"],
            tells=filled["show_limit_quota_header"],
            only=_only(filled, rules, counters),
        )


plugin = Factory()
