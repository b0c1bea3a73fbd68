"""workflow: conditions, and what happens where one holds: an answer, or a limit for those requests alone."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from attrs import field, frozen
from twisted.plugin import IPlugin
from zope.interface import implementer

from gateway.core.chain import BoundPlugin
from gateway.core.exchange import Exchange, Reply
from gateway.core.expressions import ExpressionError, compile_expression
from gateway.core.limiting import SKIPPED
from gateway.interfaces import IAccessPhase, IHeaderFilterPhase, ILogPhase, IPluginFactory, PluginServices

NAME = "workflow"
LIMITS = ("limit-count", "limit-conn")

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


@implementer(IAccessPhase, IHeaderFilterPhase, ILogPhase)
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

    def header_filter(self, exchange: Exchange) -> None:
        """See ``IHeaderFilterPhase``."""
        limit: BoundPlugin | None = exchange.context.get(self.memory)
        if limit is not None and limit.header_filter is not None:
            limit.header_filter(exchange)

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


def _action(rule: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The first action of a rule: its name and settings."""
    name, *rest = rule["actions"][0]
    settings = rest[0] if rest else {}
    if name not in ("return", *LIMITS):
        raise ValueError(f"unsupported action: {name}")
    if not isinstance(settings, Mapping):
        raise ValueError(f"the settings of the action {name} must be an object")
    if name == "return":
        code = settings.get("code")
        if not isinstance(code, int) or isinstance(code, bool) or not 100 <= code <= 599:
            raise ValueError("the action return needs a code of 100 to 599")
    return name, settings


@implementer(IPlugin, IPluginFactory)
@frozen(eq=False)
class Factory:
    """Provides ``IPluginFactory``."""

    name: str = NAME
    version: str = "0.1"
    priority: int = 1006
    kind: str = "general"
    schema: Mapping[str, Any] = field(default=_SCHEMA, repr=False)
    metadata_schema: Mapping[str, Any] | None = None
    secret_fields: tuple[str, ...] = ()

    def check(self, config: Mapping[str, Any]) -> None:
        """See ``IPluginFactory.check``; what the settings of a limit lack is told when they are bound."""
        for rule in config.get("rules", ()):
            _holds(rule)
            for place in range(len(rule["actions"])):
                _action({"actions": rule["actions"][place:]})

    def make(self, config: Mapping[str, Any], services: PluginServices) -> Workflow:
        """See ``IPluginFactory.make``; ValueError if a limit refuses its settings."""
        rules = []
        for place, rule in enumerate(config.get("rules", ())):
            name, settings = _action(rule)
            if name == "return":
                # 1xx cannot end a request (RFC 9110 section 15.2).
                code = settings["code"] if settings["code"] >= 200 else 503
                reply = Reply.json(code, {"error_msg": "rejected by workflow"}, reason="workflow_rejected")
                rules.append(Rule(_holds(rule), reply, None))
            else:
                # Its place makes it a counter of its own, beside another rule's with the same settings.
                rules.append(Rule(_holds(rule), None, services.nested(name, {**settings, "_rule": place})))
        return Workflow(rules, f"{NAME} {services.origin}")


plugin = Factory()
