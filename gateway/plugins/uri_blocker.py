"""uri-blocker: keeps requests out whose path or query has something in it that should not be there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from attrs import frozen
from zope.interface import implementer

from gateway.core.exchange import Exchange, Reply
from gateway.core.regex_limits import Regex
from gateway.core.regexes import compile_regex
from gateway.core.variables import getter
from gateway.factories import Factory
from gateway.interfaces import IPureHooks, IRewritePhase, PluginServices
from gateway.model.schema import fill, is_reference

_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "block_rules": {
            "type": "array",
            "items": {"type": "string", "minLength": 1, "maxLength": 4096},
            "uniqueItems": True,
            "description": "Regular expressions, looked for in the normalised path with its query.",
        },
        "rejected_code": {
            "type": "integer",
            "minimum": 200,
            "default": 403,
            "description": "The status of the answer.",
        },
        "rejected_msg": {"type": "string", "minLength": 1, "description": "What is answered."},
        "case_insensitive": {
            "type": "boolean",
            "default": False,
            "description": "Whether letter case does not matter.",
        },
    },
    "required": ["block_rules"],
}

REASON = "uri_blocked"
_request_uri = getter("request_uri")


@implementer(IRewritePhase, IPureHooks)
@frozen(eq=False)
class URIBlocker:
    """uri-blocker with one configuration."""

    rules: tuple[Regex, ...]
    refusal: Reply

    def rewrite(self, exchange: Exchange) -> Reply | None:
        """See ``IRewritePhase``."""
        uri = str(_request_uri(exchange))
        for rule in self.rules:
            if rule.search(uri):
                return self.refusal
        return None


def _compiled(texts: list[str], flags: int) -> tuple[Regex, ...]:
    compiled = []
    for text in texts:
        try:
            compiled.append(compile_regex(text, flags))
        except ValueError as error:
            raise ValueError(f"block_rules: invalid regular expression: {error}") from None
    return tuple(compiled)


def _check(config: Mapping[str, Any]) -> None:
    _compiled([text for text in config["block_rules"] if not is_reference(text)], 0)
    if config.get("rejected_code", 403) > 999:
        raise ValueError("rejected_code must be a status code")


def _make(config: Mapping[str, Any], services: PluginServices) -> URIBlocker:
    filled = fill(_SCHEMA, config)
    code, message = int(filled["rejected_code"]), filled.get("rejected_msg")
    if message is None:
        refusal = Reply(code, None, (), REASON)
    else:
        refusal = Reply.json(code, {"error_msg": message}, reason=REASON)
    flags = re.IGNORECASE if filled["case_insensitive"] else 0
    return URIBlocker(_compiled(filled["block_rules"], flags), refusal)


plugin = Factory(name="uri-blocker", priority=2900, schema=_SCHEMA, check=_check, make=_make)
