"""real-ip: takes the client's address from where a proxy in front has put it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen
from zope.interface import implementer

from gateway.core.addresses import AddressSet
from gateway.core.exchange import Exchange
from gateway.core.real_ip import FORWARDED_FOR, parse_address, told_in_list
from gateway.core.variables import Getter, getter, spell
from gateway.factories import Factory
from gateway.interfaces import IPureHooks, IRewritePhase, PluginLog, PluginServices
from gateway.model.schema import fill, is_reference

_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "source": {
            "type": "string",
            "minLength": 1,
            "description": "The variable that holds the address, such as http_x_forwarded_for or arg_realip.",
        },
        "trusted_addresses": {
            "type": "array",
            "minItems": 1,
            "items": {"type": "string", "examples": ["127.0.0.1", "10.0.0.0/8"]},
            "description": "Addresses and networks of peers that are believed; not set: everybody is.",
        },
        "recursive": {
            "type": "boolean",
            "default": False,
            "description": "Pass over trusted addresses in X-Forwarded-For, from its end.",
        },
    },
    "required": ["source"],
}


@implementer(IRewritePhase, IPureHooks)
@frozen(eq=False)
class RealIP:
    """
    real-ip with one configuration.

    Attributes:
        read: Reads the source; None for X-Forwarded-For, which is a list.
        trusted: Who is believed; None: everybody.
    """

    source: str
    read: Getter | None
    trusted: AddressSet | None
    recursive: bool
    log: PluginLog = field(repr=False)

    def rewrite(self, exchange: Exchange) -> None:
        """See ``IRewritePhase``. Changes ``client_ip`` and ``client_port`` of the exchange."""
        if self.trusted is not None and exchange.client_ip not in self.trusted:
            return
        if self.read is not None:
            told = self.read(exchange)
            text = None if told is None else spell(told)
        else:
            lines = exchange.fields.get_all(FORWARDED_FOR)
            text = told_in_list(lines, self.trusted if self.recursive else None) if lines else None
        if text is None:
            return
        found = parse_address(text)
        if found is None:
            self.log.warn("bad address in {source}: {text}", source=self.source, text=ascii(text[:100]))
            return
        exchange.client_ip, exchange.client_port = found


def _check(config: Mapping[str, Any]) -> None:
    AddressSet.parse([text for text in config.get("trusted_addresses", ()) if not is_reference(text)])


def _make(config: Mapping[str, Any], services: PluginServices) -> RealIP:
    filled = fill(_SCHEMA, config)
    source = filled["source"]
    trusted = filled.get("trusted_addresses")
    return RealIP(
        source,
        None if source == "http_x_forwarded_for" else getter(source),
        None if trusted is None else AddressSet.parse(trusted),
        filled["recursive"],
        services.log,
    )


plugin = Factory(name="real-ip", priority=23000, schema=_SCHEMA, check=_check, make=_make)
