"""The gate every plugin passes: found, loaded, unique, or the gateway does not start."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

from attrs import frozen
from twisted.plugin import getPlugins
from zope.interface import Interface
from zope.interface.exceptions import Invalid
from zope.interface.verify import verifyObject

import gateway.plugins
from gateway.core import schema_words
from gateway.errors import PluginLoadError
from gateway.interfaces import ICredentialFactory, INestingFactory, IPluginFactory
from gateway.model.problems import Problem
from gateway.model.schema import Checker, is_reference, unused_members

ENTRY_POINT_GROUP = "gateway.plugins"

META_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "disable": {"type": "boolean"},
        "error_response": {"type": ["string", "object"]},
        "priority": {"type": "integer"},
        "filter": {"type": "array"},
        "pre_function": {"type": "string"},
    },
}
"""What every plugin's settings may carry under ``_meta`` (data-plane contract §6)."""


@frozen
class _Entry:
    factory: Any
    origin: str
    checker: Checker
    credential_checker: Checker | None
    metadata_checker: Checker | None
    nests: bool = False


def _with_meta(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {**schema, "properties": {**schema.get("properties", {}), "_meta": META_SCHEMA}}


_TEXTS = (tuple, "a tuple of str")
_SCHEMA = (Mapping, "a mapping")
_ATTRIBUTES: dict[Any, dict[str, tuple[Any, str]]] = {
    IPluginFactory: {
        "name": (str, "a str"),
        "version": (str, "a str"),
        "priority": (int, "an int"),
        "kind": (str, "a str"),
        "schema": _SCHEMA,
        "metadata_schema": ((Mapping, type(None)), "a mapping or None"),
        "secret_fields": _TEXTS,
    },
    ICredentialFactory: {
        "credential_schema": _SCHEMA,
        "credential_secret_fields": _TEXTS,
        "key_field": (str, "a str"),
    },
    INestingFactory: {
        "nested_kind": ((str, type(None)), "a str or None"),
        "nested_fault": (str, "a str"),
    },
}


def _verify(interface: Any, factory: Any) -> None:
    """
    Check that *factory* provides *interface*, attribute types included.

    Raises:
        zope.interface.Invalid: a method cannot be called as declared.
        TypeError: it is not provided, or an attribute is missing or of another type.
    """
    # Asked first, in words of our own: the library's quote the object's repr, which a broken one may lack.
    if not interface.providedBy(factory):
        raise TypeError(f"it does not provide {interface.__name__}")
    missing = [name for name in interface.names(all=True) if not hasattr(factory, name)]
    if missing:
        raise TypeError(f"it has no {', '.join(sorted(missing))}")
    verifyObject(interface, factory)
    for attribute, (wanted, words) in _ATTRIBUTES[interface].items():
        value = getattr(factory, attribute)
        fits = isinstance(value, wanted) and not isinstance(value, bool)
        if fits and wanted is tuple:
            fits = all(isinstance(text, str) for text in value)
        if not fits or value == "":
            raise TypeError(f"{attribute} must be {words}, not {value!r:.100}")
    if interface is IPluginFactory and factory.kind not in ("auth", "general"):
        raise TypeError(f"kind must be auth or general, not {factory.kind!r}")


def _words(error: Exception) -> str:
    text = str(error) if isinstance(error, (Invalid, TypeError)) else repr(error)
    return " ".join(text.split())


def _name(factory: object) -> str:
    name = getattr(factory, "name", None)
    return name if isinstance(name, str) and name else "?"


class PluginRegistry:
    """The enabled plugins, verified, in the order they run."""

    def __init__(self, factories: Iterable[tuple[Any, str]]) -> None:
        """
        Args:
            factories: Providers of ``IPluginFactory``, each with the place it came from.
        Raises:
            PluginLoadError: one does not provide what it should, or two share a name.
        """
        faults: list[str] = []
        entries: dict[str, _Entry] = {}
        for factory, origin in factories:
            name = _name(factory)
            try:
                _verify(IPluginFactory, factory)
                auth = ICredentialFactory.providedBy(factory)
                if auth:
                    _verify(ICredentialFactory, factory)
                nests = INestingFactory.providedBy(factory)
                if nests:
                    _verify(INestingFactory, factory)
                entry = _Entry(
                    factory,
                    origin,
                    Checker(_with_meta(factory.schema), references=True),
                    Checker(_with_meta(factory.credential_schema), references=True) if auth else None,
                    None if factory.metadata_schema is None else Checker(factory.metadata_schema),
                    nests,
                )
            except Exception as error:
                faults.append(f"plugin {name} ({origin}) is broken: {_words(error)}")
                continue
            if name in entries:
                faults.append(f"plugin {name} is provided twice: by {entries[name].origin} and by {origin}")
                continue
            entries[name] = entry
        if faults:
            raise PluginLoadError("; ".join(faults))
        order = sorted(entries, key=lambda name: (-entries[name].factory.priority, name))
        self._entries = {name: entries[name] for name in order}

    @property
    def names(self) -> Sequence[str]:
        """The enabled plugins' names, highest priority first."""
        return list(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def factory(self, name: str) -> Any:
        """The provider of ``IPluginFactory`` called *name*; KeyError if it is not enabled."""
        return self._entries[name].factory

    def is_auth(self, name: str) -> bool:
        """Whether *name* is an enabled plugin that credentials can be for."""
        entry = self._entries.get(name)
        return entry is not None and entry.credential_checker is not None

    def published_schema(self, name: str, *, credential: bool = False) -> Mapping[str, Any] | None:
        """The JSON Schema of a plugin's settings, ``_meta`` included; None if there is no such schema."""
        entry = self._entries.get(name)
        if entry is None:
            return None
        checker = entry.credential_checker if credential else entry.checker
        return None if checker is None else checker.schema

    def check(self, name: str, config: Mapping[str, Any], *, credential: bool = False) -> list[Problem]:
        """
        Check one plugin's settings.

        Args:
            config: As given by a writer. credential: By the credential schema instead.
        Returns:
            Every problem, paths relative to *config*; empty if they are fine, or if
            ``_meta.disable`` is true (data-plane contract §6).
        Raises:
            KeyError: no such plugin is enabled, or it takes no credentials.
        """
        entry = self._entries[name]
        checker = entry.credential_checker if credential else entry.checker
        if checker is None:
            raise KeyError(name)
        meta = config.get("_meta")
        if isinstance(meta, Mapping) and meta.get("disable") is True:
            return []
        found = checker.problems(config)
        if not found:
            try:
                if credential:
                    entry.factory.check_credential(config)
                else:
                    entry.factory.check(config)
            except ValueError as error:
                found.append(Problem((), "value", str(error)))
        if entry.nests and not credential and not found:
            found.extend(Problem((), "value", text) for text in self._nested_faults(entry.factory, config))
        return found

    def _nested_faults(self, factory: Any, config: Mapping[str, Any]) -> list[str]:
        """What is wrong with the plugins in a plugin's settings (plugin contract §1, multi-auth)."""
        faults = []
        for name, settings in factory.nested(config):
            if name not in self._entries:
                faults.append(f"{name} plugin did not found")
            elif factory.nested_kind == "auth" and not self.is_auth(name):
                faults.append(f"{name} plugin is not supported")
            elif problems := self.check(name, settings):
                text = schema_words.text(problems[0])
                faults.append(factory.nested_fault.format(name=name, text=text))
        return faults

    def unused(self, name: str, config: Mapping[str, Any]) -> list[str]:
        """
        What has no effect in a plugin's settings, with the reasons; for who writes them.

        Args:
            config: Settings that ``check`` found fine.
        """
        entry = self._entries[name]
        meta = config.get("_meta", {})
        if meta.get("disable") is True:
            return []
        found = [f"{member}: {why}" for member, why in unused_members(entry.checker.schema, config)]
        if "pre_function" in meta:
            found.append("_meta.pre_function: programs in Lua are not run")
        if entry.nests:
            for inner, settings in entry.factory.nested(config):
                found.extend(f"{inner}.{one}" for one in self.unused(inner, settings))
        return found

    def check_metadata(self, name: str, document: Mapping[str, Any]) -> list[Problem]:
        """
        Check metadata of a plugin.

        Returns:
            Every problem; none if the plugin does not say what its metadata looks like.
        Raises:
            KeyError: no such plugin is enabled.
        """
        checker = self._entries[name].metadata_checker
        return [] if checker is None else checker.problems(document)

    def key_of(self, name: str, config: Mapping[str, Any]) -> str | None:
        """The value that must be unique among *name*'s credentials; None for a reference."""
        value = config.get(self._entries[name].factory.key_field)
        return value if isinstance(value, str) and not is_reference(value) else None

    def secret_fields(self, name: str) -> Sequence[str]:
        """Names of the settings of *name* that are secret, on routes and on credentials."""
        entry = self._entries.get(name)
        if entry is None:
            return ()
        credential = entry.factory.credential_secret_fields if entry.credential_checker is not None else ()
        return (*entry.factory.secret_fields, *credential)


def _import_all(package: ModuleType) -> tuple[list[tuple[str, Any]], list[str]]:
    # twisted.plugin logs a module that cannot be imported and goes on; we must not.
    factories: list[tuple[str, Any]] = []
    faults = []
    for info in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        try:
            module = importlib.import_module(info.name)
        except Exception as error:
            faults.append(f"{info.name} cannot be imported: {error!r}")
            continue
        held = ((f"{info.name}:{name}", value) for name, value in vars(module).items())
        factories.extend((place, value) for place, value in held if IPluginFactory.providedBy(value))
    return factories, faults


def load_plugins(enabled: Sequence[str] | None, package: ModuleType = gateway.plugins) -> PluginRegistry:
    """
    Find and verify the enabled plugins.

    Args:
        enabled: Names from ``[plugins] enabled``; None enables every plugin found.
        package: Where ``twisted.plugin`` looks for those that come with the gateway.
    Raises:
        PluginLoadError: one is missing, broken or provided twice. All faults are in the text.
    """
    held, faults = _import_all(package)
    interface: type[Interface] = IPluginFactory
    built_in = list(getPlugins(interface, package))
    places = {id(factory): place for place, factory in held}
    found: list[tuple[Any, str]] = [(factory, places.get(id(factory), repr(factory))) for factory in built_in]
    # What twisted.plugin passes over would vanish without a word: an auth plugin, say.
    known = {id(factory) for factory in built_in}
    faults.extend(
        f"plugin {_name(factory)} ({place}) is broken: it does not provide twisted.plugin.IPlugin"
        for place, factory in held
        if id(factory) not in known
    )
    for point in entry_points(group=ENTRY_POINT_GROUP):
        origin = f"{point.value} of {point.dist.name if point.dist else 'an unknown distribution'}"
        try:
            found.append((point.load(), origin))
        except Exception as error:
            faults.append(f"{origin} cannot be imported: {error!r}")
    names = {_name(factory) for factory, _ in found}
    if enabled is not None:
        faults.extend(f"plugin {name} is enabled but not installed" for name in enabled if name not in names)
        found = [(factory, origin) for factory, origin in found if _name(factory) in enabled]
    if faults:
        raise PluginLoadError("; ".join(faults))
    return PluginRegistry(found)
