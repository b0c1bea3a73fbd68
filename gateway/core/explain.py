"""Run one request on a snapshot and say what happens and why, without sending anything.

The router and every pure plugin run for real. Plugins whose hooks reach outside the exchange say what
they would do if they can (``IExplainedHooks``): limits look at their counters, and count nothing. The rest
are named and passed over.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from gateway.core import auth, reasons
from gateway.core.chain import BoundPlugin, Chain, Explains, Hook, filter_key
from gateway.core.exchange import ContentTooLarge, Exchange, Reply
from gateway.core.explanation import Explanation
from gateway.core.opening import match_route
from gateway.core.regex_limits import MatchTimeout

_PHASES = ("rewrite", "access", "before_proxy", "header_filter", "body_filter", "log")
_ASKED = frozenset({"rewrite", "access"})
_OUTSIDE = "not run: it reaches outside the request"
_FILTERED = "not run: its filter does not hold"


async def explain(exchange: Exchange) -> dict[str, Any]:
    """
    Say what would become of a request.

    Args:
        exchange: As opened, nothing run yet. It is used up.
    Returns:
        A JSON object: ``revision``, ``considered`` (each route looked at, whether it was taken, and the
        first predicate that failed), ``route``, ``plugins`` (the merged chain, where each comes from, what it
        said, and in ``detail`` its words), ``consumer``, ``upstream`` (the node that would be next),
        ``outcome``.
    """
    snapshot = exchange.snapshot
    considered = [
        {
            "route": item.rule_id,
            "path": item.pattern,
            "host": item.host,
            "taken": item.won,
            "failed": item.failed,
            "detail": item.detail,
        }
        for item in snapshot.router.explain(exchange)
    ]
    steps: list[dict[str, Any]] = []
    upstream = None
    try:
        match_route(exchange)
        outcome = await _walk(exchange, steps)
    except MatchTimeout as timeout:
        outcome = _outcome(500, "gateway", reasons.REGEX_TIMEOUT, str(timeout))
    if outcome is None:
        upstream, outcome = _upstream(exchange)
    route = exchange.route
    consumer = exchange.consumer
    return {
        "revision": snapshot.revision,
        "request": {
            "method": exchange.request.method.decode("latin-1"),
            "path": exchange.path,
            "host": exchange.host,
        },
        "considered": considered,
        "route": None
        if route is None
        else {
            "id": route.id,
            "name": route.name,
            "service_id": route.service_id,
            "path_params": dict(exchange.path_params),
        },
        "plugins": steps,
        "consumer": None
        if consumer is None
        else {"username": consumer.username, "credential_id": exchange.credential_id},
        "upstream": upstream,
        "outcome": outcome,
    }


def _outcome(status: int | None, by: str, reason: str, detail: str = "") -> dict[str, Any]:
    return {"status": status, "decided_by": by, "reason": reason, "detail": detail}


async def _walk(exchange: Exchange, steps: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Go through rewrite and access as the runner does; returns the outcome if a plugin answers."""
    snapshot = exchange.snapshot
    general = snapshot.global_chain
    chain = exchange.route.chain if exchange.route is not None else Chain()
    told = {id(plugin): _describe(plugin) for plugin in (*general.plugins, *chain.plugins)}
    steps.extend(told.values())
    for phase, plugins in (("rewrite", general.plugins), ("rewrite", chain.plugins)):
        ended = await _run_phase(exchange, phase, plugins, told)
        if ended is not None:
            return ended
    ended = _stand_in(exchange, chain.rewrite, chain.plugins)
    if ended is not None:
        return ended
    if exchange.consumer is not None and exchange.consumer.adds and exchange.route is not None:
        try:
            merged = snapshot.consumer_chain(exchange.route, exchange.consumer)
        except Exception as error:
            # As the data plane has it: what cannot be made is answered 500.
            return _outcome(500, "gateway", reasons.INTERNAL_ERROR, _bug(error))
        added = [plugin for plugin in merged.chain.plugins if id(plugin) not in told]
        told.update((id(plugin), _describe(plugin)) for plugin in added)
        steps.extend(told[id(plugin)] for plugin in added)
        names = {name for name, _ in merged.rewrite}
        ended = await _run_phase(exchange, "rewrite", tuple(p for p in added if p.name in names), told)
        ended = ended or _stand_in(exchange, merged.rewrite, merged.chain.plugins)
        if ended is not None:
            return ended
        chain = merged.chain
    for plugins in (general.plugins, chain.plugins):
        ended = await _run_phase(exchange, "access", plugins, told)
        if ended is not None:
            return ended
    if exchange.route is None:
        return _outcome(404, "router", reasons.ROUTE_NOT_FOUND)
    return None


def _bug(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _describe(plugin: BoundPlugin) -> dict[str, Any]:
    phases = [phase for phase in _PHASES if getattr(plugin, phase) is not None]
    return {
        "name": plugin.name,
        "origin": plugin.use.origin,
        "priority": plugin.priority,
        "phases": phases,
        "result": "not reached"
        if not _ASKED.isdisjoint(phases)
        else f"not asked: it acts in {', '.join(phases)}",
        "detail": "",
    }


async def _run_phase(
    exchange: Exchange, phase: str, plugins: tuple[BoundPlugin, ...], told: Mapping[int, dict[str, Any]]
) -> dict[str, Any] | None:
    for plugin in plugins:
        hook: Hook | None = getattr(plugin, phase)
        if hook is None:
            continue
        step = told[id(plugin)]
        try:
            if plugin.explain is not None:
                ended = await _ask(exchange, phase, plugin, plugin.explain, step)
            elif plugin.pure:
                ended = await _run(exchange, plugin, hook, step)
            else:
                step["result"] = _OUTSIDE
                continue
        except MatchTimeout as timeout:
            step["result"] = f"failed: {timeout}"
            raise
        if ended is not None:
            return ended
    return None


async def _ask(
    exchange: Exchange, phase: str, plugin: BoundPlugin, explain: Explains, step: dict[str, Any]
) -> dict[str, Any] | None:
    """Ask a plugin what it would do."""
    try:
        said = explain(exchange, phase)
        explanation = said if said is None or isinstance(said, Explanation) else await said
    except MatchTimeout:
        raise  # So it is for the request.
    except Exception as error:
        # The hook may be better than its explanation.
        step["result"] = f"not run: it cannot explain itself: {_bug(error)}"
        return None
    if explanation is None:
        step["result"] = _FILTERED
        return None
    reply, step["detail"] = explanation.reply, explanation.words
    if not explanation.sure:
        step["result"] = _OUTSIDE if reply is None else f"may answer {reply.status}"
        return None
    return _verdict(plugin, reply, step, explanation.words)


async def _run(
    exchange: Exchange, plugin: BoundPlugin, hook: Hook, step: dict[str, Any]
) -> dict[str, Any] | None:
    """Run a hook that touches nothing but the exchange."""
    failed = exchange.context.get(auth.FAILURE)
    try:
        said = hook(exchange)
        verdict = said if said is None or isinstance(said, Reply) else await said
    except ContentTooLarge as error:
        step["result"] = "answered 413"
        return _outcome(413, "gateway", reasons.BODY_TOO_LARGE, str(error))
    except MatchTimeout:
        raise  # So it is for the request.
    except Exception as error:
        # As the data plane has it: a plugin's bug is answered 500.
        detail = _bug(error)
        step["result"] = f"failed: {detail}"
        return _outcome(500, "gateway", reasons.INTERNAL_ERROR, detail)
    if verdict is None and exchange.context.get(filter_key(plugin)) is False:
        step["result"] = _FILTERED
        return None
    why = exchange.context.get(auth.FAILURE)
    anonymous = "" if why == failed else f" as the anonymous consumer: {why}"
    return _verdict(plugin, verdict, step, anonymous=anonymous)


def _verdict(
    plugin: BoundPlugin, reply: Reply | None, step: dict[str, Any], words: str = "", anonymous: str = ""
) -> dict[str, Any] | None:
    if reply is None:
        step["result"] = f"passed{anonymous}"
        return None
    step["result"] = f"answered {reply.status}"
    return _outcome(reply.status, f"plugin:{plugin.name}", reply.reason, words or reply.detail)


def _stand_in(
    exchange: Exchange, hooks: Iterable[tuple[str, Hook]], plugins: Iterable[BoundPlugin]
) -> dict[str, Any] | None:
    """Run the hooks that are of no plugin: they answer in the place of a resource that is not there."""
    names = {plugin.name for plugin in plugins}
    for name, hook in hooks:
        verdict = None if name in names else hook(exchange)
        if isinstance(verdict, Reply):
            return _outcome(verdict.status, f"plugin:{name}", verdict.reason, verdict.detail)
    return None


def _upstream(exchange: Exchange) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    compiled = exchange.target_upstream
    if compiled is None:
        if exchange.route is not None and exchange.route.upstream_id is not None:
            return None, _outcome(502, "balancer", reasons.REFERENCE_MISSING)
        return None, _outcome(503, "balancer", reasons.NO_UPSTREAM)
    upstream = compiled.upstream
    if not upstream.nodes:
        return None, _outcome(503, "balancer", reasons.NO_NODES)
    # A copy: looking must not take a turn.
    node = copy.deepcopy(compiled.picker).pick((), exchange)
    told = {
        "key": compiled.key,
        "type": upstream.type,
        "scheme": upstream.scheme,
        "nodes": [{"node": n.key, "weight": n.weight, "priority": n.priority} for n in upstream.nodes],
        "picked": None if node is None else node.key,
        "method": exchange.method.decode("latin-1"),
        "target": exchange.target.decode("latin-1"),
    }
    if node is None:
        return told, _outcome(502, "balancer", reasons.NO_HEALTHY_NODE)
    return told, _outcome(None, "upstream", "proxied", f"would be sent to {node.key}")
