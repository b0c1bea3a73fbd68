"""The plugins of a route, bound and sorted: what the runner walks through, phase by phase.

``_meta`` is compiled away here. A hook that has neither a filter nor an error response of its
own stands in the chain as the plugin gave it, and costs one call.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import Any

from attrs import evolve, field, frozen

from gateway.core.content_variables import mentions
from gateway.core.exchange import Exchange, Reply
from gateway.core.explanation import Explanation
from gateway.core.merge import PluginUse

Verdict = Reply | None
Hook = Callable[[Exchange], "Verdict | Coroutine[Any, Any, Verdict]"]
HeaderFilter = Callable[[Exchange], None]
BodyFilter = Callable[[Exchange, bytes, bool], bytes]
BodyTap = Callable[[Exchange, bytes], None]
Explains = Callable[[Exchange, str], "Explanation | Awaitable[Explanation] | None"]
"""Exchange and phase → what the hook would do; None if ``_meta.filter`` keeps it from running."""
Predicate = Callable[[Exchange], bool]


@frozen(eq=False, repr=False)
class BoundPlugin:
    """
    An instance of a plugin for one configuration, its hooks looked up.

    Attributes:
        priority: Its place in each phase, ``_meta.priority`` applied; larger runs first.
        pure: Whether its hooks touch nothing but the exchange, so that ``explain`` may run them.
        auth: Whether it says who a request comes from.
        explain: Says what rewrite and access would do; None if it cannot.
        reads_content: Whether its settings name variables that are read from the request's content.
    """

    use: PluginUse
    priority: int
    pure: bool
    auth: bool
    reads_content: bool = field(init=False)
    rewrite: Hook | None = None
    access: Hook | None = None
    before_proxy: Hook | None = None
    header_filter: HeaderFilter | None = None
    body_filter: BodyFilter | None = None
    body_tap: BodyTap | None = None
    log: HeaderFilter | None = None
    explain: Explains | None = None

    @reads_content.default
    def _reads_content(self) -> bool:
        return mentions(self.use.config)

    @property
    def name(self) -> str:
        return self.use.name


@frozen(eq=False, repr=False)
class Chain:
    """
    Bound plugins in the order they run, and their hooks by phase as (plugin name, hook).

    Attributes:
        reads_content: Whether the request's content is to be gathered before they run.
        silent: Whether none has a say before the request is sent.
        keeps_content: Whether the content of answers goes on as it came, without a look at it.

    Source:
        Data-plane contract §2 and §6.
    """

    plugins: tuple[BoundPlugin, ...] = ()
    rewrite: tuple[tuple[str, Hook], ...] = ()
    access: tuple[tuple[str, Hook], ...] = ()
    before_proxy: tuple[tuple[str, Hook], ...] = ()
    header_filter: tuple[tuple[str, HeaderFilter], ...] = ()
    body_filter: tuple[tuple[str, BodyFilter], ...] = ()
    body_tap: tuple[tuple[str, BodyTap], ...] = ()
    log: tuple[tuple[str, HeaderFilter], ...] = ()
    reads_content: bool = False
    silent: bool = field(init=False)

    @silent.default
    def _silent(self) -> bool:
        return not (self.rewrite or self.access or self.before_proxy)

    keeps_content: bool = field(init=False)

    @keeps_content.default
    def _keeps_content(self) -> bool:
        return not (self.body_filter or self.body_tap)


EMPTY = Chain()


def build_chain(plugins: Iterable[BoundPlugin]) -> Chain:
    """Sort by descending priority (names break ties, so that the order never depends on chance)."""
    ordered = tuple(sorted(plugins, key=lambda plugin: (-plugin.priority, plugin.name)))
    if not ordered:
        return EMPTY
    return Chain(
        ordered,
        rewrite=tuple((p.name, p.rewrite) for p in ordered if p.rewrite is not None),
        access=tuple((p.name, p.access) for p in ordered if p.access is not None),
        before_proxy=tuple((p.name, p.before_proxy) for p in ordered if p.before_proxy is not None),
        header_filter=tuple((p.name, p.header_filter) for p in ordered if p.header_filter is not None),
        body_filter=tuple((p.name, p.body_filter) for p in ordered if p.body_filter is not None),
        body_tap=tuple((p.name, p.body_tap) for p in ordered if p.body_tap is not None),
        log=tuple((p.name, p.log) for p in ordered if p.log is not None),
        reads_content=any(p.reads_content for p in ordered),
    )


def apply_meta(plugin: BoundPlugin, passes: Predicate | None) -> BoundPlugin:
    """
    Compile ``_meta`` into a plugin's hooks.

    Args:
        plugin: Bound, with the factory's own priority.
        passes: ``_meta.filter`` compiled; None if there is none, or none that can be evaluated
            (then the plugin runs, as it does when evaluation fails for one request).
    Source:
        Data-plane contract §6.
    """
    meta = plugin.use.config.get("_meta")
    if not isinstance(meta, Mapping):
        return plugin
    priority = meta.get("priority")
    if isinstance(priority, (int, float)) and not isinstance(priority, bool):
        plugin = evolve(plugin, priority=int(priority))
    if "error_response" in meta:
        body, kind = _error_body(meta["error_response"])
        plugin = evolve(
            plugin,
            rewrite=plugin.rewrite and _with_body(plugin.rewrite, body, kind),
            access=plugin.access and _with_body(plugin.access, body, kind),
            before_proxy=plugin.before_proxy and _with_body(plugin.before_proxy, body, kind),
        )
    return plugin if passes is None else _filtered(plugin, passes)


# They describe the content that is replaced (RFC 9110 section 8).
_OF_THE_CONTENT = frozenset(
    (b"content-type", b"content-encoding", b"content-language", b"content-length", b"etag", b"last-modified")
)


def _error_body(response: object) -> tuple[bytes, bytes]:
    if isinstance(response, str):
        return response.encode(), b"text/plain; charset=utf-8"
    return json.dumps(
        response, separators=(",", ":"), ensure_ascii=False
    ).encode() + b"\n", b"application/json"


def _with_body(hook: Hook, body: bytes, content_type: bytes) -> Hook:
    def replaced(reply: Verdict) -> Verdict:
        if reply is None or reply.status < 400:
            return reply
        others = tuple(pair for pair in reply.fields if pair[0] not in _OF_THE_CONTENT)
        return evolve(reply, body=body, fields=((b"content-type", content_type), *others))

    async def later(waiting: Coroutine[Any, Any, Verdict]) -> Verdict:
        return replaced(await waiting)

    def run(exchange: Exchange) -> Verdict | Coroutine[Any, Any, Verdict]:
        outcome = hook(exchange)
        if outcome is None or isinstance(outcome, Reply):
            return replaced(outcome)
        return later(outcome)

    return run


def filter_key(plugin: BoundPlugin) -> str:
    """Where ``Exchange.context`` keeps whether ``_meta.filter`` lets a plugin run."""
    return f"_meta.filter {plugin.use.origin} {plugin.name}"


def _filtered(plugin: BoundPlugin, predicate: Predicate) -> BoundPlugin:
    # Evaluated once per request, whichever phase asks first (contract §6).
    memory = filter_key(plugin)

    def passes(exchange: Exchange) -> bool:
        known: bool | None = exchange.context.get(memory)
        if known is None:
            try:
                known = predicate(exchange)
            except Exception:
                # What cannot be evaluated lets the plugin run (contract §6), so that no request
                # gets round a plugin by breaking its filter.
                known = True
            exchange.context[memory] = known
        return known

    def phase(hook: Hook) -> Hook:
        return lambda exchange: hook(exchange) if passes(exchange) else None

    def quiet(hook: HeaderFilter) -> HeaderFilter:
        return lambda exchange: hook(exchange) if passes(exchange) else None

    def content(hook: BodyFilter) -> BodyFilter:
        return lambda exchange, data, last: hook(exchange, data, last) if passes(exchange) else data

    def tap(hook: BodyTap) -> BodyTap:
        return lambda exchange, data: hook(exchange, data) if passes(exchange) else None

    def explained(explain: Explains) -> Explains:
        return lambda exchange, phase: explain(exchange, phase) if passes(exchange) else None

    return evolve(
        plugin,
        rewrite=plugin.rewrite and phase(plugin.rewrite),
        access=plugin.access and phase(plugin.access),
        before_proxy=plugin.before_proxy and phase(plugin.before_proxy),
        header_filter=plugin.header_filter and quiet(plugin.header_filter),
        body_filter=plugin.body_filter and content(plugin.body_filter),
        body_tap=plugin.body_tap and tap(plugin.body_tap),
        log=plugin.log and quiet(plugin.log),
        explain=plugin.explain and explained(plugin.explain),
    )
