"""ua-restriction: lets requests in, or keeps them out, by what the client says it is (User-Agent)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen
from zope.interface import implementer

from gateway.core import restricting
from gateway.core.exchange import Exchange, Reply
from gateway.core.regex_limits import Regex, sharing_limit
from gateway.core.regexes import compile_regex
from gateway.factories import Factory
from gateway.interfaces import IAccessPhase, IPureHooks, PluginServices
from gateway.model.schema import fill, is_reference

_PATTERN = {"type": "string", "minLength": 1}

_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "bypass_missing": restricting.bypass_schema("Let requests without a User-Agent in."),
        "allowlist": restricting.list_schema(_PATTERN, "Regular expressions, one of which must be found."),
        "denylist": restricting.list_schema(_PATTERN, "Regular expressions, none of which may be found."),
        "message": restricting.message_schema("Not allowed"),
    },
    "anyOf": [{"required": ["allowlist"]}, {"required": ["denylist"]}],
}

MISSING = "user_agent_missing"
DENIED = "user_agent_not_allowed"

_Patterns = tuple[Regex, ...]


@implementer(IAccessPhase, IPureHooks)
@frozen(eq=False)
class UARestriction:
    """
    ua-restriction with one configuration.

    Attributes:
        allowed: Empty if everybody is who is not denied.
        missing: What a request without a User-Agent is answered, or None to let it in.
    """

    allowed: _Patterns
    denied: _Patterns
    missing: Reply | None
    refusal: Reply

    def access(self, exchange: Exchange) -> Reply | None:
        """See ``IAccessPhase``. Whoever is denied is refused, whatever else is allowed."""
        agents = [
            value.decode("utf-8", "surrogateescape") for value in exchange.fields.get_all(b"user-agent")
        ]
        if not agents:
            return self.missing
        if len(agents) > 1:
            with sharing_limit():
                return self._judge(agents)
        return self._judge(agents)

    def _judge(self, agents: list[str]) -> Reply | None:
        if _found(self.denied, agents) or (self.allowed and not _found(self.allowed, agents)):
            return self.refusal
        return None


def _found(patterns: _Patterns, agents: list[str]) -> bool:
    return any(pattern.search(agent) for pattern in patterns for agent in agents)


def _compiled(member: str, texts: list[str]) -> _Patterns:
    compiled = []
    for text in texts:
        try:
            compiled.append(compile_regex(text))
        except ValueError as error:
            raise ValueError(f"{member}: invalid regular expression: {error}") from None
    return tuple(compiled)


def _check(config: Mapping[str, Any]) -> None:
    for member in ("allowlist", "denylist"):
        _compiled(member, [text for text in config.get(member, ()) if not is_reference(text)])


def _make(config: Mapping[str, Any], services: PluginServices) -> UARestriction:
    filled = fill(_SCHEMA, config)
    return UARestriction(
        _compiled("allowlist", filled.get("allowlist", [])),
        _compiled("denylist", filled.get("denylist", [])),
        *restricting.refusals(filled, MISSING, DENIED),
    )


plugin = Factory(name="ua-restriction", priority=2999, schema=_SCHEMA, check=_check, make=_make)
