"""A plugin in a test: settings checked and bound as the gateway does it, hooks run to their end."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from gateway.binding import PluginBinder
from gateway.core.chain import BoundPlugin, apply_meta
from gateway.core.consumers import ConsumerEntry, Identity
from gateway.core.merge import PluginUse
from gateway.interfaces import PluginServices
from gateway.model.problems import ConfigErrors
from gateway.registry import PluginRegistry
from gateway.testing.services import services as fake_services

_T = TypeVar("_T")


def problems(
    plugin: Any, config: Mapping[str, Any], *, credential: bool = False, others: tuple[Any, ...] = ()
) -> list[tuple[str, str]]:
    """
    What is wrong with settings, as (JSON pointer, rule or words): empty if they are fine.

    Args:
        plugin: The factory. credential: By its schema of credentials. others: factories of plugins that may
            stand in its settings.
    """
    found = _registry(plugin, others).check(plugin.name, config, credential=credential)
    return [(one.pointer, one.message if one.rule == "value" else one.rule) for one in found]


def bind(
    plugin: Any,
    config: Mapping[str, Any] | None = None,
    services: PluginServices | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    others: tuple[Any, ...] = (),
) -> BoundPlugin:
    """
    Make an instance for one configuration. Its hooks are members of what comes back: ``access`` and so on.

    Args:
        config: Its settings. environment: Where ``$env://`` references are looked up.
        others: As for ``problems``.
    Raises:
        ConfigErrors: the settings would be refused. ValueError: they cannot be used.
    """
    settings = {} if config is None else config
    registry = _registry(plugin, others)
    found = registry.check(plugin.name, settings)
    if found:
        raise ConfigErrors(found)
    given = fake_services() if services is None else services
    binder = PluginBinder(registry, given, environment or {})
    return apply_meta(binder.bind(PluginUse(plugin.name, settings, given.origin), given.metadata), None)


def identities(
    plugin: Any, *credentials: tuple[ConsumerEntry, str | None, Mapping[str, Any]]
) -> dict[str, dict[str, Identity]]:
    """
    What ``exchange(identities=…)`` takes: the credentials of an auth plugin, prepared.

    Args:
        credentials: Consumer, credential id, settings of the credential.
    """
    binder = PluginBinder(_registry(plugin, ()), fake_services(), {})
    table = {}
    for consumer, id, config in credentials:
        key, credential = binder.credential(plugin.name, config)
        table[key] = Identity(consumer, id, credential)
    return {plugin.name: table}


def finish(verdict: Coroutine[Any, Any, _T] | _T) -> _T:
    """
    What a hook answers in the end: itself, or what its coroutine returns.

    Raises:
        What it raises. AssertionError: it still waits for something.
    """
    if not isinstance(verdict, Coroutine):
        return verdict
    ended: list[Any] = []
    Deferred.fromCoroutine(verdict).addBoth(ended.append)
    if not ended:
        raise AssertionError("the hook still waits")
    if isinstance(ended[0], Failure):
        ended[0].raiseException()
    return ended[0]  # type: ignore[no-any-return]


def _registry(plugin: Any, others: tuple[Any, ...]) -> PluginRegistry:
    return PluginRegistry([(one, "a test") for one in (plugin, *others)])
