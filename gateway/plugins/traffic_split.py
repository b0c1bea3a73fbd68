"""traffic-split: shares of a route's traffic for other upstreams, for all requests or some."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import evolve, frozen
from zope.interface import implementer

from gateway.core.exchange import Exchange, Reply
from gateway.core.explanation import Explanation
from gateway.core.expressions import ExpressionError, Predicate, compile_expression
from gateway.core.round_robin import RoundRobin
from gateway.core.snapshot import CompiledUpstream
from gateway.factories import Factory
from gateway.interfaces import IAccessPhase, IExplainedHooks, PluginServices
from gateway.model.schema import without_defaults
from gateway.model.upstream import SCHEMA as UPSTREAM_SCHEMA
from gateway.model.upstream import problems as upstream_problems

NAME = "traffic-split"

KEPT = ("type", "hash_on", "key", "nodes", "timeout", "pass_host", "upstream_host", "scheme", "name")
"""What counts of an upstream that stands in the settings."""

_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "rules": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "match": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "properties": {"vars": {"type": "array"}},
                            "required": ["vars"],
                        },
                        "description": "Conditions; one of them must hold. Without any the rule always does.",
                    },
                    "weighted_upstreams": {
                        "type": "array",
                        "minItems": 1,
                        "maxItems": 20,
                        "items": {
                            "type": "object",
                            "properties": {
                                "upstream_id": {
                                    "type": ["string", "integer"],
                                    "description": "An upstream by its id.",
                                },
                                "upstream": {
                                    **without_defaults(UPSTREAM_SCHEMA),
                                    "oneOf": [
                                        {"required": ["nodes"]},
                                        {"required": ["service_name", "discovery_type"]},
                                    ],
                                    "description": "An upstream, in full. Without either: the route's own.",
                                },
                                "weight": {
                                    "type": "integer",
                                    "minimum": 0,
                                    "default": 1,
                                    "description": "Its share.",
                                },
                            },
                        },
                    },
                },
            },
            "description": "The first that matches counts.",
        }
    },
}


@frozen
class Share:
    """
    Where a share of the traffic goes: to an upstream, to the one with an id, or, without either, where it
    goes anyway.
    """

    upstream: CompiledUpstream | None = None
    id: str | None = None


@frozen(eq=False)
class Rule:
    """
    Attributes:
        matches: None if the rule is for every request.
        turns: Whose turn it is. only: The share, if there is one alone.
        shares: All that get some of the traffic, with their weights.
    """

    matches: Callable[[Exchange], bool] | None
    turns: RoundRobin[Share]
    only: Share | None
    shares: Sequence[tuple[Share, int]]


@implementer(IAccessPhase, IExplainedHooks)
@frozen(eq=False)
class TrafficSplit:
    """traffic-split with one configuration."""

    rules: Sequence[Rule]

    def access(self, exchange: Exchange) -> Reply | None:
        """See ``IAccessPhase``."""
        for rule in self.rules:
            if rule.matches is not None and not rule.matches(exchange):
                continue
            share = rule.only or rule.turns.next()
            if share is None:
                return None
            if share.upstream is not None:
                exchange.upstream = share.upstream
            elif share.id is not None:
                return self._by_id(exchange, share.id)
            return None
        return None

    def explain(self, exchange: Exchange, phase: str) -> Explanation:
        """See ``IExplainedHooks``. Of several shares the one goes on that is next in this process."""
        for number, rule in enumerate(self.rules, 1):
            if rule.matches is not None and not rule.matches(exchange):
                continue
            # Of a copy: looking must not take a turn.
            looked = evolve(rule, matches=None, turns=copy.copy(rule.turns))
            reply = TrafficSplit([looked]).access(exchange)
            return Explanation(reply, f"rule {number}: {_destinations(rule)}")
        return Explanation(None, "no rule is for this request")

    def _by_id(self, exchange: Exchange, id: str) -> Reply | None:
        # Looked up for each request: upstreams come and go without this plugin being made anew.
        service = None if exchange.route is None else exchange.route.service_id
        found = exchange.snapshot.upstream(service, id)
        if found is None:
            text = f"failed to fetch upstream info by upstream id: {id}"
            return Reply.text(500, text, reason="reference_missing")
        exchange.upstream = found
        return None


def _destinations(rule: Rule) -> str:
    """Where a rule's traffic goes, for people."""
    if not rule.shares:
        return "nobody has a weight"
    whole = sum(weight for _, weight in rule.shares)
    if len(rule.shares) == 1:
        return f"all to {_named(rule.shares[0][0])}"
    return ", ".join(f"{weight} of {whole} to {_named(share)}" for share, weight in rule.shares)


def _named(share: Share) -> str:
    if share.id is not None:
        return f"upstream {share.id}"
    if share.upstream is None:
        return "where it goes anyway"
    return " ".join(node.key for node in share.upstream.upstream.nodes) or "an upstream without nodes"


def _any(predicates: Sequence[Predicate]) -> Callable[[Exchange], bool] | None:
    if not predicates:
        return None
    if len(predicates) == 1:
        return predicates[0]
    return lambda exchange: any(predicate(exchange) for predicate in predicates)


def _matches(rule: Mapping[str, Any]) -> Callable[[Exchange], bool] | None:
    try:
        return _any([compile_expression(one["vars"]) for one in rule.get("match", ())])
    except ExpressionError as error:
        raise ValueError(f"failed to validate the 'vars' expression: {error}") from None


def _kept(upstream: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in upstream.items() if name in KEPT}


def _check(config: Mapping[str, Any]) -> None:
    for place, rule in enumerate(config.get("rules", ())):
        _matches(rule)
        for number, one in enumerate(rule.get("weighted_upstreams", ())):
            if "upstream" in one:
                for problem in upstream_problems(_kept(one["upstream"])):
                    below = problem.below("rules", place, "weighted_upstreams", number, "upstream")
                    raise ValueError(f"{'.'.join(map(str, below.path))}: {below.message}")


def _share(one: Mapping[str, Any], services: PluginServices) -> Share:
    # The id counts where both are given, as for routes (data-plane contract §7.1).
    if "upstream_id" in one:
        return Share(id=str(one["upstream_id"]))
    if "upstream" in one:
        return Share(services.upstream(_kept(one["upstream"])))
    return Share()


def _make(config: Mapping[str, Any], services: PluginServices) -> TrafficSplit:
    rules = []
    for rule in config.get("rules", ()):
        shares = [
            (_share(one, services), one.get("weight", 1)) for one in rule.get("weighted_upstreams", ({},))
        ]
        serving = [(share, weight) for share, weight in shares if weight > 0]
        only = serving[0][0] if len(serving) == 1 else None
        rules.append(Rule(_matches(rule), RoundRobin(shares), only, serving))
    return TrafficSplit(rules)


plugin = Factory(name=NAME, priority=966, schema=_SCHEMA, check=_check, make=_make)
