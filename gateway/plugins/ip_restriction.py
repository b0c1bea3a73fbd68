"""ip-restriction: lets requests in, or keeps them out, by the client's address."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen
from zope.interface import implementer

from gateway.core import restricting
from gateway.core.addresses import AddressSet
from gateway.core.exchange import Exchange, Reply
from gateway.factories import Factory
from gateway.interfaces import IAccessPhase, IPureHooks, PluginServices
from gateway.model.schema import fill, is_reference

_ADDRESS = {"type": "string", "examples": ["192.0.2.7", "10.0.0.0/8"]}

_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "whitelist": restricting.list_schema(
            _ADDRESS, "Addresses and networks that are let in; nobody else is."
        ),
        "blacklist": restricting.list_schema(_ADDRESS, "Addresses and networks that are kept out."),
        "message": restricting.message_schema("Your IP address is not allowed"),
        "response_code": {
            "type": "integer",
            "minimum": 403,
            "maximum": 404,
            "default": 403,
            "description": "The status of the answer.",
        },
    },
    "oneOf": [{"required": ["whitelist"]}, {"required": ["blacklist"]}],
}

REASON = "ip_not_allowed"


@implementer(IAccessPhase, IPureHooks)
@frozen(eq=False)
class IPRestriction:
    """
    ip-restriction with one configuration.

    Attributes:
        listed: The addresses. wanted: Whether a client must be among them, or must not.
        refusal: What others are answered.
    """

    listed: AddressSet
    wanted: bool
    refusal: Reply

    def access(self, exchange: Exchange) -> Reply | None:
        """See ``IAccessPhase``."""
        return None if (exchange.client_ip in self.listed) is self.wanted else self.refusal


def _check(config: Mapping[str, Any]) -> None:
    texts = [*config.get("whitelist", ()), *config.get("blacklist", ())]
    AddressSet.parse([text for text in texts if not is_reference(text)])


def _make(config: Mapping[str, Any], services: PluginServices) -> IPRestriction:
    filled = fill(_SCHEMA, config)
    wanted = "whitelist" in filled
    refusal = Reply.json(int(filled["response_code"]), {"message": filled["message"]}, reason=REASON)
    return IPRestriction(AddressSet.parse(filled["whitelist" if wanted else "blacklist"]), wanted, refusal)


plugin = Factory(name="ip-restriction", priority=3000, schema=_SCHEMA, check=_check, make=_make)
