"""Plugins as the compiler wants them: instances made from settings, their hooks looked up once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import evolve, field, frozen
from twisted.python.failure import Failure
from zope.interface.exceptions import Invalid
from zope.interface.verify import verifyObject

from gateway.core.chain import BoundPlugin
from gateway.core.merge import PluginUse
from gateway.core.regex_limits import compiling_for
from gateway.core.secrets import Secrets, UnresolvedReference, no_manager, resolve
from gateway.interfaces import (
    IAccessPhase,
    IBeforeProxyPhase,
    IBodyFilterPhase,
    IBodyTapPhase,
    IExplainedHooks,
    IHeaderFilterPhase,
    ILogPhase,
    IPureHooks,
    IRewritePhase,
    PluginServices,
    UpstreamMaker,
)
from gateway.model.problems import ConfigErrors
from gateway.registry import PluginRegistry

_PHASES = (
    ("rewrite", IRewritePhase),
    ("access", IAccessPhase),
    ("before_proxy", IBeforeProxyPhase),
    ("header_filter", IHeaderFilterPhase),
    ("body_filter", IBodyFilterPhase),
    ("body_tap", IBodyTapPhase),
    ("log", ILogPhase),
)


def _whole(value: Any) -> Any:
    """*value* with integers for numbers such as 5.0: to JSON Schema they are the same."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, dict):
        return {name: _whole(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_whole(member) for member in value]
    return value


def _make(factory: Any, config: Mapping[str, Any], services: PluginServices) -> Any:
    """An instance. What refuses the settings is told by name, as where a schema refuses them."""
    try:
        return factory.make(config, services)
    except ConfigErrors:
        raise
    except ValueError as error:
        text = f"failed to check the configuration of plugin {factory.name} err: {error}"
        raise ValueError(text) from error


@frozen
class PluginBinder:
    """
    Makes plugin instances and credentials for the compiler (``gateway.core.compiler.PluginSource``).

    Attributes:
        registry: The enabled plugins.
        services: What every instance is given; ``origin`` is set for each.
        environment: Where ``$env://`` references are looked up.
        secrets: Knows what ``$secret://`` references stand for.
    """

    registry: PluginRegistry
    services: PluginServices
    environment: Mapping[str, str] = field(repr=False)
    secrets: Secrets = field(default=no_manager, repr=False)
    _verified: set[type] = field(factory=set, init=False, repr=False, eq=False)

    def bind(
        self, use: PluginUse, metadata: Mapping[str, Any] | None = None, upstream: UpstreamMaker | None = None
    ) -> BoundPlugin:
        """
        Make the instance for one configuration.

        Args:
            metadata: The plugin's metadata. upstream: Compiles upstreams that stand in its settings.
        Raises:
            ValueError: the plugin is not enabled, refuses the settings or is broken: one bad plugin
                must not take the rest of a configuration down.
        """
        if use.name not in self.registry:
            raise ValueError(f"unknown plugin [{use.name}]")
        factory = self.registry.factory(use.name)
        config = self._settings(use)

        def nested(name: str, settings: Mapping[str, Any]) -> BoundPlugin:
            return self._nested(PluginUse(name, settings, use.origin), upstream)

        services = evolve(
            self.services,
            origin=use.origin,
            metadata=_whole(metadata or {}),
            upstream=upstream or self.services.upstream,
            nested=nested,
        )
        with compiling_for(f"plugin {use.name} of {use.origin}"):
            instance = self._call(use.name, use.origin, _make, factory, config, services)
        interfaces = [(phase, interface) for phase, interface in _PHASES if interface.providedBy(instance)]
        self._verify(use.name, instance, [interface for _, interface in interfaces])
        explained = IExplainedHooks.providedBy(instance)
        hooks = {phase: getattr(instance, phase) for phase, _ in interfaces}
        return BoundPlugin(
            use=use,
            priority=factory.priority,
            pure=IPureHooks.providedBy(instance),
            auth=factory.kind == "auth",
            explain=instance.explain if explained else None,
            **hooks,
        )

    def _nested(self, use: PluginUse, upstream: UpstreamMaker | None) -> BoundPlugin:
        if use.name not in self.registry:
            raise ValueError(f"{use.name} plugin did not found")
        problems = self.registry.check(use.name, use.config)
        if problems:
            raise ValueError(f"plugin {use.name} check schema failed: {ConfigErrors(problems)}")
        return self.bind(use, None, upstream)

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
        own = {member: value for member, value in config.items() if member != "_meta"}
        resolved = _whole(resolve(own, self.environment, self.secrets))
        key = resolved.get(factory.key_field)
        if not isinstance(key, str) or not key:
            raise ValueError(f"{factory.key_field} is missing")
        return key, self._call(name, "a credential", factory.credential, resolved)

    def _settings(self, use: PluginUse) -> dict[str, Any]:
        settings: dict[str, Any] = {}
        for name, value in use.config.items():
            if name == "_meta":
                continue
            try:
                settings.update(resolve({name: value}, self.environment, self.secrets))
            except UnresolvedReference as error:
                # The literal stays in place on routes (data-plane contract §18); credentials fail closed.
                settings[name] = value
                self.services.log.error(
                    "{origin}: plugin {plugin}: {why}", origin=use.origin, plugin=use.name, why=str(error)
                )
        return {name: _whole(value) for name, value in settings.items()}

    def _call(self, name: str, origin: str, make: Callable[..., Any], *args: Any) -> Any:
        """Call a plugin's own code: what it does not refuse in words is a bug of the plugin."""
        try:
            return make(*args)
        except ValueError:
            raise
        except Exception as error:
            self.services.log.error(
                "{origin}: plugin {plugin} is broken", origin=origin, plugin=name, log_failure=Failure()
            )
            raise ValueError(f"plugin [{name}] is broken: {type(error).__name__}") from error

    def _verify(self, name: str, instance: object, interfaces: list[Any]) -> None:
        kind = type(instance)
        if kind in self._verified:
            return
        if not interfaces:
            raise ValueError(f"plugin [{name}] is broken: it made an object without any phase")
        optional = [IExplainedHooks] if IExplainedHooks.providedBy(instance) else []
        for interface in (*interfaces, *optional):
            try:
                verifyObject(interface, instance)
            except Invalid as error:
                raise ValueError(f"plugin [{name}] is broken: {' '.join(str(error).split())}") from error
        self._verified.add(kind)
