"""proxy-buffering: accepted for the sake of configurations that have it; answers stream anyway."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen
from twisted.plugin import IPlugin
from zope.interface import implementer

from gateway.core.exchange import Exchange
from gateway.interfaces import IPluginFactory, IPureHooks, IRewritePhase, PluginServices

NAME = "proxy-buffering"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "disable_proxy_buffering": {
            "type": "boolean",
            "default": False,
            "description": "Accepted; answers are never held back.",
        }
    },
}


@implementer(IRewritePhase, IPureHooks)
@frozen(eq=False)
class ProxyBuffering:
    """proxy-buffering with any configuration."""

    def rewrite(self, exchange: Exchange) -> None:
        """See ``IRewritePhase``. There is nothing to do."""


@implementer(IPlugin, IPluginFactory)
@frozen(eq=False)
class Factory:
    """Provides ``IPluginFactory``."""

    name: str = NAME
    version: str = "0.1"
    priority: int = 21991
    kind: str = "general"
    schema: Mapping[str, Any] = field(default=SCHEMA, repr=False)
    metadata_schema: Mapping[str, Any] | None = None
    secret_fields: tuple[str, ...] = ()

    def check(self, config: Mapping[str, Any]) -> None:
        """See ``IPluginFactory.check``: the schema says it all."""

    def make(self, config: Mapping[str, Any], services: PluginServices) -> ProxyBuffering:
        """See ``IPluginFactory.make``."""
        return ProxyBuffering()


plugin = Factory()
