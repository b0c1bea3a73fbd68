"""proxy-control: accepted for the sake of configurations that have it; requests stream anyway."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen
from twisted.plugin import IPlugin
from zope.interface import implementer

from gateway.core.exchange import Exchange
from gateway.interfaces import IPluginFactory, IPureHooks, IRewritePhase, PluginServices

NAME = "proxy-control"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "request_buffering": {
            "type": "boolean",
            "default": True,
            "description": "Accepted; content of requests streams.",
        }
    },
}


@implementer(IRewritePhase, IPureHooks)
@frozen(eq=False)
class ProxyControl:
    """proxy-control with any configuration."""

    def rewrite(self, exchange: Exchange) -> None:
        """See ``IRewritePhase``. There is nothing to do."""


@implementer(IPlugin, IPluginFactory)
@frozen(eq=False)
class Factory:
    """Provides ``IPluginFactory``."""

    name: str = NAME
    version: str = "0.1"
    priority: int = 21990
    kind: str = "general"
    schema: Mapping[str, Any] = field(default=SCHEMA, repr=False)
    metadata_schema: Mapping[str, Any] | None = None
    secret_fields: tuple[str, ...] = ()

    def check(self, config: Mapping[str, Any]) -> None:
        """See ``IPluginFactory.check``: the schema says it all."""

    def make(self, config: Mapping[str, Any], services: PluginServices) -> ProxyControl:
        """See ``IPluginFactory.make``."""
        return ProxyControl()


plugin = Factory()
