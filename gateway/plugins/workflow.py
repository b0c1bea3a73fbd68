"""workflow: conditions, and what happens where one holds: an answer, or a limit for those requests alone."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from attrs import evolve, frozen
from zope.interface import implementer

from gateway.core import schema_words
from gateway.core.chain import BoundPlugin
from gateway.core.exchange import Exchange, Reply
from gateway.core.explanation import Explanation
from gateway.core.expressions import ExpressionError, compile_expression
from gateway.core.limiting import SKIPPED
from gateway.factories import NestingFactory
from gateway.interfaces import IAccessPhase, IExplainedHooks, ILogPhase, PluginServices
from gateway.model.schema import Checker

NAME = "workflow"
LIMITS = ("limit-count", "limit-conn")
FAULT = "failed to validate the '{name}' action: {text}"

_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "rules": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "properties": {
                    "case": {
                        "type": "array",
                        "minItems": 1,
                        "description": "An expression; without one the rule is for every request.",
                    },
                    "actions": {
                        "type": "array",
                        "minItems": 1,
                        "items": {"type": "array", "minItems": 1},
                        "description": "[name, settings]: return, limit-count, limit-conn. The first counts.",
                    },
                },
                "required": ["actions"],
            },
            "description": "The first that holds counts.",
        }
    },
    "required": ["rules"],
}

_RETURN = Checker(
    {
        "type": "object",
        "properties": {"code": {"type": "integer", "minimum": 100, "maximum": 599}},
        "required": ["code"],
    }
)


@frozen(eq=False)
class Rule:
    """
    Attributes:
        holds: None if it is for every request.
        reply: The answer, or None where *limit* decides.
    """

    holds: Callable[[Exchange], bool] | None
    reply: Reply | None
    limit: BoundPlugin | None


@implementer(IAccessPhase, ILogPhase, IExplainedHooks)
@frozen(eq=False)
class Workflow:
    """workflow with one configuration."""

    rules: Sequence[Rule]
    memory: str

    def access(self, exchange: Exchange) -> Reply | Coroutine[Any, Any, Reply | None] | None:
        """See ``IAccessPhase``."""
        for rule in self.rules:
            if rule.holds is not None and not rule.holds(exchange):
                continue
            limit = rule.limit
            if limit is None:
                return rule.reply
            assert limit.access is not None
            exchange.context[self.memory] = limit
            verdict = limit.access(exchange)
            # The same plugin elsewhere on the route keeps out of it (plugin contract §4).
            exchange.context.setdefault(SKIPPED, set()).add(limit.name)
            return verdict
        return None

    async def explain(self, exchange: Exchange, phase: str) -> Explanation:
        """See ``IExplainedHooks``."""
        for number, rule in enumerate(self.rules, 1):
            if rule.holds is not None and not rule.holds(exchange):
                continue
            limit = rule.limit
            if limit is None:
                assert rule.reply is not None
                return Explanation(rule.reply, f"rule {number} answers {rule.reply.status}")
            assert limit.explain is not None
            found = limit.explain(exchange, phase)
            said = found if found is None or isinstance(found, Explanation) else await found
            assert said is not None
            exchange.context.setdefault(SKIPPED, set()).add(limit.name)
            return evolve(said, words=f"rule {number}, {limit.name}: {said.words}")
        return Explanation(None, "no rule is for this request")

    def log(self, exchange: Exchange) -> None:
        """See ``ILogPhase``."""
        limit: BoundPlugin | None = exchange.context.get(self.memory)
        if limit is not None and limit.log is not None:
            limit.log(exchange)


def _holds(rule: Mapping[str, Any]) -> Callable[[Exchange], bool] | None:
    if "case" not in rule:
        return None
    try:
        return compile_expression(rule["case"])
    except ExpressionError as error:
        raise ValueError(f"failed to validate the 'case' expression: {error}") from None


def _action(action: Sequence[Any]) -> tuple[str, Mapping[str, Any]]:
    """Name and settings of an action."""
    name, *rest = action
    settings = rest[0] if rest else {}
    if name not in ("return", *LIMITS):
        raise ValueError(f"unsupported action: {name}")
    if not isinstance(settings, Mapping):
        raise ValueError(f"the settings of the action {name} must be an object")
    return name, settings


def _actions(config: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return [_action(action) for rule in config.get("rules", ()) for action in rule["actions"]]


def _limits(config: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return [action for action in _actions(config) if action[0] in LIMITS]


def _check(config: Mapping[str, Any]) -> None:
    for rule in config.get("rules", ()):
        _holds(rule)
    for name, settings in _actions(config):
        problems = _RETURN.problems(settings) if name == "return" else ()
        if problems:
            raise ValueError(FAULT.format(name=name, text=schema_words.text(problems[0])))
        if "group" in settings and name == "limit-count":
            # As Apache APISIX has it: a rule's counter is its own.
            raise ValueError(FAULT.format(name=name, text="group is not supported"))


def _make(config: Mapping[str, Any], services: PluginServices) -> Workflow:
    rules = []
    for place, rule in enumerate(config.get("rules", ())):
        # The first of its actions counts.
        name, settings = _action(rule["actions"][0])
        if name == "return":
            # 1xx cannot end a request (RFC 9110 section 15.2).
            code = settings["code"] if settings["code"] >= 200 else 503
            reply = Reply.json(code, {"error_msg": "rejected by workflow"}, reason="workflow_rejected")
            rules.append(Rule(_holds(rule), reply, None))
            continue
        # Its place makes it a counter of its own, beside another rule's with the same settings.
        settings = {**settings, "_rule": place}
        rules.append(Rule(_holds(rule), None, services.nested(name, settings)))
    return Workflow(rules, f"{NAME} {services.origin}")


plugin = NestingFactory(
    name=NAME, priority=1006, schema=_SCHEMA, check=_check, make=_make, nested=_limits, nested_fault=FAULT
)
