"""Plugins as the compiler wants them: instances made from settings, their hooks looked up once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import evolve, field, frozen

from gateway.core.chain import BoundPlugin
from gateway.core.merge import PluginUse
from gateway.core.secrets import UnresolvedReference, resolve
from gateway.interfaces import (
    IAccessPhase,
    IBeforeProxyPhase,
    IBodyFilterPhase,
    IHeaderFilterPhase,
    ILogPhase,
    IPureHooks,
    IRewritePhase,
    PluginServices,
)
from gateway.registry import PluginRegistry

_PHASES = (
    ("rewrite", IRewritePhase),
    ("access", IAccessPhase),
    ("before_proxy", IBeforeProxyPhase),
    ("header_filter", IHeaderFilterPhase),
    ("body_filter", IBodyFilterPhase),
    ("log", ILogPhase),
)


@frozen
class PluginBinder:
    """
    Makes plugin instances and credentials for the compiler (``gateway.core.compiler.PluginSource``).

    Attributes:
        registry: The enabled plugins.
        services: What every instance is given; ``origin`` is set for each.
        environment: Where ``$env://`` references are looked up.
    """

    registry: PluginRegistry
    services: PluginServices
    environment: Mapping[str, str] = field(repr=False)

    def bind(self, use: PluginUse) -> BoundPlugin:
        """
        Make the instance for one configuration.

        Raises:
            ValueError: the plugin is not enabled, or refuses the settings.
        """
        if use.name not in self.registry:
            raise ValueError(f"unknown plugin [{use.name}]")
        factory = self.registry.factory(use.name)
        config = {name: value for name, value in use.config.items() if name != "_meta"}
        try:
            config = resolve(config, self.environment)
        except UnresolvedReference as error:
            # The literal stays in place on routes (data-plane contract §18); credentials fail closed.
            self.services.log.error("{origin}: plugin {plugin}: {why}", origin=use.origin, plugin=use.name, why=error)
        instance = factory.make(config, evolve(self.services, origin=use.origin))
        hooks = {phase: getattr(instance, phase) for phase, interface in _PHASES if interface.providedBy(instance)}
        return BoundPlugin(
            use=use,
            priority=factory.priority,
            pure=IPureHooks.providedBy(instance),
            auth=self.registry.is_auth(use.name),
            **hooks,
        )

    def is_auth(self, name: str) -> bool:
        """Whether credentials can be for *name*."""
        return self.registry.is_auth(name)

    def credential(self, name: str, config: Mapping[str, Any]) -> tuple[str, object]:
        """
        Prepare a credential for use.

        Returns:
            The key it is found by and the plugin's own value.
        Raises:
            ValueError: it cannot be used: no such plugin, an unresolved reference, an unusable key.
        """
        if not self.registry.is_auth(name):
            raise ValueError(f"unknown plugin [{name}]")
        factory = self.registry.factory(name)
        resolved = resolve({k: v for k, v in config.items() if k != "_meta"}, self.environment)
        key = resolved.get(factory.key_field)
        if not isinstance(key, str) or not key:
            raise ValueError(f"{factory.key_field} is missing")
        return key, factory.credential(resolved)
