from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.core.merge import PluginUse, merge, merge_global, uses_of

LAYERS = ("consumer", "consumer_group", "route", "plugin_config", "service")
PLUGINS = st.dictionaries(
    st.sampled_from("abcd"),
    st.dictionaries(st.sampled_from("xy"), st.integers(0, 3), max_size=2),
)


class PluginUseTests(SynchronousTestCase):
    def test_disabled(self) -> None:
        """Only ``_meta.disable: true`` switches a plugin off."""
        configs: list[tuple[dict[str, Any], bool]] = [
            ({}, False),
            ({"_meta": {}}, False),
            ({"_meta": {"disable": False}}, False),
            ({"_meta": {"disable": 1}}, False),
            ({"_meta": {"disable": "true"}}, False),
            ({"_meta": None}, False),
            ({"disable": True}, False),
            ({"_meta": {"disable": True}}, True),
        ]
        for config, disabled in configs:
            self.assertIs(PluginUse("p", config, "route/r").disabled, disabled, config)

    def test_no_settings_in_repr(self) -> None:
        """The settings are not in the repr."""
        self.assertNotIn("hunter2", repr(PluginUse("p", {"secret": "hunter2"}, "route/r")))


class MergeTests(SynchronousTestCase):
    @settings(deadline=None, max_examples=200)
    @given(st.lists(PLUGINS, min_size=5, max_size=5))
    def test_strongest_wins_whole(self, given: list[dict[str, dict[str, int]]]) -> None:
        """Per plugin name the strongest place that has it counts, with its settings as a whole."""
        layers = [uses_of(f"{place}/1", plugins) for place, plugins in zip(LAYERS, given, strict=True)]
        merged = merge(layers)
        self.assertEqual(set(merged), {name for plugins in given for name in plugins})
        for name, use in merged.items():
            strongest = next(place for place, plugins in zip(LAYERS, given, strict=True) if name in plugins)
            self.assertEqual(use.origin, f"{strongest}/1")
            self.assertIs(use.config, given[LAYERS.index(strongest)][name])

    @settings(deadline=None, max_examples=100)
    @given(st.lists(PLUGINS, max_size=5), st.integers(0, 5))
    def test_in_steps(self, given: list[dict[str, dict[str, int]]], at: int) -> None:
        """Merging some places first, and the rest over them, comes to the same."""
        layers = [uses_of(f"{number}", plugins) for number, plugins in enumerate(given)]
        self.assertEqual(merge(layers), merge([*layers[:at], merge(layers[at:])]))

    def test_disabled_hides(self) -> None:
        """A plugin that the route switches off does not come back from the service."""
        off = uses_of("route/r", {"p": {"_meta": {"disable": True}}})
        merged = merge([off, uses_of("service/s", {"p": {}, "q": {}})])
        self.assertTrue(merged["p"].disabled)
        self.assertFalse(merged["q"].disabled)

    def test_nothing(self) -> None:
        """Without places there are no plugins."""
        self.assertEqual(merge([]), {})


class MergeGlobalTests(SynchronousTestCase):
    def test_one_set(self) -> None:
        """All rules' plugins run; of a plugin in several rules the first counts, and it is told once."""
        rules: list[tuple[str, dict[str, dict[str, Any]]]] = [
            ("r1", {"p": {"n": 1}, "q": {}}),
            ("r2", {"p": {"n": 2}, "s": {}}),
            ("r3", {"p": {"n": 3}}),
        ]
        uses, doubled = merge_global(rules)
        self.assertEqual(
            {name: use.origin for name, use in uses.items()},
            {"p": "global_rule/r1", "q": "global_rule/r1", "s": "global_rule/r2"},
        )
        self.assertEqual(uses["p"].config, {"n": 1})
        self.assertEqual(doubled, ["p"])
