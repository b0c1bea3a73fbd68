"""referer-restriction: lets requests in, or keeps them out, by the page they come from (Referer)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from attrs import frozen
from zope.interface import implementer

from gateway.core import restricting
from gateway.core.exchange import Exchange, Reply
from gateway.core.hosts import HostPattern, without_dot
from gateway.factories import Factory
from gateway.interfaces import IAccessPhase, IPureHooks, PluginServices
from gateway.model.apisix.fields import HOST_PATTERN
from gateway.model.schema import fill

_HOST = {"type": "string", "pattern": HOST_PATTERN}

_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "bypass_missing": restricting.bypass_schema(
            "Let requests without a Referer, or with one that is no URL, in."
        ),
        "whitelist": restricting.list_schema(
            _HOST, "Hosts whose pages may; *.example.com is every host below."
        ),
        "blacklist": restricting.list_schema(_HOST, "Hosts whose pages may not."),
        "message": restricting.message_schema("Your referer host is not allowed"),
    },
    "oneOf": [{"required": ["whitelist"]}, {"required": ["blacklist"]}],
}

MISSING = "referer_missing"
DENIED = "referer_not_allowed"

# Without user information: it makes one host look like another.
_REFERER = re.compile(
    rb"(?:https?:)?//(\[[0-9a-f:.]+\]|[^\[\]:/?#@\s]+)(?::([0-9]{1,5}))?(?:[/?#]|\Z)", re.IGNORECASE
)


@implementer(IAccessPhase, IPureHooks)
@frozen(eq=False)
class RefererRestriction:
    """
    referer-restriction with one configuration.

    Attributes:
        hosts: Plain ones, to be looked up. patterns: The others.
        wanted: Whether a host must be among them, or must not.
        missing: What a request without a host is answered, or None to let it in.
    """

    hosts: frozenset[str]
    patterns: tuple[HostPattern, ...]
    wanted: bool
    missing: Reply | None
    refusal: Reply

    def access(self, exchange: Exchange) -> Reply | None:
        """See ``IAccessPhase``."""
        value = exchange.fields.get(b"referer")
        found = None if value is None else _REFERER.match(value)
        if found is None:
            return self.missing
        host = without_dot(found[1].decode("latin-1").lower())
        port = None if found[2] is None else found[2].decode("ascii")
        listed = host in self.hosts or any(pattern.covers(host, port) for pattern in self.patterns)
        return None if listed is self.wanted else self.refusal


def _make(config: Mapping[str, Any], services: PluginServices) -> RefererRestriction:
    filled = fill(_SCHEMA, config)
    wanted = "whitelist" in filled
    patterns = [HostPattern.parse(text) for text in filled["whitelist" if wanted else "blacklist"]]
    plain = {pattern for pattern in patterns if not pattern.wildcard and pattern.port is None}
    return RefererRestriction(
        frozenset(pattern.name for pattern in patterns if pattern in plain),
        tuple(pattern for pattern in patterns if pattern not in plain),
        wanted,
        *restricting.refusals(filled, MISSING, DENIED),
    )


plugin = Factory(name="referer-restriction", priority=2990, schema=_SCHEMA, make=_make)
