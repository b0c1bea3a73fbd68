"""Which plugins a request meets: several places configure them, one place wins per plugin name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import field, frozen


@frozen
class PluginUse:
    """
    One plugin, configured at one place.

    Attributes:
        name: The plugin's name.
        config: Its settings as given, ``_meta`` included.
        origin: The place: ``route/<id>``, ``service/<id>``, ``consumer/<name>``, ``global_rule/<id>``.
    """

    name: str
    config: Mapping[str, Any] = field(repr=False)
    origin: str

    @property
    def disabled(self) -> bool:
        """Whether ``_meta.disable`` switches it off. It still hides the copies it won over."""
        meta = self.config.get("_meta")
        return isinstance(meta, Mapping) and meta.get("disable") is True


Uses = Mapping[str, PluginUse]


def uses_of(origin: str, plugins: Mapping[str, Mapping[str, Any]]) -> Uses:
    """The plugins configured at one place."""
    return {name: PluginUse(name, config, origin) for name, config in plugins.items()}


def merge(layers: Sequence[Uses]) -> Uses:
    """
    Lay configurations over one another: whole objects, no deep merge.

    Args:
        layers: The strongest first: consumer, consumer group, route, plugin config, service.
    Returns:
        For each plugin name the use in the strongest layer that has it.
    Source:
        Data-plane contract §5.
    """
    merged: dict[str, PluginUse] = {}
    for layer in reversed(layers):
        merged.update(layer)
    return merged


def merge_global(rules: Iterable[tuple[str, Mapping[str, Mapping[str, Any]]]]) -> tuple[Uses, Sequence[str]]:
    """
    Put all global rules into one set.

    Args:
        rules: Rule id and plugins, in the order of creation.
    Returns:
        The uses, and the names of plugins that more than one rule configures: of those the first
        counts, as in a merged set (data-plane contract §20).
    """
    merged: dict[str, PluginUse] = {}
    doubled: list[str] = []
    for id, plugins in rules:
        for name, use in uses_of(f"global_rule/{id}", plugins).items():
            if name not in merged:
                merged[name] = use
            elif name not in doubled:
                doubled.append(name)
    return merged, doubled
