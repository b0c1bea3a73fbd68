"""Plugin factories as values: a name, a place, schemas, functions to check settings and make instances."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import field, frozen
from twisted.plugin import IPlugin
from zope.interface import implementer

from gateway.core.exchange import Exchange
from gateway.interfaces import (
    ICredentialFactory,
    INestingFactory,
    IPluginFactory,
    IPureHooks,
    IRewritePhase,
    PluginServices,
)


def _fine(config: Mapping[str, Any]) -> None:
    """The schema says it all."""


@implementer(IPlugin, IPluginFactory)
@frozen(eq=False, kw_only=True)
class Factory:
    """
    ``IPluginFactory`` from its parts. A module of ``gateway.plugins``, or of another distribution, holds one.

    Attributes:
        make: Settings and services → an instance (``IPluginFactory.make``).
        check: Raises ValueError for settings that the schema lets pass (``IPluginFactory.check``).
    """

    name: str
    priority: int
    schema: Mapping[str, Any] = field(repr=False)
    make: Callable[[Mapping[str, Any], PluginServices], object] = field(repr=False)
    check: Callable[[Mapping[str, Any]], None] = field(default=_fine, repr=False)
    version: str = "0.1"
    kind: str = "general"
    metadata_schema: Mapping[str, Any] | None = field(default=None, repr=False)
    secret_fields: tuple[str, ...] = ()


@implementer(ICredentialFactory)
@frozen(eq=False, kw_only=True)
class AuthFactory(Factory):
    """As ``Factory``, of a plugin that has credentials (``ICredentialFactory``)."""

    key_field: str
    credential_schema: Mapping[str, Any] = field(repr=False)
    credential: Callable[[Mapping[str, Any]], object] = field(repr=False)
    check_credential: Callable[[Mapping[str, Any]], None] = field(default=_fine, repr=False)
    credential_secret_fields: tuple[str, ...] = ()
    kind: str = "auth"


@implementer(INestingFactory)
@frozen(eq=False, kw_only=True)
class NestingFactory(Factory):
    """As ``Factory``, of a plugin whose settings hold other plugins' settings (``INestingFactory``)."""

    nested: Callable[[Mapping[str, Any]], list[tuple[str, Mapping[str, Any]]]] = field(repr=False)
    nested_kind: str | None = None
    nested_fault: str = "plugin {name} check schema failed: {text}"


@implementer(IRewritePhase, IPureHooks)
@frozen(eq=False)
class Idle:
    """A plugin that is accepted and has nothing to do."""

    def rewrite(self, exchange: Exchange) -> None:
        """See ``IRewritePhase``."""


def accepted(name: str, priority: int, properties: Mapping[str, Any]) -> Factory:
    """
    The factory of a plugin that is there for the sake of configurations that have it.

    Args:
        properties: Its settings, by name, each a JSON Schema.
    """
    schema = {"type": "object", "properties": properties}
    return Factory(name=name, priority=priority, schema=schema, make=lambda config, services: Idle())
