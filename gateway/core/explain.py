"""Run one request on a snapshot and say what happens and why, without sending anything.

The router and every pure plugin run for real. Plugins whose hooks reach outside the exchange
(counters, other services) are named and passed over.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from gateway.core import auth, reasons
from gateway.core.chain import BoundPlugin, Chain, Hook, filter_key
from gateway.core.exchange import Exchange, Reply
from gateway.core.opening import match_route

_PHASES = ("rewrite", "access", "before_proxy", "header_filter", "body_filter", "log")


def explain(exchange: Exchange) -> dict[str, Any]:
    """
    Say what would become of a request.

    Args:
        exchange: As opened, nothing run yet. It is used up.
    Returns:
        A JSON object: ``revision``, ``considered`` (each route looked at, whether it was taken, and the
        first predicate that failed), ``route``, ``plugins`` (the merged chain, where each comes from, what it
        said), ``consumer``, ``upstream`` (the node that would be next), ``outcome``.
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
    match_route(exchange)
    steps: list[dict[str, Any]] = []
    outcome = _walk(exchange, steps)
    upstream = None
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


def _walk(exchange: Exchange, steps: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Go through rewrite and access as the runner does; returns the outcome if a plugin answers."""
    snapshot = exchange.snapshot
    general = snapshot.global_chain
    chain = exchange.route.chain if exchange.route is not None else Chain()
    told = {id(plugin): _describe(plugin) for plugin in (*general.plugins, *chain.plugins)}
    steps.extend(told.values())
    for phase, plugins in (("rewrite", general.plugins), ("rewrite", chain.plugins)):
        ended = _run_phase(exchange, phase, plugins, told)
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
            return _outcome(500, "gateway", reasons.INTERNAL_ERROR, f"{type(error).__name__}: {error}")
        added = [plugin for plugin in merged.chain.plugins if id(plugin) not in told]
        told.update((id(plugin), _describe(plugin)) for plugin in added)
        steps.extend(told[id(plugin)] for plugin in added)
        names = {name for name, _ in merged.rewrite}
        ended = _run_phase(exchange, "rewrite", tuple(p for p in added if p.name in names), told)
        ended = ended or _stand_in(exchange, merged.rewrite, merged.chain.plugins)
        if ended is not None:
            return ended
        chain = merged.chain
    for plugins in (general.plugins, chain.plugins):
        ended = _run_phase(exchange, "access", plugins, told)
        if ended is not None:
            return ended
    if exchange.route is None:
        return _outcome(404, "router", reasons.ROUTE_NOT_FOUND)
    return None


def _describe(plugin: BoundPlugin) -> dict[str, Any]:
    return {
        "name": plugin.name,
        "origin": plugin.use.origin,
        "priority": plugin.priority,
        "phases": [phase for phase in _PHASES if getattr(plugin, phase) is not None],
        "result": "not reached",
    }


def _run_phase(
    exchange: Exchange, phase: str, plugins: tuple[BoundPlugin, ...], told: Mapping[int, dict[str, Any]]
) -> dict[str, Any] | None:
    for plugin in plugins:
        hook: Hook | None = getattr(plugin, phase)
        if hook is None:
            continue
        step = told[id(plugin)]
        failed = exchange.context.get(auth.FAILURE)
        if not plugin.pure:
            step["result"] = "not run: it reaches outside the request"
            continue
        try:
            verdict = _at_once(hook(exchange))
        except Exception as error:
            # As the data plane has it: a plugin's bug is answered 500.
            detail = f"{type(error).__name__}: {error}"
            step["result"] = f"failed: {detail}"
            return _outcome(500, "gateway", reasons.INTERNAL_ERROR, detail)
        if verdict is None:
            why = exchange.context.get(auth.FAILURE)
            if exchange.context.get(filter_key(plugin)) is False:
                step["result"] = "not run: its filter does not hold"
            else:
                step["result"] = "passed" if why == failed else f"passed as the anonymous consumer: {why}"
        elif isinstance(verdict, Reply):
            step["result"] = f"answered {verdict.status}"
            return _outcome(verdict.status, f"plugin:{plugin.name}", verdict.reason, verdict.detail)
        else:
            step["result"] = "not run: it has to wait for something"
    return None


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


def _at_once(verdict: Any) -> Any:
    """What a hook says, also one that waits for nothing but content that is there; else what it waits for."""
    if verdict is None or isinstance(verdict, Reply):
        return verdict
    try:
        verdict.send(None)
    except StopIteration as ended:
        return ended.value
    verdict.close()
    return verdict


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
