"""consumer-restriction: which consumers, consumer groups, services or routes may, and with which methods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen
from zope.interface import implementer

from gateway.core.exchange import Exchange, Reply
from gateway.core.variables import Getter, getter
from gateway.factories import Factory
from gateway.interfaces import IAccessPhase, IPureHooks, PluginServices
from gateway.model.fields import METHODS
from gateway.model.schema import fill

TYPES = ("consumer_name", "consumer_group_id", "service_id", "route_id")
_LIST: dict[str, Any] = {"type": "array", "minItems": 1, "items": {"type": "string"}}

_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "type": {
            "type": "string",
            "enum": list(TYPES),
            "default": "consumer_name",
            "description": "What is looked up in the lists.",
        },
        "blacklist": {**_LIST, "description": "Names that may not."},
        "whitelist": {**_LIST, "description": "Names that may; nobody else may."},
        "allowed_by_methods": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "user": {"type": "string"},
                    "methods": {
                        "type": "array",
                        "minItems": 1,
                        "items": {"type": "string", "enum": list(METHODS)},
                    },
                },
            },
            "description": "Names that may with some methods only.",
        },
        "rejected_code": {
            "type": "integer",
            "minimum": 200,
            "default": 403,
            "description": "The status of a refusal.",
        },
        "rejected_msg": {"type": "string", "description": "What a refusal says."},
    },
    "anyOf": [{"required": ["blacklist"]}, {"required": ["whitelist"]}, {"required": ["allowed_by_methods"]}],
}

MISSING = "restriction_value_missing"
DENIED = "consumer_restricted"


@implementer(IAccessPhase, IPureHooks)
@frozen(eq=False)
class ConsumerRestriction:
    """
    consumer-restriction with one configuration.

    Attributes:
        read: Reads what is looked up. denied, allowed: The lists; *allowed* is None if there is none.
        methods: For some names the methods they may use.
        missing: What is answered where there is nothing to look up. refusal: And to those who may not.
    """

    read: Getter
    denied: frozenset[str]
    allowed: frozenset[str] | None
    methods: Mapping[str, frozenset[bytes]]
    missing: Reply
    refusal: Reply

    def access(self, exchange: Exchange) -> Reply | None:
        """
        See ``IAccessPhase``.

        The blacklist counts first. If there is a whitelist, who is on it may with every method, and nobody
        else may. Without one methods count, and who stands nowhere may (plugin contract §2).
        """
        name = self.read(exchange)
        if name is None:
            return self.missing
        if name in self.denied:
            return self.refusal
        if self.allowed is not None:
            return None if name in self.allowed else self.refusal
        methods = self.methods.get(str(name))
        return None if methods is None or exchange.method in methods else self.refusal


def _methods(rules: list[Mapping[str, Any]]) -> dict[str, frozenset[bytes]]:
    found: dict[str, frozenset[bytes]] = {}
    for rule in rules:
        # Of a name that stands there twice the first rule counts.
        if "user" in rule:
            allowed = frozenset(method.encode("ascii", "replace") for method in rule.get("methods", ()))
            found.setdefault(rule["user"], allowed)
    return found


def _check(config: Mapping[str, Any]) -> None:
    if config.get("rejected_code", 403) > 999:
        raise ValueError("rejected_code must be a status code")


def _make(config: Mapping[str, Any], services: PluginServices) -> ConsumerRestriction:
    filled = fill(_SCHEMA, config)
    kind = filled["type"]
    if kind not in TYPES:
        raise ValueError(f"type must be one of {', '.join(TYPES)}")
    missing = f"The request is rejected, please check the {kind} for this request"
    refusal = filled.get("rejected_msg", f"The {kind} is forbidden.")
    return ConsumerRestriction(
        getter(kind),
        frozenset(filled.get("blacklist", ())),
        frozenset(filled["whitelist"]) if "whitelist" in filled else None,
        _methods(filled.get("allowed_by_methods", [])),
        Reply.json(401, {"message": missing}, reason=MISSING),
        Reply.json(int(filled["rejected_code"]), {"message": refusal}, reason=DENIED),
    )


plugin = Factory(name="consumer-restriction", priority=2400, schema=_SCHEMA, check=_check, make=_make)
